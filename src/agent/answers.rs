//! What the agent and those who ask it say to each other, as JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Who is logged in, and what each profile would be: `GET /v1/status`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// The agent's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The config it goes by.
    pub config: PathBuf,
    /// One for each source that a profile names.
    pub logins: Vec<LoginStatus>,
    /// All of them.
    pub profiles: Vec<ProfileStatus>,
}

/// A login, or its lack.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LoginStatus {
    /// The `[identity.<name>]`.
    pub identity: String,
    /// Who is logged in, by the provider's own name; absent: nobody.
    pub subject: Option<String>,
    /// The same, as people call themselves.
    pub name: Option<String>,
    /// When it ends at the latest (RFC 3339).
    pub ends: Option<String>,
}

/// A profile.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProfileStatus {
    /// Its name.
    pub profile: String,
    /// What it is for.
    pub description: Option<String>,
    /// The `[identity.<name>]` to log in at.
    pub identity: String,
    /// The region that tools are told of.
    pub region: Option<String>,
    /// The role, where somebody is logged in.
    pub role: Option<String>,
    /// Why there is no role for whoever is logged in.
    pub problem: Option<String>,
    /// When the keys at hand end (RFC 3339); absent: none are at hand.
    pub expires: Option<String>,
}

/// A login that was begun: `POST /v1/logins/<profile>`, and waited for: `GET` of the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Underway {
    /// The `[identity.<name>]`.
    pub identity: String,
    /// Where the browser is to go.
    pub url: String,
    /// Whether it was begun just now: whoever asks while one is under way joins it, and opens no other page.
    pub is_new: bool,
}

/// Keys, as containers get them (SDK reference, "Container credential provider"): `GET /v1/credentials/<profile>`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Keys {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    #[serde(with = "text")]
    pub secret_access_key: Secret,
    /// The session token.
    #[serde(with = "text")]
    pub token: Secret,
    /// When they end (RFC 3339, in seconds).
    pub expiration: String,
    /// The role.
    pub role_arn: String,
    /// Its account; absent where the service has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The region of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Why there is nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Refused {
    /// STS's own where STS refused; else one of `LoginRequired`, `NoProfile`, `AccessDenied`, `ServiceUnavailable`.
    pub code: String,
    /// For people, with what to do.
    pub message: String,
}

/// On this way alone secrets are written.
mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

//! `[provider]` as the config file has it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::client::{Client, RedirectUri};
use super::{OpenIdProvider, ProviderError, Setup};
use crate::built_in::{SecretSource, SettingsError, Surroundings};
use crate::clock::Clock;
use crate::users::{Users, UsersError};

/// The `[provider]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// The issuer, which is also where the provider is reached; it may have a path.
    pub issuer: Url,
    /// The users file, relative to the config file.
    pub users: PathBuf,
    /// The PKCS#8 PEM of the P-256 key that signs. Without one, tokens don't survive a restart.
    #[serde(default)]
    pub signing_key: Option<SecretSource>,
    /// The clients, by their `client_id`.
    #[serde(default)]
    pub client: BTreeMap<String, ClientSettings>,
    /// The same users for those who speak SAML.
    #[cfg(feature = "saml")]
    #[serde(default)]
    pub saml: Option<super::SamlSettings>,
    /// How long things live.
    #[serde(default)]
    pub lifetimes: Lifetimes,
}

/// A `[provider.client.<client_id>]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// How pages call it; its `client_id` by default.
    #[serde(default)]
    pub name: Option<String>,
    /// Its secret; a client without one is public.
    #[serde(default)]
    pub client_secret: Option<SecretSource>,
    /// Where answers may be sent.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where a browser may be sent after logout.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// Whether a refresh gives a new ID token.
    #[serde(default = "yes")]
    pub id_token_on_refresh: bool,
    /// Whether it may start logins on devices (RFC 8628).
    #[serde(default)]
    pub device_flow: bool,
}

/// How long things live, as in `"5m"` or `"12h"`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lifetimes {
    /// A code, until it is redeemed.
    #[serde(deserialize_with = "duration")]
    pub code: Duration,
    /// An ID token.
    #[serde(deserialize_with = "duration")]
    pub id_token: Duration,
    /// An access token.
    #[serde(deserialize_with = "duration")]
    pub access_token: Duration,
    /// All refresh tokens of one login together.
    #[serde(deserialize_with = "duration")]
    pub refresh_token: Duration,
    /// A sign-in at the provider itself, which other clients share.
    #[serde(deserialize_with = "duration")]
    pub session: Duration,
    /// A login on a device, until it is confirmed.
    #[serde(deserialize_with = "duration")]
    pub device_code: Duration,
    /// A SAML assertion, until its party has it: its person takes it there by pressing a button.
    #[serde(deserialize_with = "duration")]
    pub assertion: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            code: Duration::from_secs(60),
            id_token: Duration::from_secs(5 * 60),
            access_token: Duration::from_secs(5 * 60),
            refresh_token: Duration::from_secs(12 * 3600),
            session: Duration::from_secs(12 * 3600),
            device_code: Duration::from_secs(10 * 60),
            assertion: Duration::from_secs(5 * 60),
        }
    }
}

impl ProviderSettings {
    /// Builds the provider. It reads the users file and the secrets the section names.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key below `[provider]`.
    pub fn build(
        &self,
        surroundings: &Surroundings,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<OpenIdProvider>, SettingsError> {
        let secret =
            |key: String, source: &SecretSource| source.read(surroundings).map_err(|e| SettingsError::at(key, e));
        let users = Users::from_file(&surroundings.path(&self.users), Arc::clone(clock)).map_err(|e| {
            let cause = match &e {
                UsersError::Unreadable(cause) => format!(": {cause}"),
                UsersError::Wrong { .. } => String::new(),
            };
            SettingsError::at("users", format!("{e}{cause}"))
        })?;
        let clients = self.client.iter().map(|(id, settings)| {
            let at = |key: &str| format!("client.{id}.{key}");
            Ok(Client {
                name: settings.name.clone().unwrap_or_else(|| id.clone()),
                secret: settings.client_secret.as_ref().map(|s| secret(at("client_secret"), s)).transpose()?,
                redirect_uris: uris(&at("redirect_uris"), &settings.redirect_uris)?,
                post_logout_redirect_uris: uris(&at("post_logout_redirect_uris"), &settings.post_logout_redirect_uris)?,
                id_token_on_refresh: settings.id_token_on_refresh,
                device_flow: settings.device_flow,
                ..Client::new(id)
            })
        });
        let setup = Setup {
            issuer: self.issuer.clone(),
            users: Arc::new(users),
            clients: clients.collect::<Result<_, SettingsError>>()?,
            lifetimes: self.lifetimes,
            signing_key: self.signing_key.as_ref().map(|s| secret("signing_key".into(), s)).transpose()?,
        };
        #[cfg(feature = "saml")]
        let provider = match self.saml.as_ref().map(|saml| saml.read(surroundings)).transpose()? {
            Some(saml) => OpenIdProvider::with_saml(setup, saml, Arc::clone(clock)),
            None => OpenIdProvider::new(setup, Arc::clone(clock)),
        };
        #[cfg(not(feature = "saml"))]
        let provider = OpenIdProvider::new(setup, Arc::clone(clock));
        provider.map_err(|e| match e {
            ProviderError::Issuer(problem) => SettingsError::at("issuer", problem),
            ProviderError::Client { id, problem } => SettingsError::at(format!("client.{id}"), problem),
            #[cfg(feature = "saml")]
            ProviderError::Saml(problem) => SettingsError::at("saml", problem),
            ProviderError::SigningKey(e) => SettingsError::at("signing_key", e),
        })
    }
}

fn uris(key: &str, texts: &[String]) -> Result<Vec<RedirectUri>, SettingsError> {
    let parse = |(at, text): (usize, &String)| {
        RedirectUri::from_str(text).map_err(|problem| SettingsError::at(format!("{key}[{at}]"), problem))
    };
    texts.iter().enumerate().map(parse).collect()
}

/// `"90s"`, `"15m"`, `"12h"`, `"30d"`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    units
        .into_iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit)?.parse::<u32>().ok().map(|n| u64::from(n) * seconds))
        .filter(|seconds| (1..=YEAR).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            serde::de::Error::custom("must be a duration such as `90s`, `15m`, `12h` or `30d`, a year at most")
        })
}

fn yes() -> bool {
    true
}

const YEAR: u64 = 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::{Environment, parse_table};
    use crate::clock::SystemClock;
    use crate::secret::Secret;
    use crate::users::hash_password;

    fn build(folder: &std::path::Path, text: &str) -> Result<Arc<OpenIdProvider>, SettingsError> {
        let surroundings =
            Surroundings::new(folder, Environment::from_iter([("OP_SECRET".to_owned(), "canary".to_owned())]));
        let settings: ProviderSettings = parse_table(text.parse().unwrap())?;
        settings.build(&surroundings, &(Arc::new(SystemClock) as Arc<dyn Clock>))
    }

    #[test]
    fn a_section_becomes_a_provider_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let hash = hash_password(&Secret::new("correct horse")).unwrap();
        std::fs::write(folder.path().join("users.toml"), format!("[user.alice]\nsub = \"1\"\npassword = \"{hash}\""))
            .unwrap();
        let good = r#"
            issuer = "https://id.example.com/op"
            users = "users.toml"
            [client.app]
            client_secret = { env = "OP_SECRET" }
            redirect_uris = ["https://app.example.com/cb"]
            [client.tool]
            redirect_uris = ["http://127.0.0.1/cb"]
            device_flow = true
            [lifetimes]
            id_token = "60s"
            "#;
        let provider = build(folder.path(), good).unwrap();
        assert!(!format!("{provider:?}").contains("canary"));
        let cases = [
            ("https://id", "http://id", "issuer"),
            ("/op\"", "/op?x\"", "issuer"),
            ("users.toml", "nobody.toml", "users"),
            ("OP_SECRET", "OP_NONE", "client.app.client_secret"),
            ("https://app", "http://app", "client.app.redirect_uris[0]"),
            ("\"60s\"", "\"60\"", "lifetimes.id_token"),
            ("\"60s\"", "\"0s\"", "lifetimes.id_token"),
            ("id_token =", "id_tokens =", "lifetimes.id_tokens"),
            ("device_flow", "device", "client.tool.device"),
        ];
        for (from, to, key) in cases {
            let refused = build(folder.path(), &good.replace(from, to)).unwrap_err();
            assert_eq!(refused.key, key, "{refused}");
        }
    }
}

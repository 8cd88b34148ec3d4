//! Keys that our own endpoints issue: they look like AWS's temporary ones, and are good at this claviger only.
//!
//! Nothing is kept of them. The session token is sealed, and says whose key it is, until when, and what its secret is; it
//! is no secret itself, as whoever has it still lacks what signs.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{SourceName, secret_text};
use crate::secret::{Sealer, Secret};

/// Issues keys, and knows them again.
#[derive(Clone, Debug)]
pub struct IssuedKeys(Arc<Sealer>);

/// A key, in three parts as SDKs have it.
#[derive(Debug)]
pub struct IssuedKey {
    /// Names it.
    pub access_key_id: String,
    /// Signs.
    pub secret: Secret,
    /// Goes with each request.
    pub session_token: Secret,
}

/// Whom a key was issued to, and what it stands for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IssuedTo {
    /// The source that vouched for them.
    pub source: SourceName,
    /// That source's own name for them.
    pub id: Arc<str>,
    /// The endpoint that they asked.
    pub endpoint: Arc<str>,
    /// The role that they asked for.
    pub role: Arc<str>,
    /// When it ends: with the credentials that it stands for.
    pub until: SystemTime,
}

#[derive(Deserialize, Serialize)]
struct Sealed {
    to: IssuedTo,
    access_key_id: String,
    #[serde(with = "secret_text")]
    secret: Secret,
}

impl IssuedKeys {
    /// Keys whose tokens are sealed by this.
    pub fn new(sealer: Arc<Sealer>) -> Self {
        Self(sealer)
    }

    /// Keys that nobody knows after this process.
    pub fn passing() -> Self {
        Self::new(Arc::new(Sealer::random()))
    }

    /// A key for them.
    pub fn issue(&self, to: &IssuedTo) -> IssuedKey {
        let mut id = [0; 8];
        id.fill_with(|| fastrand::u8(..)); // a name, and no secret
        let access_key_id = format!("CLVG{:016X}", u64::from_be_bytes(id));
        let secret = Secret::random(30);
        let sealed = Sealed { to: to.clone(), access_key_id: access_key_id.clone(), secret: secret.clone() };
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&sealed).unwrap_or_default());
        IssuedKey { access_key_id, secret, session_token: Secret::new(self.0.seal(CONTEXT, &plain)) }
    }

    /// Whose the key is, and its secret; nothing where it is none of ours, or of another name.
    pub(super) fn read(&self, access_key_id: &str, session_token: &str) -> Option<(IssuedTo, Secret)> {
        let plain = self.0.open(CONTEXT, session_token)?;
        let sealed: Sealed = serde_json::from_slice(&plain).ok()?;
        (sealed.access_key_id == access_key_id).then_some((sealed.to, sealed.secret))
    }
}

const CONTEXT: &[&str] = &["issued key"];

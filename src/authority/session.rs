//! A role session: its credentials, and the token that carries all of it, sealed.
//!
//! The token *is* the session: nothing is kept here, so there is nothing to sweep, to bound or to lose. The key that
//! seals lives as long as this process; after a restart every session token is unknown, and clients ask for new ones.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::fill;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::account::{SESSION_PREFIX, base32};
use super::tags::Tags;
use crate::arn::{RoleArn, SessionName, SourceIdentity};
use crate::clock::{epoch_seconds, from_epoch_seconds};
use crate::secret::Secret;

/// A role session with its credentials.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Session {
    pub(super) access_key_id: String,
    #[serde(serialize_with = "expose_to_the_seal", deserialize_with = "take_from_the_seal")]
    pub(super) secret: Secret,
    pub(super) role: RoleArn,
    /// The role's unique id.
    pub(super) role_id: String,
    pub(super) name: SessionName,
    pub(super) tags: Tags,
    pub(super) source_identity: Option<SourceIdentity>,
    /// Who holds it, where a token said so.
    pub(super) federated: Option<Federated>,
    /// The session policy. It narrows what the session may do, for whoever evaluates IAM policies.
    pub(super) policy: Option<String>,
    expires: u64,
}

/// Whom a token spoke of.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Federated {
    /// The token's `sub`, or the assertion's NameID.
    pub(super) subject: String,
    /// The provider's ARN.
    pub(super) provider: String,
}

/// What a session is made of, before it has credentials.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) role: RoleArn,
    pub(super) role_id: String,
    pub(super) name: SessionName,
    pub(super) tags: Tags,
    pub(super) source_identity: Option<SourceIdentity>,
    pub(super) federated: Option<Federated>,
    pub(super) policy: Option<String>,
    pub(super) lasts: Duration,
}

impl Session {
    /// A session with fresh credentials, from `now` on.
    pub(super) fn begin(made: Made, now: SystemTime) -> Self {
        let random = Zeroizing::new(random_bytes::<16>());
        Self {
            access_key_id: SESSION_PREFIX.chars().chain(base32(&*random)).collect(),
            // 30 bytes are the 40 characters that secret access keys have
            secret: Secret::random(30),
            expires: epoch_seconds(now + made.lasts),
            role: made.role,
            role_id: made.role_id,
            name: made.name,
            tags: made.tags,
            source_identity: made.source_identity,
            federated: made.federated,
            policy: made.policy,
        }
    }

    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub(super) fn arn(&self) -> String {
        self.role.session(&self.name)
    }

    /// `AROA…:SESSION`.
    pub(super) fn id(&self) -> String {
        format!("{}:{}", self.role_id, self.name)
    }

    pub(super) fn expires(&self) -> SystemTime {
        from_epoch_seconds(self.expires)
    }
}

/// Seals sessions into tokens and opens them.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    /// A seal of its own, with a fresh key.
    #[expect(clippy::expect_used, reason = "32 bytes are a key of AES-256; nothing can go wrong at run time")]
    pub(super) fn fresh() -> Self {
        let key = Zeroizing::new(random_bytes::<32>());
        Self(RandomizedNonceKey::new(&AES_256_GCM, &*key).expect("32 bytes are a key of AES-256"))
    }

    /// The session as a token: base64url of nonce, AES-256-GCM ciphertext and tag.
    pub(super) fn close(&self, session: &Session) -> Option<Secret> {
        let mut sealed = serde_json::to_vec(session).ok()?;
        let nonce = self.0.seal_in_place_append_tag(Aad::from(PURPOSE), &mut sealed).ok()?;
        let mut token = nonce.as_ref().to_vec();
        token.append(&mut sealed);
        Some(Secret::new(URL_SAFE_NO_PAD.encode(token)))
    }

    /// The session in a token that this seal made, to the last bit (CVE-2026-27840).
    pub(super) fn open(&self, token: &str) -> Option<Session> {
        let mut sealed = Zeroizing::new(URL_SAFE_NO_PAD.decode(token).ok()?);
        let (nonce, sealed) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::from(PURPOSE), sealed).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

#[expect(clippy::expect_used, reason = "without randomness there is nothing safe to go on with")]
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes).expect("the system's random source answers");
    bytes
}

/// Only [`Seal::close`] serialises a session.
fn expose_to_the_seal<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn take_from_the_seal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// What the key seals; a second use of it would have another text.
const PURPOSE: &[u8] = b"claviger authority session";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    fn session() -> Session {
        let made = Made {
            role: "arn:aws:iam::123456789012:role/team/reports".parse().unwrap(),
            role_id: "AROAEXAMPLE".to_owned(),
            name: "alice".parse().unwrap(),
            tags: Tags::default(),
            source_identity: None,
            federated: None,
            policy: None,
            lasts: Duration::from_secs(900),
        };
        Session::begin(made, ManualClock::at(1_000).now())
    }

    #[test]
    fn credentials_have_the_shape_of_awss() {
        let session = session();
        assert_eq!(session.access_key_id.len(), 20);
        assert!(session.access_key_id.starts_with("ASIA"));
        assert_eq!(session.secret.expose().len(), 40);
        assert_eq!(session.arn(), "arn:aws:sts::123456789012:assumed-role/reports/alice");
        assert_eq!(epoch_seconds(session.expires()), 1_900);
        assert!(!format!("{session:?}").contains(session.secret.expose()));
    }

    #[test]
    fn a_token_opens_whole_and_unchanged_only() {
        let (seal, session) = (Seal::fresh(), session());
        let token = seal.close(&session).unwrap();
        assert!(seal.open(token.expose()).unwrap().secret.matches(session.secret.expose()));
        assert!(Seal::fresh().open(token.expose()).is_none());
        let token = token.expose();
        for end in 0..token.len() {
            assert!(seal.open(&token[..end]).is_none(), "cut at {end}"); // CVE-2026-27840
        }
        for at in 0..token.len() {
            let mut changed = token.to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(seal.open(std::str::from_utf8(&changed).unwrap()).is_none(), "changed at {at}");
        }
        assert!(seal.open(&format!("{token}A")).is_none());
        assert!(seal.open(&format!("{token}=")).is_none());
    }
}

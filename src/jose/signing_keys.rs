//! The keys of an issuer of ours: one signs, all are published.

use serde_json::{Value, json};

use super::Signer;

/// An issuer's keys. Those that signed before, or will after the next change, are published too, as whoever verifies
/// keeps a key set for a while.
#[derive(Debug)]
pub struct SigningKeys {
    current: Signer,
    others: Vec<Signer>,
}

impl SigningKeys {
    /// `current` signs; `others` are published beside it.
    pub fn new(current: Signer, others: Vec<Signer>) -> Self {
        Self { current, others }
    }

    /// The one that signs.
    pub fn current(&self) -> &Signer {
        &self.current
    }

    /// The public halves as a JWK set (RFC 7517 §5), the current one first.
    pub fn key_set(&self) -> Value {
        json!({ "keys": self.all().map(Signer::public_jwk).collect::<Vec<_>>() })
    }

    /// The key of this name.
    pub fn named(&self, kid: &str) -> Option<&Signer> {
        self.all().find(|signer| signer.kid() == kid)
    }

    /// Whether a key is in both.
    pub fn shares_a_key_with(&self, other: &Self) -> bool {
        self.all().any(|signer| other.named(signer.kid()).is_some())
    }

    fn all(&self) -> impl Iterator<Item = &Signer> {
        [&self.current].into_iter().chain(&self.others)
    }
}

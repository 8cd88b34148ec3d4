//! The issuer of the tokens that tell upstreams who is asking.

use std::sync::Arc;

use serde_json::Value;

use crate::jose::{JoseError, Signer, SigningKeys};
use crate::secret::Secret;

/// Signs identity JWTs as the public URL itself, with its keys at `/.claviger/jwks.json`.
///
/// It is another issuer than that of minted tokens, with other keys: an upstream could else trade what it is given for
/// credentials at STS. Nor is there a discovery document under it, without which no STS believes an issuer.
#[derive(Debug)]
pub struct IdentityIssuer {
    name: String,
    keys: SigningKeys,
}

impl IdentityIssuer {
    /// An issuer of this name: the public URL's origin, without a slash at its end.
    pub fn new(name: &str, keys: SigningKeys) -> Arc<Self> {
        Arc::new(Self { name: name.trim_end_matches('/').to_owned(), keys })
    }

    /// `iss`, to the letter.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys, to be told from those of others.
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// The document at `<issuer>/.claviger/jwks.json` (RFC 7517 §5).
    pub fn key_set(&self) -> Value {
        self.keys.key_set()
    }

    /// The document at `<issuer>/.claviger/keys/<kid>`: one public key as PEM, as AWS's load balancers publish theirs.
    pub fn public_pem(&self, kid: &str) -> Option<&str> {
        self.keys.named(kid).map(Signer::public_pem)
    }

    pub(super) fn sign(&self, claims: &serde_json::Map<String, Value>) -> Result<Secret, JoseError> {
        self.keys.current().sign("JWT", claims)
    }

    pub(super) fn sign_padded(
        &self,
        header: serde_json::Map<String, Value>,
        claims: &serde_json::Map<String, Value>,
    ) -> Result<Secret, JoseError> {
        self.keys.current().sign_padded(header, claims)
    }
}

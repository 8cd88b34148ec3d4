//! Keys, key sets, and signing and verifying JSON Web Tokens (RFC 7515, 7517, 7519).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;

use crate::clock::Clock;
use crate::fetch::{Fetch, FetchError};
use crate::secret::Secret;

/// Signs tokens with one ES256 key.
#[derive(Debug)]
pub struct Signer {}

impl Signer {
    /// A fresh P-256 key and its PKCS#8 PEM, to be kept.
    pub fn generate() -> Result<(Self, Secret), JoseError> {
        unimplemented!("in the making")
    }

    /// The key in a PKCS#8 PEM.
    pub fn from_pem(_pem: &Secret) -> Result<Self, JoseError> {
        unimplemented!("in the making")
    }

    /// The key's name: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        unimplemented!("in the making")
    }

    /// The public half as a JWK with `kid`, `alg`, `use`.
    pub fn public_jwk(&self) -> Value {
        unimplemented!("in the making")
    }

    /// A compact JWS over `claims` with this `typ`.
    pub fn sign<C: Serialize>(&self, _typ: &str, _claims: &C) -> Result<Secret, JoseError> {
        unimplemented!("in the making")
    }
}

/// A set of public keys.
#[derive(Debug)]
pub struct KeySet {}

impl KeySet {
    /// Reads a JWKS document. Keys of kinds we don't use are passed over; none left is an error.
    pub fn parse(_document: &[u8]) -> Result<Self, JoseError> {
        unimplemented!("in the making")
    }

    /// The document as it came.
    pub fn document(&self) -> &Value {
        unimplemented!("in the making")
    }
}

/// An issuer elsewhere: its discovery document and its keys, fetched when first needed and kept fresh.
#[derive(Debug)]
pub struct RemoteIssuer {}

impl RemoteIssuer {
    /// Nothing is fetched yet. `issuer` is compared to the letter with what the document says (OIDC Discovery §4.3).
    pub fn new(_issuer: Url, _fetch: Arc<Fetch>, _clock: Arc<dyn Clock>) -> Arc<Self> {
        unimplemented!("in the making")
    }

    /// The discovery document.
    pub async fn metadata(&self) -> Result<Arc<Value>, JoseError> {
        unimplemented!("in the making")
    }

    /// The keys: the last good set where the issuer does not answer now.
    pub async fn keys(&self) -> Result<Arc<KeySet>, JoseError> {
        unimplemented!("in the making")
    }

    /// The keys after one forced refetch, for a `kid` that is not among them; at most one refetch in a cool-down (A19).
    pub async fn keys_with(&self, _kid: &str) -> Result<Arc<KeySet>, JoseError> {
        unimplemented!("in the making")
    }

    /// Why the issuer can't be used now, if so.
    pub fn trouble(&self) -> Option<String> {
        unimplemented!("in the making")
    }
}

/// What may be read of a token before it is verified, and only to find the keys that verify it.
#[derive(Clone, Debug)]
pub struct Unverified {
    /// The issuer it claims.
    pub issuer: String,
    /// The key it claims.
    pub kid: Option<String>,
}

/// Reads a token's claimed issuer and key. Nothing of it is true yet.
pub fn unverified(_token: &str) -> Result<Unverified, JoseError> {
    unimplemented!("in the making")
}

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its `iss`, to the letter.
    pub issuer: &'a str,
    /// One of these must be its `aud`; of several audiences `azp` must be one of these.
    pub audiences: &'a [&'a str],
    /// Now.
    pub now: SystemTime,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Verifies signature, algorithm (RS256/384/512, PS256/384/512, ES256/384, EdDSA as the key is made for; never `none`, never HMAC), times as
/// numbers (A18), issuer, audience. The claims are true afterwards.
pub fn verify(_token: &str, _keys: &KeySet, _expected: &Expected<'_>) -> Result<Map<String, Value>, JoseError> {
    unimplemented!("in the making")
}

/// Why a token, key or key set is no good.
#[derive(Debug, thiserror::Error)]
pub enum JoseError {
    /// It is not in the form it should be.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The signature, or its algorithm or key, is wrong.
    #[error("the signature does not verify: {0}")]
    Signature(String),
    /// It names a key that is not in the set.
    #[error("no key `{0}`")]
    UnknownKey(String),
    /// It has expired, or is not valid yet.
    #[error("outside its time: {0}")]
    Time(String),
    /// Issuer, audience or another claim is not what it must be.
    #[error("the claim {0}")]
    Claim(String),
    /// The key set or discovery document can't be had now.
    #[error("the issuer's documents can't be fetched")]
    Unavailable(#[from] FetchError),
}

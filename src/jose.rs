//! Keys, key sets, and signing and verifying JSON Web Tokens (RFC 7515, 7517, 7519).

mod access_token;
mod key_set;
mod remote_issuer;
mod signer;
mod signing_keys;
mod token;
mod way;

use crate::fetch::FetchError;

pub use access_token::{Form, verify_access_token};
pub use key_set::KeySet;
pub use remote_issuer::RemoteIssuer;
pub use signer::Signer;
pub use signing_keys::SigningKeys;
pub use token::{Expected, Unverified, claimed_issuer, unverified, unverified_claims, verify};
pub use way::Way;

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

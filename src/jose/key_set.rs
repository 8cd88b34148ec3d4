//! Public keys that verify signatures (RFC 7517).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::JoseError;

/// A set of public keys.
pub struct KeySet {
    document: Value,
    keys: Vec<PublicKey>,
}

/// One key, and all it may be used for.
pub(super) struct PublicKey {
    pub(super) kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a JWKS document. Keys of kinds we don't use are passed over; none left is an error.
    ///
    /// Symmetric keys are among those passed over, so that nothing in a key set can make an HMAC verify (A18).
    ///
    /// # Errors
    /// [`JoseError::Malformed`].
    pub fn parse(document: &[u8]) -> Result<Self, JoseError> {
        let document: Value =
            serde_json::from_slice(document).map_err(|e| JoseError::Malformed(format!("key set: {e}")))?;
        let listed = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| JoseError::Malformed("key set: `keys` must be a list".into()))?;
        let keys: Vec<_> = listed.iter().take(KEYS).filter_map(PublicKey::read).collect();
        if keys.is_empty() {
            return Err(JoseError::Malformed("key set: no key in it can verify a signature".into()));
        }
        Ok(Self { document, keys })
    }

    /// The document as it came.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether a key of this name is among them.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The one key that a token with this header may be verified with.
    ///
    /// The key decides which algorithms are possible, never the token alone (RFC 8725 §3.1).
    pub(super) fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&PublicKey, JoseError> {
        let mut named = self.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid).peekable();
        if let (Some(kid), None) = (kid, named.peek()) {
            return Err(JoseError::UnknownKey(kid.into()));
        }
        let mut fitting = named.filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(JoseError::Signature(format!("no key is made for {algorithm:?}"))),
            (Some(_), Some(_)) => Err(JoseError::Signature("several keys would fit and none is named".into())),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| (&key.kid, &key.algorithms))).finish()
    }
}

impl PublicKey {
    /// Whether `signature` (base64url) is this key's over `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm).unwrap_or(false)
    }

    /// `None` for keys that are not for verifying, or of a kind or size we don't use.
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let (mut algorithms, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (modulus, exponent) = (bytes(text("n")?)?, bytes(text("e")?)?);
                // some issuers send the sign byte of ASN.1 along (RFC 7518 §6.3.1.1 forbids it)
                let modulus = modulus.strip_prefix(&[0]).unwrap_or(&modulus);
                if !RSA_BYTES.contains(&modulus.len()) {
                    return None;
                }
                (RSA.to_vec(), DecodingKey::from_rsa_raw_components(modulus, &exponent))
            }
            ("EC", Some("P-256")) => (vec![Algorithm::ES256], point(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (vec![Algorithm::ES384], point(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => {
                let x = bytes(text("x")?).filter(|x| x.len() == 32)?;
                (vec![Algorithm::EdDSA], DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        if let Some(only) = jwk.get("alg") {
            let only = only.as_str().and_then(algorithm)?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        let kid = text("kid").map(str::to_owned);
        (!algorithms.is_empty()).then_some(Self { kid, algorithms, key })
    }
}

/// The algorithm of this name among those we use: no `none`, and nothing symmetric (RFC 8725 §3.2).
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA, // RFC 9864 gave the curve its own name
        _ => return None,
    })
}

/// An uncompressed point (SEC 1 §2.3.3).
fn point(x: &str, y: &str, size: usize) -> Option<DecodingKey> {
    let (x, y) = (bytes(x)?, bytes(y)?);
    (x.len() == size && y.len() == size).then(|| DecodingKey::from_ec_der(&[&[4], &*x, &*y].concat()))
}

fn bytes(base64url: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64url).ok()
}

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// 2048 bits are the least that RFC 7518 §3.3 allows; more than 8192 only cost time.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Issuers publish a handful; more would only make `kid` look-ups slow.
const KEYS: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::Signer;

    #[test]
    fn only_keys_that_can_verify_are_taken() {
        let (signer, _) = Signer::generate().unwrap();
        let good = signer.public_jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            jwk
        };
        let cases = [
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" }),
            json!({ "kty": "RSA", "n": "not base64!", "e": "AQAB" }),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("RS256")),
            with("alg", json!("none")),
            with("alg", json!("HS256")),
            with("crv", json!("P-384")),
            with("x", json!("AAAA")),
            json!("text"),
        ];
        for jwk in cases {
            let alone = json!({ "keys": [jwk] }).to_string();
            assert!(matches!(KeySet::parse(alone.as_bytes()), Err(JoseError::Malformed(_))), "{alone}");
            let beside = KeySet::parse(json!({ "keys": [jwk, good] }).to_string().as_bytes()).unwrap();
            assert_eq!(beside.keys.len(), 1, "{alone}");
        }
    }

    #[test]
    fn documents_that_are_no_key_set_are_refused() {
        for document in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, &"[".repeat(10_000)] {
            assert!(matches!(KeySet::parse(document.as_bytes()), Err(JoseError::Malformed(_))));
        }
    }
}

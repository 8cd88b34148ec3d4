//! A P-256 key that signs tokens.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::JoseError;
use crate::secret::Secret;

/// Signs tokens with one ES256 key.
pub struct Signer {
    key: EcdsaKeyPair,
    kid: String,
    public_jwk: Value,
    public_pem: String,
}

impl Signer {
    /// A fresh P-256 key and its PKCS#8 PEM, to be kept.
    pub fn generate() -> Result<(Self, Secret), JoseError> {
        let unavailable = |_| JoseError::Malformed("a P-256 key can't be made".into());
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(unavailable)?;
        let pem = to_pem("PRIVATE KEY", key.to_pkcs8v1().map_err(unavailable)?.as_ref());
        Ok((Self::new(key)?, Secret::new(pem.as_str())))
    }

    /// The key in a PKCS#8 PEM.
    ///
    /// # Errors
    /// [`JoseError::Malformed`] where it is not an unencrypted P-256 key; its text is never in the error.
    pub fn from_pem(pem: &Secret) -> Result<Self, JoseError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes())
            .map_err(|_| JoseError::Malformed("a signing key must be a PKCS#8 PEM (`BEGIN PRIVATE KEY`)".into()))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
            .map_err(|_| JoseError::Malformed("a signing key must be an elliptic-curve key on P-256".into()))?;
        Self::new(key)
    }

    /// The key's name: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK with `kid`, `alg`, `use`.
    pub fn public_jwk(&self) -> Value {
        self.public_jwk.clone()
    }

    /// The public half as a PEM of its SubjectPublicKeyInfo (RFC 7468 §13).
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// A compact JWS over `claims` with this `typ`.
    pub fn sign<C: Serialize>(&self, typ: &str, claims: &C) -> Result<Secret, JoseError> {
        self.compact(Map::from_iter([("typ".into(), json!(typ))]), claims, &URL_SAFE_NO_PAD)
    }

    /// A JWS over `claims` as AWS's Application Load Balancers write it: with further members in its header, and each
    /// part padded, which RFC 7515 §2 does not have.
    pub fn sign_padded<C: Serialize>(&self, header: Map<String, Value>, claims: &C) -> Result<Secret, JoseError> {
        self.compact(header, claims, &URL_SAFE)
    }

    fn compact<C: Serialize>(
        &self,
        mut header: Map<String, Value>,
        claims: &C,
        base64: &GeneralPurpose,
    ) -> Result<Secret, JoseError> {
        let unserialisable = |e: serde_json::Error| JoseError::Malformed(format!("claims: {e}"));
        header.insert("alg".into(), json!("ES256"));
        header.insert("kid".into(), json!(self.kid));
        let mut token = base64.encode(Value::Object(header).to_string());
        token.push('.');
        base64.encode_string(serde_json::to_vec(claims).map_err(unserialisable)?, &mut token);
        let signature = self
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| JoseError::Signature("it can't be made".into()))?;
        token.push('.');
        base64.encode_string(signature.as_ref(), &mut token);
        Ok(Secret::new(token))
    }

    fn new(key: EcdsaKeyPair) -> Result<Self, JoseError> {
        // SEC 1 §2.3.3: an uncompressed point is 0x04, then x and y
        let Some((&[4], point)) = key.public_key().as_ref().split_first_chunk::<1>() else {
            return Err(JoseError::Malformed("the public key is no uncompressed point".into()));
        };
        let (x, y) = point.split_at(point.len() / 2);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638 §3.2: the required members only, in this order, without white space
        let thumbprint = digest(&SHA256, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        let public_jwk =
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig" });
        let unwritable = |_| JoseError::Malformed("the public key can't be written".into());
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(unwritable)?;
        let public_pem = to_pem("PUBLIC KEY", public.as_ref()).to_string();
        Ok(Self { key, kid, public_jwk, public_pem })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// RFC 7468: base64 in lines of 64 characters.
fn to_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_is_the_same_key() {
        let (signer, pem) = Signer::generate().unwrap();
        let again = Signer::from_pem(&pem).unwrap();
        assert_eq!(signer.kid(), again.kid());
        assert_eq!(signer.public_jwk(), again.public_jwk());
        assert_eq!(signer.kid().len(), 43);
        assert!(!format!("{signer:?}").contains(&pem.expose()[40..60]));
    }

    #[test]
    fn other_keys_are_refused_without_showing_them() {
        for pem in ["", "canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"] {
            let refused = Signer::from_pem(&Secret::new(pem)).unwrap_err().to_string();
            assert!(refused.contains("must be") && !refused.contains("canary"), "{refused}");
        }
    }
}

//! Keys and certificates: a provider's, that we verify by, and our own, that we sign with.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::names;
use crate::secret::Secret;

/// A certificate as SAML uses it: a name for a public key. Nobody issues, chains or expires here.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Certificate {
    der: Vec<u8>,
    /// The SubjectPublicKeyInfo.
    spki: Vec<u8>,
    /// The key in it: RFC 8017 A.1.1, or SEC 1 §2.3.3.
    public: Vec<u8>,
    kind: PublicKind,
}

/// What it can verify.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum PublicKind {
    Rsa,
    P256,
    P384,
    P521,
}

/// Our key that messages are signed with, and the certificate that tells others of it: RSA of 2048 bits or more, or
/// P-256.
pub struct SigningKey {
    pair: Pair,
    certificate: Certificate,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
}

/// Why a key or certificate can't be used. Never shows key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No X.509 certificate.
    #[error("expected an X.509 certificate, as PEM (`BEGIN CERTIFICATE`) or as metadata has it")]
    Certificate,
    /// A key that is too small, or of a kind nobody signs SAML with.
    #[error("expected a certificate of an RSA key of 2048 to 8192 bits, or of one on P-256, P-384 or P-521")]
    PublicKey,
    /// No private key.
    #[error("expected an RSA key of 2048 to 8192 bits, or one on P-256, as a PKCS#8 PEM (`BEGIN PRIVATE KEY`)")]
    PrivateKey,
    /// A certificate of somebody else's key.
    #[error("the certificate is not of the private key beside it")]
    NotAPair,
}

impl Certificate {
    /// From DER.
    ///
    /// # Errors
    /// [`KeyError::Certificate`], [`KeyError::PublicKey`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| KeyError::Certificate)?;
        if !rest.is_empty() {
            return Err(KeyError::Certificate);
        }
        let spki = parsed.public_key();
        let kind = match spki.parsed().map_err(|_| KeyError::PublicKey)? {
            PublicKey::RSA(key) if (2048..=8192).contains(&key.key_size()) => PublicKind::Rsa,
            PublicKey::EC(point) => match point.key_size() {
                256 => PublicKind::P256,
                384 => PublicKind::P384,
                521 | 528 => PublicKind::P521,
                _ => return Err(KeyError::PublicKey),
            },
            _ => return Err(KeyError::PublicKey),
        };
        let public = spki.subject_public_key.data.to_vec();
        Ok(Self { der: der.to_vec(), spki: spki.raw.to_vec(), public, kind })
    }

    /// From PEM, of which the first certificate is taken.
    ///
    /// # Errors
    /// [`KeyError::Certificate`], [`KeyError::PublicKey`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Certificate)?;
        Self::from_der(&der)
    }

    /// From what stands in an `X509Certificate` element: base64, broken into lines or not.
    ///
    /// # Errors
    /// [`KeyError::Certificate`], [`KeyError::PublicKey`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let text: String = text.split_ascii_whitespace().collect();
        Self::from_der(&STANDARD.decode(text).map_err(|_| KeyError::Certificate)?)
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The DER as one line of base64.
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.der)
    }

    pub(super) fn is_rsa(&self) -> bool {
        self.kind == PublicKind::Rsa
    }

    /// The SubjectPublicKeyInfo, as DER.
    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether this key made that signature over `message`, by an algorithm's name; SHA-1 is none.
    pub(super) fn verifies(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match (algorithm, self.kind) {
            (names::RSA_SHA256, PublicKind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (names::RSA_SHA384, PublicKind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (names::RSA_SHA512, PublicKind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (names::ECDSA_SHA256, PublicKind::P256) => &signature::ECDSA_P256_SHA256_FIXED,
            (names::ECDSA_SHA384, PublicKind::P384) => &signature::ECDSA_P384_SHA384_FIXED,
            (names::ECDSA_SHA512, PublicKind::P521) => &signature::ECDSA_P521_SHA512_FIXED,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, &self.public).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A private key with its certificate, both PEM.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with either, or with the two together.
    pub fn new(key: &Secret, certificate: Certificate) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| KeyError::PrivateKey)?;
        let der = der.secret_pkcs8_der();
        let (pair, public) = if certificate.is_rsa() {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::PrivateKey)?;
            let public = pair.public_key().as_ref().to_vec();
            (Pair::Rsa(Box::new(pair)), public)
        } else {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(|_| KeyError::PrivateKey)?;
            let public = pair.public_key().as_ref().to_vec();
            (Pair::P256(pair), public)
        };
        if public != certificate.public {
            return Err(KeyError::NotAPair);
        }
        Ok(Self { pair, certificate })
    }

    /// The certificate of it.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The algorithm's name in XML and in queries.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => names::RSA_SHA256,
            Pair::P256(_) => names::ECDSA_SHA256,
        }
    }

    /// The signature as XML-DSig writes it: RFC 8017 §8.2, or r and s side by side. `None` where the library fails.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::P256(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

//! Encrypted assertions (XML Encryption 1.1): RSA-OAEP for the key, AES-GCM for the content.
//!
//! Everything that a key's use could tell is one error, [`Reason::Undecryptable`]; what is refused by name is read off the
//! document before a key is touched. RSA with PKCS #1 v1.5 padding is not here at all (Bleichenbacher, 1998).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use roxmltree::Node;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::key::{Certificate, KeyError};
use super::names::{
    AES128_CBC, AES128_GCM, AES256_CBC, AES256_GCM, ASSERTION, DSIG, MGF1_SHA1, MGF1_SHA256, OAEP, OAEP_MGF1_SHA1,
    SHA1, SHA256, TYPE_ELEMENT, TYPE_KEY, XENC, XENC11,
};
use super::reason::{Reason, shown};
use super::scan::{self, scan};
use super::tree;
use crate::secret::Secret;

/// Our RSA key that assertions are encrypted to, and the certificate that tells providers of it.
#[derive(Clone)]
pub struct DecryptionKey {
    key: Arc<OaepPrivateDecryptingKey>,
    certificate: Certificate,
}

impl DecryptionKey {
    /// A private RSA key as PKCS#8 PEM, with its certificate.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with either, or with the two together.
    pub fn new(key: &Secret, certificate: Certificate) -> Result<Self, KeyError> {
        use aws_lc_rs::encoding::AsDer as _;
        let der = PrivatePkcs8KeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| KeyError::PrivateKey)?;
        let key = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| KeyError::PrivateKey)?;
        let public = key.public_key().as_der().map_err(|_| KeyError::PrivateKey)?;
        if public.as_ref() != certificate.spki() {
            return Err(KeyError::NotAPair);
        }
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| KeyError::PrivateKey)?;
        Ok(Self { key: Arc::new(key), certificate })
    }

    /// The certificate of it.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The document with its EncryptedAssertion replaced by what was encrypted.
pub(super) fn in_place(text: &str, keys: &[DecryptionKey], cbc: bool) -> Result<String, Reason> {
    let document = tree::parse(text)?;
    let encrypted = tree::one(document.root_element(), ASSERTION, "EncryptedAssertion");
    let encrypted = encrypted.ok_or(Reason::Missing("encrypted assertion"))?;
    let envelope = Envelope::read(encrypted, cbc)?;
    let plain = keys.iter().find_map(|key| envelope.open(key)).ok_or(Reason::Undecryptable)?;
    let plain = std::str::from_utf8(&plain).map_err(|_| Reason::Undecryptable)?;
    // one element by itself, so that it can't end what it is put into
    scan(plain.as_bytes(), scan::MESSAGE).map_err(|_| Reason::Undecryptable)?;
    let range = encrypted.range();
    let (before, after) = (text.get(..range.start), text.get(range.end..));
    let (Some(before), Some(after)) = (before, after) else { return Err(Reason::Undecryptable) };
    Ok([before, plain, after].concat())
}

/// What an EncryptedAssertion holds.
struct Envelope {
    transport: &'static OaepAlgorithm,
    key: Vec<u8>,
    cipher: Cipher,
    content: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Cipher {
    Gcm { bits: u16 },
    Cbc { bits: u16 },
}

impl Envelope {
    fn read(encrypted: Node<'_, '_>, cbc: bool) -> Result<Self, Reason> {
        let data =
            tree::one(encrypted, XENC, "EncryptedData").ok_or_else(|| refuse("there is not one EncryptedData"))?;
        if tree::attribute(data, "Type").is_some_and(|kind| kind != TYPE_ELEMENT) {
            return Err(refuse("it is of something else than an element"));
        }
        // several recipients, keys for keys, and keys within keys are work for us and of use to nobody
        let mut keys = encrypted.descendants().filter(|node| tree::is(*node, XENC, "EncryptedKey"));
        let (Some(key), None) = (keys.next(), keys.next()) else { return Err(refuse("there is not one EncryptedKey")) };
        let is_placed = key.parent() == Some(encrypted)
            || key.parent().is_some_and(|info| tree::is(info, DSIG, "KeyInfo") && info.parent() == Some(data));
        if !is_placed {
            return Err(refuse("its EncryptedKey is not where the schema has one"));
        }
        for node in encrypted.descendants().filter(Node::is_element) {
            let name = node.tag_name().name();
            let is_other = tree::is(node, DSIG, "RetrievalMethod") && !is_of(node, key);
            if is_other
                || ["CipherReference", "AgreementMethod", "DerivedKey", "OAEPparams", "Signature"].contains(&name)
            {
                return Err(Reason::Encryption(format!("{} is not supported", shown(name))));
            }
        }
        let method = tree::one(data, XENC, "EncryptionMethod").and_then(|method| tree::attribute(method, "Algorithm"));
        let cipher = match method.unwrap_or_default() {
            AES128_GCM => Cipher::Gcm { bits: 128 },
            AES256_GCM => Cipher::Gcm { bits: 256 },
            AES128_CBC if cbc => Cipher::Cbc { bits: 128 },
            AES256_CBC if cbc => Cipher::Cbc { bits: 256 },
            other => return Err(Reason::Encryption(format!("the content's method is `{}`", shown(other)))),
        };
        Ok(Self { transport: transport(key)?, key: value(key)?, cipher, content: value(data)? })
    }

    fn open(&self, key: &DecryptionKey) -> Option<Zeroizing<Vec<u8>>> {
        let mut unwrapped = Zeroizing::new(vec![0; key.key.min_output_size()]);
        let content_key = key.key.decrypt(self.transport, &self.key, &mut unwrapped, None).ok()?;
        let mut content = Zeroizing::new(self.content.clone());
        // every length is looked at before it is cut off (GHSA-hwqm-qvj9-4jr2)
        let plain = match self.cipher {
            Cipher::Gcm { bits } => {
                let algorithm = if bits == 128 { &AES_128_GCM } else { &AES_256_GCM };
                let (nonce, sealed) = content.split_at_mut_checked(GCM_NONCE)?;
                let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
                let opener = LessSafeKey::new(UnboundKey::new(algorithm, content_key).ok()?);
                opener.open_in_place(nonce, Aad::empty(), sealed).ok()?.to_vec()
            }
            Cipher::Cbc { bits } => {
                let algorithm = if bits == 128 { &AES_128 } else { &AES_256 };
                let (iv, sealed) = content.split_at_mut_checked(CBC_BLOCK)?;
                if sealed.is_empty() {
                    return None;
                }
                let context = DecryptionContext::Iv128(FixedLength::from(<&[u8; CBC_BLOCK]>::try_from(&*iv).ok()?));
                let key = UnboundCipherKey::new(algorithm, content_key).ok()?;
                // XML-Enc §5.2: only the last byte of the padding means anything
                let opener = PaddedBlockDecryptingKey::cbc_iso10126(key).ok()?;
                opener.decrypt(sealed, context).ok()?.to_vec()
            }
        };
        Some(Zeroizing::new(plain))
    }
}

/// RSA-OAEP with one digest for both its places. Mixed ones (SHA-256 with the mask of SHA-1) are nobody's default and
/// would need an implementation of our own.
fn transport(key: Node<'_, '_>) -> Result<&'static OaepAlgorithm, Reason> {
    let method = tree::one(key, XENC, "EncryptionMethod").ok_or_else(|| refuse("its key has no EncryptionMethod"))?;
    let named = |namespace, name| tree::one(method, namespace, name).map(|node| tree::attribute(node, "Algorithm"));
    let count = |namespace, name| tree::all(method, namespace, name).count();
    if count(DSIG, "DigestMethod") > 1 || count(XENC11, "MGF") > 1 {
        return Err(refuse("the key's method says a thing twice"));
    }
    // XML-Enc 1.1 §5.5.2: SHA-1 where nothing is said, in either place
    let digest = named(DSIG, "DigestMethod").map_or(SHA1, Option::unwrap_or_default);
    let mask = match tree::attribute(method, "Algorithm").unwrap_or_default() {
        OAEP_MGF1_SHA1 => MGF1_SHA1,
        OAEP => named(XENC11, "MGF").map_or(MGF1_SHA1, Option::unwrap_or_default),
        other => return Err(Reason::Encryption(format!("the key's method is `{}`", shown(other)))),
    };
    match (digest, mask) {
        (SHA1, MGF1_SHA1) => Ok(&OAEP_SHA1_MGF1SHA1),
        (SHA256, MGF1_SHA256) => Ok(&OAEP_SHA256_MGF1SHA256),
        _ => Err(Reason::Encryption(format!("RSA-OAEP with the digests `{}` and `{}`", shown(digest), shown(mask)))),
    }
}

fn value(node: Node<'_, '_>) -> Result<Vec<u8>, Reason> {
    let value = tree::one(node, XENC, "CipherData").and_then(|data| tree::one(data, XENC, "CipherValue"));
    value.and_then(tree::bytes).ok_or_else(|| refuse("a CipherValue is missing, or no base64"))
}

/// Whether a RetrievalMethod means the one key that is there, beside the data.
fn is_of(retrieval: Node<'_, '_>, key: Node<'_, '_>) -> bool {
    let id = tree::attribute(key, "Id");
    tree::attribute(retrieval, "Type") == Some(TYPE_KEY)
        && tree::elements(retrieval).next().is_none()
        && id.is_some()
        && tree::attribute(retrieval, "URI").and_then(|uri| uri.strip_prefix('#')) == id
}

fn refuse(what: &str) -> Reason {
    Reason::Encryption(what.to_owned())
}

const GCM_NONCE: usize = 12;
const CBC_BLOCK: usize = 16;

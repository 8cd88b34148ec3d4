//! Encrypting an assertion to a party's certificate (XML Encryption 1.1): RSA-OAEP and AES-GCM.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::fill;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::key::Certificate;
use super::names;
use super::write::Element;

/// How a content key is wrapped and a content encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Encryption {
    /// SHA-256 in both places of RSA-OAEP, or the SHA-1 that is every library's default.
    pub oaep_sha256: bool,
    /// AES-256, or AES-128.
    pub aes256: bool,
}

impl Default for Encryption {
    /// What every party can read.
    fn default() -> Self {
        Self { oaep_sha256: false, aes256: true }
    }
}

/// An EncryptedAssertion of what is written. `None` where the certificate's key is not RSA, or the library fails.
pub(super) fn assertion(written: &str, to: &Certificate, how: Encryption) -> Option<Element> {
    let key_bytes = &mut Zeroizing::new([0; 32]);
    let key_bytes = if how.aes256 { &mut key_bytes[..] } else { key_bytes.get_mut(..16)? };
    fill(key_bytes).ok()?;
    let mut nonce = [0; 12];
    fill(&mut nonce).ok()?;
    let (aes, method) = if how.aes256 { (&AES_256_GCM, names::AES256_GCM) } else { (&AES_128_GCM, names::AES128_GCM) };
    let mut content = written.as_bytes().to_vec();
    LessSafeKey::new(UnboundKey::new(aes, key_bytes).ok()?)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut content)
        .ok()?;
    let content = [&nonce[..], &content].concat();

    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(to.spki()).ok()?).ok()?;
    let mut wrapped = vec![0; public.ciphertext_size()];
    let oaep = if how.oaep_sha256 { &OAEP_SHA256_MGF1SHA256 } else { &OAEP_SHA1_MGF1SHA1 };
    let wrapped = public.encrypt(oaep, key_bytes, &mut wrapped, None).ok()?;

    let digest = |algorithm| Element::new("ds:DigestMethod").with("Algorithm", algorithm);
    let transport = Element::new("xenc:EncryptionMethod");
    let transport = if how.oaep_sha256 {
        let mask = Element::new("xenc11:MGF").with("Algorithm", names::MGF1_SHA256);
        transport.with("Algorithm", names::OAEP).child(digest(names::SHA256)).child(mask)
    } else {
        transport.with("Algorithm", names::OAEP_MGF1_SHA1).child(digest(names::SHA1))
    };
    let key = Element::new("xenc:EncryptedKey").child(transport).child(cipher_data(wrapped));
    let data = Element::new("xenc:EncryptedData")
        .with("Type", names::TYPE_ELEMENT)
        .child(Element::new("xenc:EncryptionMethod").with("Algorithm", method))
        .child(Element::new("ds:KeyInfo").child(key))
        .child(cipher_data(&content));
    Some(Element::new("saml:EncryptedAssertion").child(data))
}

fn cipher_data(bytes: &[u8]) -> Element {
    Element::new("xenc:CipherData").child(Element::new("xenc:CipherValue").text(STANDARD.encode(bytes)))
}

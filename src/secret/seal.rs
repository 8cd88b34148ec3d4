//! Sealing: what we hand out and get back, unread and unchanged.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Secret;

/// Seals with AES-256-GCM under the first of its keys, and opens what any of them sealed, so that keys can change with
/// an overlap.
///
/// The context says what a sealed thing is for; it opens in the same context only. Its parts are joined with their
/// lengths, so that no two contexts are the same bytes (CVE-2023-35941, A9).
pub struct Sealer {
    /// Never empty.
    keys: ArcSwap<Vec<Key>>,
}

struct Key {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
    blind: hmac::Key,
}

impl Sealer {
    /// A sealer with a key of its own: what it seals is opened by nobody after a restart.
    pub fn random() -> Self {
        Self::of(vec![Key::derive(&Secret::random(32))])
    }

    /// Seals with the first key, opens with each. `None` where there is no key, as nothing could be sealed.
    pub fn new(keys: &[Secret]) -> Option<Self> {
        (!keys.is_empty()).then(|| Self::of(keys.iter().map(Key::derive).collect()))
    }

    /// Goes on with these keys. False where there is none: then the old ones stay.
    pub fn replace_keys(&self, keys: &[Secret]) -> bool {
        if !keys.is_empty() {
            self.keys.store(Arc::new(keys.iter().map(Key::derive).collect()));
        }
        !keys.is_empty()
    }

    /// `plain`, sealed for `context`, as base64url text.
    pub fn seal(&self, context: &[&str], plain: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal_bytes(context, plain))
    }

    /// `plain`, sealed for `context`.
    #[expect(clippy::expect_used, reason = "sealing fails only past 64 GiB or without randomness")]
    pub fn seal_bytes(&self, context: &[&str], plain: &[u8]) -> Vec<u8> {
        let keys = self.keys.load();
        let key = keys.first().expect("there is a key by construction");
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).expect("the system's random source answers");
        let mut sealed = Zeroizing::new(plain.to_vec());
        key.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.bytes(context)), &mut *sealed)
            .expect("what is sealed is shorter than 64 GiB");
        let mut out = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        out.extend_from_slice(&key.name);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// What was sealed for `context`; `None` if it was not, or not by us, or any bit of it has changed (A9).
    pub fn open(&self, context: &[&str], text: &str) -> Option<Zeroizing<Vec<u8>>> {
        // the engine refuses bits after the last byte, so one sealed text has one spelling
        self.open_bytes(context, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    /// As [`Sealer::open`], of bytes.
    pub fn open_bytes(&self, context: &[&str], bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (name, rest) = bytes.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        self.keys.load().iter().filter(|key| key.name == *name).find_map(|key| {
            let mut buffer = Zeroizing::new(sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.key.open_in_place(nonce, Aad::from(key.bytes(context)), &mut buffer).ok()?.len();
            buffer.truncate(length);
            Some(buffer)
        })
    }

    /// Names for `context` that say nothing of it to who has no key (HMAC-SHA-256, base64url): one under each key, the
    /// first to be written, all to be looked for.
    pub fn blinded(&self, context: &[&str]) -> Vec<String> {
        let keys = self.keys.load();
        keys.iter().map(|key| URL_SAFE_NO_PAD.encode(hmac::sign(&key.blind, &key.bytes(context)))).collect()
    }

    fn of(keys: Vec<Key>) -> Self {
        Self { keys: ArcSwap::from_pointee(keys) }
    }
}

impl Key {
    /// Whatever the secret's form, the key is 256 bits, and of no use for anything else the secret may be for.
    #[expect(clippy::expect_used, reason = "the length is the algorithm's own")]
    fn derive(secret: &Secret) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"claviger sealing 1");
        let prk = salt.extract(secret.expose().as_bytes());
        let expand = |prk: &Prk, purpose: &[u8]| {
            let mut bytes = Zeroizing::new([0; KEY_LEN]);
            prk.expand(&[purpose], Length)
                .and_then(|okm| okm.fill(&mut *bytes))
                .expect("32 bytes can be had from SHA-256");
            bytes
        };
        let bytes = expand(&prk, b"aes-256-gcm");
        let blind = hmac::Key::new(hmac::HMAC_SHA256, &*expand(&prk, b"hmac-sha-256"));
        let unbound = UnboundKey::new(&AES_256_GCM, &*bytes).expect("the key has the algorithm's length");
        let mut name = [0; NAME_LEN];
        name.iter_mut().zip(digest(&SHA256, &*bytes).as_ref()).for_each(|(to, from)| *to = *from);
        Self { name, key: LessSafeKey::new(unbound), blind }
    }

    /// The key's name and the context, unmistakably.
    fn bytes(&self, context: &[&str]) -> Vec<u8> {
        let mut bytes = self.name.to_vec();
        for part in context {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

const KEY_LEN: usize = 32;
/// Enough to tell a few keys apart; it is no secret.
const NAME_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &[&str] = &["login", "claviger-login-0a1b2c3d"];

    #[test]
    fn a_sealed_text_opens_in_its_context_only() {
        let sealer = Sealer::random();
        let sealed = sealer.seal(CONTEXT, b"canary");
        assert_eq!(sealer.open(CONTEXT, &sealed).unwrap().as_slice(), b"canary");
        // A9: shifted fields, another purpose, another cookie
        for context in [&["login", "claviger-login-0a1b2c3e"][..], &["loginclaviger-login-0a1b2c3d"], &["login"], &[]] {
            assert!(sealer.open(context, &sealed).is_none(), "{context:?}");
        }
        assert!(Sealer::random().open(CONTEXT, &sealed).is_none(), "another key");
    }

    /// A9: each byte flipped, the text truncated and extended.
    #[test]
    fn a_changed_text_does_not_open() {
        let sealer = Sealer::random();
        let sealed = sealer.seal(CONTEXT, b"canary");
        for at in 0..sealed.len() {
            for other in ['A', 'B', 'Q', '_', '=', '\u{e9}'] {
                let mut changed: Vec<char> = sealed.chars().collect();
                if changed[at] == other {
                    continue;
                }
                changed[at] = other;
                let changed: String = changed.into_iter().collect();
                assert!(sealer.open(CONTEXT, &changed).is_none(), "{at} {other}");
            }
            assert!(sealer.open(CONTEXT, &sealed[..at]).is_none(), "{at}");
        }
        for tail in ["A", "AAAA", "=", " ", "\n"] {
            assert!(sealer.open(CONTEXT, &format!("{sealed}{tail}")).is_none());
        }
    }

    #[test]
    fn keys_change_with_an_overlap() {
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let sealed = Sealer::new(std::slice::from_ref(&old)).unwrap().seal(CONTEXT, b"canary");
        assert!(Sealer::new(&[new.clone(), old]).unwrap().open(CONTEXT, &sealed).is_some());
        assert!(Sealer::new(&[new]).unwrap().open(CONTEXT, &sealed).is_none());
        assert!(Sealer::new(&[]).is_none());
    }

    #[test]
    fn keys_are_replaced_while_in_use() {
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let sealer = Sealer::new(std::slice::from_ref(&old)).unwrap();
        let sealed = sealer.seal(CONTEXT, b"canary");
        assert!(!sealer.replace_keys(&[]) && sealer.open(CONTEXT, &sealed).is_some(), "none is no change");
        assert!(sealer.replace_keys(&[new.clone(), old]) && sealer.open(CONTEXT, &sealed).is_some());
        assert!(sealer.replace_keys(&[new]) && sealer.open(CONTEXT, &sealed).is_none());
    }

    #[test]
    fn blinded_names_are_the_same_for_the_same_key_and_context_only() {
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let one = Sealer::new(std::slice::from_ref(&old)).unwrap();
        let two = Sealer::new(&[new, old]).unwrap();
        assert_eq!(one.blinded(CONTEXT).first(), two.blinded(CONTEXT).get(1));
        assert_ne!(one.blinded(&["a", "b"]), one.blinded(&["ab"]), "A27");
        assert_eq!(two.blinded(CONTEXT).len(), 2);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Sealer::random()), "Sealer { keys: 1, .. }");
    }
}

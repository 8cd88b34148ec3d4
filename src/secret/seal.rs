//! Sealing: what we hand out and get back, unread and unchanged.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Secret;

/// Seals texts with AES-256-GCM under the first of its keys, and opens what any of them sealed, so that keys can
/// change with an overlap.
///
/// The context says what a sealed text is for; it opens in the same context only. Its parts are joined with their
/// lengths, so that no two contexts are the same bytes (CVE-2023-35941, A9).
pub struct Sealer {
    keys: Vec<Key>,
}

struct Key {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

impl Sealer {
    /// A sealer with a key of its own: what it seals is opened by nobody after a restart.
    pub fn random() -> Self {
        Self { keys: vec![Key::derive(&Secret::random(32))] }
    }

    /// Seals with the first key, opens with each. `None` where there is no key, as nothing could be sealed.
    pub fn new(keys: &[Secret]) -> Option<Self> {
        (!keys.is_empty()).then(|| Self { keys: keys.iter().map(Key::derive).collect() })
    }

    /// `plain`, sealed for `context`, as base64url text.
    #[expect(clippy::expect_used, reason = "sealing fails only past 64 GiB or without randomness")]
    pub fn seal(&self, context: &[&str], plain: &[u8]) -> String {
        let key = self.keys.first().expect("there is a key by construction");
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).expect("the system's random source answers");
        let mut sealed = Zeroizing::new(plain.to_vec());
        key.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), key.aad(context), &mut *sealed)
            .expect("a cookie is shorter than 64 GiB");
        let mut out = Vec::with_capacity(NAME_LEN + NONCE_LEN + sealed.len());
        out.extend_from_slice(&key.name);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        URL_SAFE_NO_PAD.encode(out)
    }

    /// What was sealed for `context`; `None` if it was not, or not by us, or any bit of it has changed (A9).
    pub fn open(&self, context: &[&str], text: &str) -> Option<Zeroizing<Vec<u8>>> {
        // the engine refuses bits after the last byte, so one sealed text has one spelling
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (name, rest) = bytes.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        self.keys.iter().filter(|key| key.name == *name).find_map(|key| {
            let mut buffer = Zeroizing::new(sealed.to_vec());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.key.open_in_place(nonce, key.aad(context), &mut buffer).ok()?.len();
            buffer.truncate(length);
            Some(buffer)
        })
    }
}

impl Key {
    /// Whatever the secret's form, the key is 256 bits, and of no use for anything else the secret may be for.
    #[expect(clippy::expect_used, reason = "the length is the algorithm's own")]
    fn derive(secret: &Secret) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"claviger sealing 1");
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        salt.extract(secret.expose().as_bytes())
            .expand(&[b"aes-256-gcm"], Length)
            .and_then(|okm| okm.fill(&mut *bytes))
            .expect("32 bytes can be had from SHA-256");
        let unbound = UnboundKey::new(&AES_256_GCM, &*bytes).expect("the key has the algorithm's length");
        let mut name = [0; NAME_LEN];
        name.iter_mut().zip(digest(&SHA256, &*bytes).as_ref()).for_each(|(to, from)| *to = *from);
        Self { name, key: LessSafeKey::new(unbound) }
    }

    fn aad(&self, context: &[&str]) -> Aad<Vec<u8>> {
        let mut aad = self.name.to_vec();
        for part in context {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        Aad::from(aad)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.keys.len()).finish_non_exhaustive()
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
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Sealer::random()), "Sealer { keys: 1, .. }");
    }
}

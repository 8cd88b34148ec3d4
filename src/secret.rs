//! What must not print.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::fill;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

mod seal;

pub use seal::Sealer;

/// A text that only leaves through [`Secret::expose`], and is wiped when dropped.
///
/// It has no `Display`, `Deref`, `PartialEq`, `Hash` or `Serialize` on purpose: a secret is neither
/// compared in variable time, nor a cache key, nor part of an answer by accident.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the caller keeps no copy.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// A fresh random secret of `bytes` random bytes, base64url without padding.
    pub fn random(bytes: usize) -> Self {
        Self::new(random_token(bytes))
    }

    /// The text itself. Every use is a place where the secret may get out: keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in time that depends on the lengths only.
    pub fn matches(&self, other: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// `bytes` bytes of the system's randomness as base64url without padding: 16 are 128 bits in 22 characters.
#[expect(clippy::expect_used, reason = "without randomness there is nothing safe to go on with")]
pub fn random_token(bytes: usize) -> String {
    let mut buffer = Zeroizing::new(vec![0; bytes]);
    fill(&mut buffer).expect("the system's random source answers");
    URL_SAFE_NO_PAD.encode(&*buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn matches_only_the_same_text() {
        let secret = Secret::new("canary");
        assert!(secret.matches("canary"));
        assert!(!secret.matches("canar"));
        assert!(!secret.matches("canarz"));
    }

    #[test]
    fn random_secrets_differ_and_have_their_length() {
        let (one, two) = (Secret::random(32), Secret::random(32));
        assert_eq!(one.expose().len(), 43);
        assert!(!one.matches(two.expose()));
    }
}

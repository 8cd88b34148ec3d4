//! SHA-256 and HMAC-SHA-256 in lower-case hex, as SigV4 writes them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};

/// 32 bytes as 64 lower-case hex digits.
#[derive(Clone, Copy)]
pub struct HexDigest([u8; 64]);

impl HexDigest {
    /// The SHA-256 of nothing.
    pub const EMPTY: Self = Self(*b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

    /// The SHA-256 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::EMPTY;
        }
        Self::from_bytes(digest::digest(&digest::SHA256, bytes).as_ref())
    }

    /// The HMAC of `message`.
    pub(super) fn signed_with(key: &hmac::Key, message: &[u8]) -> Self {
        Self::from_bytes(hmac::sign(key, message).as_ref())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether `other` has the same digits, in constant time.
    pub fn matches(&self, other: &str) -> bool {
        verify_slices_are_equal(&self.0, other.as_bytes()).is_ok()
    }

    /// These 32 bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut digits = [b'0'; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        Self(digits)
    }
}

impl FromStr for HexDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits: [u8; 64] = text.as_bytes().try_into().map_err(|_| NotADigest)?;
        if digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) { Ok(Self(digits)) } else { Err(NotADigest) }
    }
}

impl fmt::Debug for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not 64 lower-case hex digits")]
pub struct NotADigest;

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(
            HexDigest::from_bytes(digest::digest(&digest::SHA256, b"").as_ref()).as_str(),
            HexDigest::EMPTY.as_str()
        );
    }

    #[test]
    fn only_lower_case_hex_of_full_length_is_a_digest() {
        assert!(HexDigest::EMPTY.as_str().parse::<HexDigest>().is_ok());
        assert!(HexDigest::EMPTY.as_str().to_uppercase().parse::<HexDigest>().is_err());
        assert!("e3b0".parse::<HexDigest>().is_err());
        assert!("g".repeat(64).parse::<HexDigest>().is_err());
    }

    #[test]
    fn a_digest_matches_only_itself() {
        let digest = HexDigest::of(b"x");
        assert!(digest.matches(digest.as_str()));
        assert!(!digest.matches(HexDigest::EMPTY.as_str()));
        assert!(!digest.matches(""));
    }
}

//! SigV4a: signatures by an ECDSA key that the secret makes, good in a set of regions (S3 Multi-Region Access Points,
//! EventBridge global endpoints).
//!
//! The key is derived by a KDF in counter mode (NIST SP 800-108) over HMAC-SHA-256 until it is a scalar of P-256. Its
//! signatures differ each time, and all are right.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Where a signature counts: names of regions, or patterns such as `us-west-*`, or `*`.
#[derive(Clone, Debug)]
pub struct RegionSet(HeaderValue);

/// The text is no set of regions.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected names of regions such as eu-west-1, in which * stands for anything")]
pub struct RegionSetError;

impl FromStr for RegionSet {
    type Err = RegionSetError;

    fn from_str(text: &str) -> Result<Self, RegionSetError> {
        let is_region = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-*".contains(&b))
        };
        match HeaderValue::from_str(text) {
            Ok(value) if text.split(',').all(is_region) => Ok(Self(value)),
            _ => Err(RegionSetError),
        }
    }
}

impl RegionSet {
    /// As the header has it.
    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// The key pairs of one signer, by access key id: one costs as much as some signatures.
#[derive(Default)]
pub(super) struct PairCache(Mutex<HashMap<Box<str>, Remembered>>);

/// The secret stays beside the pair that it made, as an access key id may come with another.
type Remembered = (Secret, Arc<EcdsaKeyPair>);

impl PairCache {
    /// The signature in hex digits; none where no key can be made.
    pub(super) fn sign(&self, access_key_id: &str, secret: &Secret, string_to_sign: &str) -> Option<String> {
        let pair = self.pair(access_key_id, secret)?;
        let signature = pair.sign(&SystemRandom::new(), string_to_sign.as_bytes()).ok()?;
        Some(signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn pair(&self, access_key_id: &str, secret: &Secret) -> Option<Arc<EcdsaKeyPair>> {
        let pairs = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pair)) = pairs().get(access_key_id).filter(|(known, _)| known.matches(secret.expose())) {
            return Some(Arc::clone(pair));
        }
        // derived outside of the lock: two threads may both do it, and either result is the same key
        let pair = Arc::new(derive(access_key_id, secret)?);
        let mut pairs = pairs();
        if pairs.len() >= PAIRS {
            pairs.clear(); // keys rotate every hour or so
        }
        pairs.insert(access_key_id.into(), (secret.clone(), Arc::clone(&pair)));
        Some(pair)
    }
}

impl fmt::Debug for PairCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairCache").finish_non_exhaustive()
    }
}

/// Whether the signature, in hex digits, is one of `string_to_sign` by this key.
pub fn check_v4a(access_key_id: &str, secret: &Secret, string_to_sign: &str, signature: &str) -> bool {
    let Some(pair) = derive(access_key_id, secret) else { return false };
    let Some(signature) = from_hex(signature) else { return false };
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key().as_ref());
    string_to_sign.starts_with(ALGORITHM_V4A) && public.verify(string_to_sign.as_bytes(), &signature).is_ok()
}

/// The key pair of an access key; none where 254 candidates are too large, of which one in 2^32 is.
pub(super) fn derive(access_key_id: &str, secret: &Secret) -> Option<EcdsaKeyPair> {
    let input = Zeroizing::new(format!("AWS4A{}", secret.expose()));
    let key = hmac::Key::new(HMAC_SHA256, input.as_bytes());
    let scalar = (1..=254_u8).find_map(|counter| {
        let mut context = hmac::Context::with_key(&key);
        context.update(&1_u32.to_be_bytes());
        context.update(ALGORITHM_V4A.as_bytes());
        context.update(&[0]);
        context.update(access_key_id.as_bytes());
        context.update(&[counter]);
        context.update(&256_u32.to_be_bytes());
        let tag = Zeroizing::new(<[u8; 32]>::try_from(context.sign().as_ref()).ok()?);
        scalar(&tag)
    })?;
    let private = agreement::PrivateKey::from_private_key(&ECDH_P256, &*scalar).ok()?;
    let public = private.compute_public_key().ok()?;
    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_ASN1_SIGNING, &*scalar, public.as_ref()).ok()
}

/// One more than the candidate, where that is not above the order less two. In constant time.
fn scalar(candidate: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let mut borrow = 0;
    for (most, byte) in ORDER_LESS_TWO.iter().zip(candidate).rev() {
        let difference = i16::from(*most) - i16::from(*byte) - borrow;
        borrow = (difference >> 8) & 1;
    }
    let mut scalar = Zeroizing::new(*candidate);
    let mut carry = 1;
    for byte in scalar.iter_mut().rev() {
        let sum = u16::from(*byte) + carry;
        (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
    }
    (borrow == 0).then_some(scalar)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

/// The algorithm of SigV4a.
pub const ALGORITHM_V4A: &str = "AWS4-ECDSA-P256-SHA256";
const PAIRS: usize = 1024;
/// FIPS 186-5, P-256.
const ORDER_LESS_TWO: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x4f,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_one_more_and_below_the_order() {
        let mut last = [0; 32];
        assert_eq!(scalar(&last).unwrap()[31], 1);
        last[31] = 0xff;
        assert_eq!(scalar(&last).unwrap()[30..], [1, 0]);
        let mut most = ORDER_LESS_TWO;
        assert!(scalar(&most).is_some());
        most[31] += 1;
        assert!(scalar(&most).is_none() && scalar(&[0xff; 32]).is_none());
    }

    #[test]
    fn sets_of_regions_are_names_and_patterns() {
        for good in ["eu-west-1", "*", "us-east-1,us-west-*"] {
            assert!(good.parse::<RegionSet>().is_ok(), "{good}");
        }
        for bad in ["", "eu-west-1,", "EU", "a b", "a\r\nb", "eu-west-1;x"] {
            assert!(bad.parse::<RegionSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_signature_counts_for_its_key_and_text_alone() {
        let (cache, secret, text) = (PairCache::default(), Secret::new("secret"), "AWS4-ECDSA-P256-SHA256\nx");
        let signature = cache.sign("AKID", &secret, text).unwrap();
        assert!(check_v4a("AKID", &secret, text, &signature));
        assert!(!check_v4a("AKIE", &secret, text, &signature));
        assert!(!check_v4a("AKID", &Secret::new("other"), text, &signature));
        assert!(!check_v4a("AKID", &secret, "AWS4-ECDSA-P256-SHA256\ny", &signature));
        assert!(!check_v4a("AKID", &secret, text, &signature.to_uppercase()));
        assert!(!check_v4a("AKID", &secret, text, &signature[1..]));
    }
}

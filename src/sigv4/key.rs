//! Derived signing keys, and a bounded place to keep them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The key that signs for one secret on one day in one region for one service. Its context is wiped when dropped.
#[expect(clippy::expect_used, reason = "the buffer has the length of the tag")]
pub(super) fn derive(secret: &Secret, date: &str, region: &str, service: &str) -> hmac::Key {
    let mut key = Zeroizing::new(Vec::with_capacity(4 + secret.expose().len()));
    key.extend_from_slice(b"AWS4");
    key.extend_from_slice(secret.expose().as_bytes());
    for message in [date, region, service, "aws4_request"] {
        let mut next = Zeroizing::new(vec![0; 32]);
        hmac::sign_to_buffer(&hmac::Key::new(HMAC_SHA256, &key), message.as_bytes(), &mut next)
            .expect("HMAC-SHA-256 fits into 32 bytes");
        key = next;
    }
    hmac::Key::new(HMAC_SHA256, &key)
}

/// The derived keys of one region and service, by access key id. Yesterday's go when today's first is asked for.
#[derive(Default)]
pub(super) struct KeyCache([Mutex<Shard>; SHARDS]);

impl KeyCache {
    /// The key, derived or remembered.
    pub(super) fn key(
        &self,
        access_key_id: &str,
        secret: &Secret,
        date: &str,
        region: &str,
        service: &str,
    ) -> Arc<hmac::Key> {
        let spread = access_key_id.bytes().fold(0_usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        let Some(shard) = self.0.get(spread % SHARDS) else { return Arc::new(derive(secret, date, region, service)) };
        if let Some(key) = shard.lock().unwrap_or_else(PoisonError::into_inner).remembered(access_key_id, secret, date)
        {
            return key;
        }
        // Derived outside of the lock: two threads may both do it, and either result is the same key.
        let key = Arc::new(derive(secret, date, region, service));
        shard.lock().unwrap_or_else(PoisonError::into_inner).remember(access_key_id, secret, date, &key);
        key
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shard {
    date: String,
    keys: HashMap<Box<str>, Remembered>,
}

/// The secret stays beside the key it made: an access key id alone would sign with another secret's key, should a
/// service ever use the id again.
struct Remembered {
    secret: Secret,
    key: Arc<hmac::Key>,
}

impl Shard {
    fn remembered(&self, access_key_id: &str, secret: &Secret, date: &str) -> Option<Arc<hmac::Key>> {
        if self.date != date {
            return None;
        }
        let entry = self.keys.get(access_key_id)?;
        entry.secret.matches(secret.expose()).then(|| Arc::clone(&entry.key))
    }

    fn remember(&mut self, access_key_id: &str, secret: &Secret, date: &str, key: &Arc<hmac::Key>) {
        if self.date != date {
            self.keys.clear();
            date.clone_into(&mut self.date);
        }
        if self.keys.len() >= KEYS_PER_SHARD && !self.keys.contains_key(access_key_id) {
            // Any will do: keys rotate every hour or so and deriving one again takes 2 µs.
            if let Some(any) = self.keys.keys().next().cloned() {
                self.keys.remove(&any);
            }
        }
        let entry = Remembered { secret: secret.clone(), key: Arc::clone(key) };
        self.keys.insert(access_key_id.into(), entry);
    }
}

const SHARDS: usize = 16;
const KEYS_PER_SHARD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &hmac::Key) -> Vec<u8> {
        hmac::sign(key, b"message").as_ref().to_vec()
    }

    fn held(cache: &KeyCache) -> usize {
        cache.0.iter().map(|shard| shard.lock().unwrap().keys.len()).sum()
    }

    #[test]
    fn a_remembered_key_is_the_derived_one() {
        let (cache, secret) = (KeyCache::default(), Secret::new("secret"));
        let key = || cache.key("AKID", &secret, "20260101", "eu-west-1", "s3");
        let first = key();
        assert!(Arc::ptr_eq(&first, &key()));
        assert_eq!(tag(&first), tag(&derive(&secret, "20260101", "eu-west-1", "s3")));
    }

    #[test]
    fn another_secret_or_day_is_another_key() {
        let cache = KeyCache::default();
        let key = |secret: &str, date| tag(&cache.key("AKID", &Secret::new(secret), date, "eu-west-1", "s3"));
        let first = key("one", "20260101");
        assert_ne!(first, key("two", "20260101"));
        assert_ne!(first, key("one", "20260102"));
        assert_eq!(first, key("one", "20260101"));
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_yesterday() {
        let (cache, secret) = (KeyCache::default(), Secret::new("secret"));
        for n in 0..6000 {
            cache.key(&format!("AKID{n}"), &secret, "20260101", "eu-west-1", "s3");
        }
        assert!(held(&cache) <= SHARDS * KEYS_PER_SHARD);
        for n in 0..64 {
            cache.key(&format!("AKID{n}"), &secret, "20260102", "eu-west-1", "s3");
        }
        assert_eq!(held(&cache), 64);
    }
}

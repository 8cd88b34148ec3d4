//! Identities behind credentials that callers show with every request, for as long as they need not be verified anew.

use std::collections::HashMap;
use std::sync::MutexGuard;
use std::time::{Duration, SystemTime};

use super::Identity;
use super::shards::Shards;

/// The SHA-256 of a credential.
pub(super) type Hash = [u8; 32];

/// What was verified of late, by the credential's hash.
///
/// Freshness is judged by the caller's clock at every hit. What is kept is bounded: only what was verified gets in, and
/// where there is too much, what is stale goes first.
#[derive(Debug, Default)]
pub(super) struct Seen(Shards<Shard>);

#[derive(Default)]
struct Shard {
    kept: HashMap<Hash, Kept>,
    /// When what was stale was last thrown out, so that tokens don't lie in memory for ever.
    swept: Option<SystemTime>,
}

struct Kept {
    identity: Identity,
    verified: SystemTime,
}

impl Seen {
    /// The identity, if it was verified less than [`LIFE`] ago and has not ended.
    pub(super) fn fresh(&self, hash: &Hash, now: SystemTime) -> Option<Identity> {
        let shard = self.shard(hash);
        shard.kept.get(hash).filter(|kept| kept.is_fresh(now)).map(|kept| kept.identity.clone())
    }

    /// The credential has been verified at `now`. What was kept of it stays the same one, so that what others have
    /// derived from it stays good.
    pub(super) fn keep(&self, hash: Hash, now: SystemTime, identity: impl FnOnce() -> Identity) -> Identity {
        let mut shard = self.shard(&hash);
        if shard.kept.len() >= PER_SHARD || !shard.swept.is_some_and(|swept| is_within(swept, now, LIFE)) {
            shard.kept.retain(|kept, one| *kept == hash || one.is_fresh(now));
            shard.swept = Some(now);
        }
        if shard.kept.len() >= PER_SHARD {
            shard.kept.clear(); // rarer and cheaper than to keep account of who came last
        }
        let kept = shard.kept.entry(hash).or_insert_with(|| Kept { identity: identity(), verified: now });
        kept.verified = now;
        kept.identity.clone()
    }

    fn shard(&self, hash: &Hash) -> MutexGuard<'_, Shard> {
        let [number, ..] = hash;
        self.0.of((*number).into())
    }
}

impl Kept {
    fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.identity.ends_at && is_within(self.verified, now, LIFE)
    }
}

/// A clock that was set back makes anything old at once.
fn is_within(since: SystemTime, now: SystemTime, life: Duration) -> bool {
    now.duration_since(since).is_ok_and(|age| age < life)
}

/// So long a key that its issuer has withdrawn may still count.
pub(super) const LIFE: Duration = Duration::from_secs(60);
/// At some 2 KiB each, 32 MiB at the most for tokens of the usual size.
const PER_SHARD: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::from_epoch_seconds as at;
    use crate::identity::{Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Subject};

    #[derive(Debug)]
    struct NoEvidence;

    #[async_trait]
    impl EvidenceSource for NoEvidence {
        async fn evidence(&self, _: Duration) -> Result<Evidence, EvidenceError> {
            Err(EvidenceError::Expired)
        }
    }

    fn until(ends: u64) -> Identity {
        Identity {
            subject: Arc::new(Subject { source: "services".into(), id: "batch".into() }),
            claims: Claims::default(),
            ends_at: at(ends),
            holder: Holder { id: HolderId::random(), ends: at(ends), evidence: Arc::new(NoEvidence) },
        }
    }

    #[test]
    fn freshness_is_judged_by_our_clock_at_every_hit() {
        let seen = Seen::default();
        seen.keep([1; 32], at(1_000), || until(5_000));
        seen.keep([2; 32], at(1_000), || until(1_030));
        for (hash, now, fresh) in [
            ([1; 32], 1_000, true),
            ([1; 32], 1_059, true),
            ([1; 32], 1_060, false),
            ([1; 32], 999, false), // the clock was set back
            ([2; 32], 1_029, true),
            ([2; 32], 1_030, false),
            ([3; 32], 1_000, false),
        ] {
            assert_eq!(seen.fresh(&hash, at(now)).is_some(), fresh, "{hash:?} at {now}");
        }
    }

    #[test]
    fn verified_anew_it_is_the_same_one() {
        let seen = Seen::default();
        let first = seen.keep([1; 32], at(1_000), || until(5_000));
        let again = seen.keep([1; 32], at(1_061), || until(5_000));
        assert_eq!(first.holder.id, again.holder.id);
        assert!(Arc::ptr_eq(&first.subject, &again.subject));
        assert!(seen.fresh(&[1; 32], at(1_120)).is_some());
    }

    #[test]
    fn it_is_bounded_and_throws_out_what_is_stale() {
        let seen = Seen::default();
        let hash = |n: usize| {
            let mut hash = [0; 32];
            hash[8..16].copy_from_slice(&n.to_be_bytes());
            hash
        };
        for n in 0..PER_SHARD + 10 {
            seen.keep(hash(n), at(1_000), || until(5_000));
        }
        let kept = || seen.shard(&hash(0)).kept.len();
        assert!(kept() <= PER_SHARD);
        assert!(seen.fresh(&hash(PER_SHARD + 9), at(1_000)).is_some(), "the last to come is there");
        seen.keep(hash(0), at(1_061), || until(5_000));
        assert_eq!(kept(), 1);
    }
}

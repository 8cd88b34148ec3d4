//! What is made of a person's claims, kept for as long as the claims stay the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, MutexGuard, Weak};

use serde_json::{Map, Value};

use super::shards::Shards;
use super::unhashed::Unhashed;
use super::{HolderId, Identity, Subject};

/// Values filled from claims, by holder: a session's claims change with a renewal every few minutes, and its requests
/// come by the hundred.
///
/// A value is found only for the very claims and subject it was made of (A27). Values are dropped for others when
/// there are too many, those of ended sessions first; until then no claims are kept alive by it.
pub struct Derived<T>(Shards<Values<T>>);

type Values<T> = HashMap<HolderId, One<T>, Unhashed>;

struct One<T> {
    /// Weak holds the place in memory, so that no other claims can be mistaken for these, but not what is in it.
    claims: Weak<Map<String, Value>>,
    subject: Arc<Subject>,
    value: T,
}

impl<T: Clone> Derived<T> {
    /// The value for this identity: the one kept, or what `make` makes.
    ///
    /// # Errors
    /// What `make` fails with; failures are not kept.
    pub fn of<E>(&self, identity: &Identity, make: impl FnOnce(&Identity) -> Result<T, E>) -> Result<T, E> {
        self.while_good(identity, |_| true, make)
    }

    /// The same for values that end by themselves: one that is kept is taken only where `is_good` says so.
    ///
    /// # Errors
    /// What `make` fails with; failures are not kept.
    pub fn while_good<E>(
        &self,
        identity: &Identity,
        is_good: impl FnOnce(&T) -> bool,
        make: impl FnOnce(&Identity) -> Result<T, E>,
    ) -> Result<T, E> {
        let kept = self.shard(identity).get(&identity.holder.id).and_then(|one| one.fitting(identity));
        if let Some(value) = kept.filter(is_good) {
            return Ok(value);
        }
        let value = make(identity)?;
        let claims = Arc::downgrade(&identity.claims.0);
        let one = One { claims, subject: Arc::clone(&identity.subject), value: value.clone() };
        let mut shard = self.shard(identity);
        if shard.len() >= PER_SHARD {
            shard.retain(|_, one| one.claims.strong_count() > 0);
        }
        if shard.len() >= PER_SHARD {
            shard.clear(); // rarer and cheaper than to keep account of who came last
        }
        shard.insert(identity.holder.id, one);
        Ok(value)
    }

    fn shard(&self, identity: &Identity) -> MutexGuard<'_, Values<T>> {
        self.0.of(identity.holder.id.0 as usize)
    }
}

impl<T: Clone> One<T> {
    fn fitting(&self, identity: &Identity) -> Option<T> {
        let same_claims = std::ptr::eq(self.claims.as_ptr(), Arc::as_ptr(&identity.claims.0));
        (same_claims && self.subject == identity.subject).then(|| self.value.clone())
    }
}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self(Shards::default())
    }
}

impl<T> fmt::Debug for Derived<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}

const PER_SHARD: usize = 4096;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::{Duration, SystemTime};

    use async_trait::async_trait;
    use serde_json::json;

    use super::super::shards::SHARDS;
    use super::*;
    use crate::identity::{Claims, Evidence, EvidenceError, EvidenceSource, Holder};

    #[derive(Debug)]
    struct NoEvidence;

    #[async_trait]
    impl EvidenceSource for NoEvidence {
        async fn evidence(&self, _: Duration) -> Result<Evidence, EvidenceError> {
            Err(EvidenceError::Expired)
        }
    }

    fn someone(id: &str) -> Identity {
        let ends = SystemTime::UNIX_EPOCH;
        Identity {
            subject: Arc::new(Subject { source: "corp".into(), id: id.into() }),
            claims: claims(id),
            ends_at: ends,
            holder: Holder { id: HolderId::random(), ends, evidence: Arc::new(NoEvidence) },
        }
    }

    fn claims(name: &str) -> Claims {
        Claims::new(json!({ "name": name }).as_object().cloned().unwrap())
    }

    fn name(derived: &Derived<Option<String>>, identity: &Identity, made: &mut u32) -> Option<String> {
        let make = |identity: &Identity| {
            *made += 1;
            Ok::<_, Infallible>(identity.claims.text("name"))
        };
        derived.of(identity, make).unwrap()
    }

    #[test]
    fn a_value_is_made_once_for_the_same_claims() {
        let (derived, alice, mut made) = (Derived::default(), someone("alice"), 0);
        for _ in 0..3 {
            assert_eq!(name(&derived, &alice.clone(), &mut made).as_deref(), Some("alice"));
        }
        assert_eq!(made, 1);
    }

    /// A27
    #[test]
    fn another_ones_value_is_never_found() {
        let (derived, alice, mut made) = (Derived::default(), someone("alice"), 0);
        name(&derived, &alice, &mut made);
        // renewed claims; another subject by the same holder; another holder with the same claims
        let renewed = Identity { claims: claims("alice2"), ..alice.clone() };
        assert_eq!(name(&derived, &renewed, &mut made).as_deref(), Some("alice2"));
        let subject = Arc::new(Subject { source: "partner".into(), id: "alice".into() });
        name(&derived, &Identity { subject, ..renewed.clone() }, &mut made);
        name(&derived, &Identity { holder: someone("bob").holder, ..renewed }, &mut made);
        assert_eq!(made, 4);
    }

    #[test]
    fn it_is_bounded_and_keeps_no_claims_alive() {
        let (derived, mut made) = (Derived::default(), 0);
        let alice = someone("alice");
        name(&derived, &alice, &mut made);
        let claims = Arc::downgrade(&alice.claims.0);
        drop(alice);
        assert_eq!(claims.strong_count(), 0);

        let crowd: Vec<Identity> = (0..SHARDS * PER_SHARD + 100).map(|n| someone(&n.to_string())).collect();
        for one in &crowd {
            name(&derived, one, &mut made);
        }
        assert!((0..SHARDS).all(|number| derived.0.of(number).len() <= PER_SHARD));
        // the last to come is there
        let before = made;
        name(&derived, &crowd[crowd.len() - 1], &mut made);
        assert_eq!(made, before);
    }
}

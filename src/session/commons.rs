//! What all instances have in common beside the sessions: notes that end by themselves, and claims that one of them has.
//!
//! A login may begin on one instance, come back to another and enter by a third; what may happen once must happen once
//! among them all. Where there is one instance only, all of this is in its memory.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::StoreError;
use super::keeper::lock;
use crate::clock::Clock;

/// Notes and claims, by names that say nothing: whoever keeps them can read the names, but not the notes.
#[async_trait]
pub trait Commons: Debug + Send + Sync {
    /// Whether there are other instances.
    fn is_shared(&self) -> bool;
    /// Whether nobody has claimed `name`, who now does, for so long.
    async fn claim(&self, name: &str, life: Duration) -> Result<bool, StoreError>;
    /// Gives back a claim of this instance.
    async fn release(&self, name: &str) -> Result<(), StoreError>;
    /// Leaves a note for so long.
    async fn put(&self, name: &str, note: &[u8], life: Duration) -> Result<(), StoreError>;
    /// Reads a note, which stays.
    async fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    /// Takes a note away: whoever comes second finds none.
    async fn take(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    /// A name that says nothing of `what`, and that nobody can guess who knows it.
    fn blind(&self, what: &[&str]) -> String;
}

/// One instance's own.
pub(super) struct Alone {
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<String, Note>>,
}

/// A text, until its end.
type Note = (SystemTime, Zeroizing<Vec<u8>>);

impl Alone {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    /// Enters a note unless there is one and `only_first`; says whether it did.
    fn enter(&self, name: &str, note: &[u8], life: Duration, only_first: bool) -> bool {
        let now = self.clock.now();
        let mut kept = lock(&self.kept);
        if only_first && kept.get(name).is_some_and(|(ends, _)| now < *ends) {
            return false;
        }
        if kept.len() >= MOST {
            kept.retain(|_, (ends, _)| now < *ends);
        }
        // only who has been at a provider gets here; past the bound the one that ends first goes
        if kept.len() >= MOST
            && let Some(oldest) = kept.iter().min_by_key(|(_, (ends, _))| *ends).map(|(name, _)| name.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(name.to_owned(), (now + life, Zeroizing::new(note.to_vec())));
        true
    }
}

#[async_trait]
impl Commons for Alone {
    fn is_shared(&self) -> bool {
        false
    }

    async fn claim(&self, name: &str, life: Duration) -> Result<bool, StoreError> {
        Ok(self.enter(name, &[], life, true))
    }

    async fn release(&self, name: &str) -> Result<(), StoreError> {
        lock(&self.kept).remove(name);
        Ok(())
    }

    async fn put(&self, name: &str, note: &[u8], life: Duration) -> Result<(), StoreError> {
        self.enter(name, note, life, false);
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let now = self.clock.now();
        Ok(lock(&self.kept).get(name).filter(|(ends, _)| now < *ends).map(|(_, note)| note.clone()))
    }

    async fn take(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let now = self.clock.now();
        Ok(lock(&self.kept).remove(name).filter(|(ends, _)| now < *ends).map(|(_, note)| note))
    }

    fn blind(&self, what: &[&str]) -> String {
        format!("{what:?}") // it stays here
    }
}

impl Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alone").finish_non_exhaustive()
    }
}

/// Some 10 MiB.
const MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const LIFE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_name_is_claimed_once_until_its_end() {
        let clock = Arc::new(ManualClock::at(0));
        let alone = Alone::new(Arc::clone(&clock) as _);
        assert!(alone.claim("a", LIFE).await.unwrap());
        assert!(!alone.claim("a", LIFE).await.unwrap());
        assert!(alone.claim("b", LIFE).await.unwrap());
        alone.release("b").await.unwrap();
        assert!(alone.claim("b", LIFE).await.unwrap());
        clock.advance(LIFE);
        assert!(alone.claim("a", LIFE).await.unwrap(), "nobody would take it by now");
    }

    #[tokio::test]
    async fn a_note_is_taken_once_and_in_time() {
        let clock = Arc::new(ManualClock::at(0));
        let alone = Alone::new(Arc::clone(&clock) as _);
        alone.put("a", b"note", LIFE).await.unwrap();
        assert_eq!(alone.read("a").await.unwrap().unwrap().as_slice(), b"note");
        assert_eq!(alone.take("a").await.unwrap().unwrap().as_slice(), b"note");
        assert!(alone.take("a").await.unwrap().is_none());
        alone.put("a", b"note", LIFE).await.unwrap();
        clock.advance(LIFE);
        assert!(alone.read("a").await.unwrap().is_none() && alone.take("a").await.unwrap().is_none());
    }
}

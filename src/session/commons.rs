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
    /// The same for what must not count twice whatever happens meanwhile: no flood of other claims pushes it out, and
    /// where there is no room it is not had at all (A17).
    async fn spend(&self, name: &str, life: Duration) -> Result<bool, StoreError> {
        self.claim(name, life).await
    }
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
    kept: Mutex<Kept>,
    spent: Mutex<HashMap<String, SystemTime>>,
    /// For so many bytes of notes.
    room: usize,
}

#[derive(Default)]
struct Kept {
    notes: HashMap<String, Note>,
    /// Of all notes together: some hold a whole login.
    bytes: usize,
    swept: Option<SystemTime>,
}

/// A text, until its end.
type Note = (SystemTime, Zeroizing<Vec<u8>>);

impl Alone {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Mutex::default(), spent: Mutex::default(), room: MOST_BYTES }
    }

    /// Enters a note unless there is one and `only_first`; says whether it did.
    fn enter(&self, name: &str, note: &[u8], life: Duration, only_first: bool) -> bool {
        let now = self.clock.now();
        let mut kept = lock(&self.kept);
        if only_first && kept.notes.get(name).is_some_and(|(ends, _)| now < *ends) {
            return false;
        }
        kept.remove(name);
        kept.make_room(note.len(), self.room, now);
        kept.bytes += note.len();
        kept.notes.insert(name.to_owned(), (now + life, Zeroizing::new(note.to_vec())));
        true
    }
}

impl Kept {
    fn remove(&mut self, name: &str) -> Option<Note> {
        let note = self.notes.remove(name)?;
        self.bytes -= note.1.len();
        Some(note)
    }

    /// Makes room for so many bytes more: what has ended goes, and past the bounds what ends first. Only who has been at a
    /// provider gets here.
    fn make_room(&mut self, bytes: usize, room: usize, now: SystemTime) {
        let is_full = |kept: &Self| kept.notes.len() >= MOST || kept.bytes + bytes > room;
        // what nobody comes for must not lie here until there is too much
        let is_swept = self.swept.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age < SWEEP));
        if !is_swept || is_full(self) {
            self.notes.retain(|_, (ends, _)| now < *ends);
            self.bytes = self.notes.values().map(|(_, note)| note.len()).sum();
            self.swept = Some(now);
        }
        while is_full(self)
            && let Some(oldest) = self.notes.iter().min_by_key(|(_, (ends, _))| *ends).map(|(name, _)| name.clone())
        {
            self.remove(&oldest);
        }
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

    async fn spend(&self, name: &str, life: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut spent = lock(&self.spent);
        if spent.get(name).is_some_and(|ends| now < *ends) {
            return Ok(false);
        }
        if spent.len() >= MOST {
            spent.retain(|_, ends| now < *ends);
        }
        if spent.len() >= MOST {
            return Err(StoreError("no more can be remembered to have been used".into()));
        }
        spent.insert(name.to_owned(), now + life);
        Ok(true)
    }

    async fn release(&self, name: &str) -> Result<(), StoreError> {
        lock(&self.kept).remove(name);
        lock(&self.spent).remove(name);
        Ok(())
    }

    async fn put(&self, name: &str, note: &[u8], life: Duration) -> Result<(), StoreError> {
        self.enter(name, note, life, false);
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let now = self.clock.now();
        Ok(lock(&self.kept).notes.get(name).filter(|(ends, _)| now < *ends).map(|(_, note)| note.clone()))
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

/// Some 10 MiB of names.
const MOST: usize = 50_000;
/// A login with hundreds of groups, on its way through the browser, has some 200 KiB.
const MOST_BYTES: usize = 64 << 20;
/// What has ended lies here for so much longer at the most, while anything comes.
const SWEEP: Duration = Duration::from_secs(30);

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
    /// A17: whoever floods a place with logins under way makes no assertion count again.
    #[tokio::test]
    async fn what_was_spent_is_forgotten_for_nothing_but_its_end() {
        let clock = Arc::new(ManualClock::at(0));
        let alone = Alone::new(Arc::clone(&clock) as _);
        assert!(alone.spend("assertion", LIFE).await.unwrap());
        for number in 0..=MOST {
            assert!(alone.claim(&number.to_string(), 2 * LIFE).await.unwrap());
        }
        assert!(!alone.spend("assertion", LIFE).await.unwrap());
        for number in 1..MOST {
            assert!(alone.spend(&number.to_string(), LIFE).await.unwrap());
        }
        assert!(alone.spend("one too many", LIFE).await.is_err(), "what can't be remembered does not count");
        assert!(!alone.spend("assertion", LIFE).await.unwrap());
        clock.advance(LIFE);
        assert!(alone.spend("assertion", LIFE).await.unwrap());
    }

    #[tokio::test]
    async fn notes_take_so_much_room_and_no_more() {
        let clock = Arc::new(ManualClock::at(0));
        let large = [0; 100];
        let alone = Alone { room: 4 * large.len(), ..Alone::new(Arc::clone(&clock) as _) };
        for name in ["a", "b", "c", "d", "e"] {
            alone.put(name, &large, LIFE).await.unwrap();
            clock.advance(Duration::from_secs(1));
        }
        assert!(alone.read("a").await.unwrap().is_none(), "it would have ended first");
        assert!(alone.read("b").await.unwrap().is_some() && alone.read("e").await.unwrap().is_some());
        clock.advance(SWEEP);
        alone.put("f", b"note", LIFE).await.unwrap();
        let kept = lock(&alone.kept);
        assert_eq!((kept.notes.len(), kept.bytes), (1, 4), "nobody came for the others");
    }
}

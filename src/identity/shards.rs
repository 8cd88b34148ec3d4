//! What all workers look into, in parts that they seldom want at the same time.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts, each under a lock of its own.
pub(super) struct Shards<T>([Mutex<T>; SHARDS]);

impl<T> Shards<T> {
    /// The part for a number that is any other's as likely.
    pub(super) fn of(&self, number: usize) -> MutexGuard<'_, T> {
        let [first, ..] = &self.0;
        self.0.get(number % SHARDS).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl<T> fmt::Debug for Shards<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").finish_non_exhaustive()
    }
}

pub(super) const SHARDS: usize = 16;

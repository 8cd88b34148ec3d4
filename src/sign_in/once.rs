//! What may happen once: a state that comes back, a code that is shown.

use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Names that were used, until nobody would take them anyway.
#[derive(Default)]
pub(super) struct Once(Mutex<Used>);

#[derive(Default)]
struct Used {
    names: HashSet<[u8; 32]>,
    /// In the order they came, which is the order they end, as all live equally long.
    ends: VecDeque<(SystemTime, [u8; 32])>,
}

impl Once {
    /// Whether `name` is used for the first time. It is remembered until `end`.
    pub(super) fn first(&self, name: [u8; 32], end: SystemTime, now: SystemTime) -> bool {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((ends, oldest)) = used.ends.front().copied()
            && (ends <= now || used.ends.len() >= MOST)
        {
            used.ends.pop_front();
            used.names.remove(&oldest);
        }
        let first = used.names.insert(name);
        if first {
            used.ends.push_back((end, name));
        }
        first
    }

    /// Lets `name` be used again.
    pub(super) fn again(&self, name: &[u8; 32]) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.names.remove(name);
        used.ends.retain(|(_, one)| one != name);
    }
}

impl Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

/// 5 MiB at most. Past that the oldest is forgotten; a provider takes no code twice either.
const MOST: usize = 50_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_is_first_once_until_its_end() {
        let (once, now) = (Once::default(), SystemTime::UNIX_EPOCH);
        let end = now + Duration::from_secs(10);
        assert!(once.first([1; 32], end, now));
        assert!(!once.first([1; 32], end, now));
        assert!(once.first([2; 32], end, now));
        once.again(&[2; 32]);
        assert!(once.first([2; 32], end, now));
        assert!(once.first([1; 32], end + Duration::from_secs(10), end), "nobody would take it by now");
    }
}

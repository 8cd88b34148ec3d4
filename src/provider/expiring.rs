//! A bounded map whose entries end.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::SystemTime;

/// Entries by key, each with its end. Where it is full, the entry that ends soonest makes room.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    entries: HashMap<K, (SystemTime, V)>,
    ends: BTreeSet<(SystemTime, K)>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash + Ord, V> Expiring<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), ends: BTreeSet::new(), capacity }
    }

    /// Adds an entry that is there until `ends`.
    pub(super) fn insert(&mut self, key: K, ends: SystemTime, value: V, now: SystemTime) {
        while let Some((end, oldest)) = self.ends.first().cloned()
            && (end <= now || self.entries.len() >= self.capacity)
        {
            self.remove(&oldest);
        }
        self.remove(&key);
        self.ends.insert((ends, key.clone()));
        self.entries.insert(key, (ends, value));
    }

    /// The entry, unless it has ended.
    pub(super) fn find<Q>(&mut self, key: &Q, now: SystemTime) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.get_mut(key).filter(|(ends, _)| now < *ends).map(|(_, value)| value)
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let (key, (ends, value)) = self.entries.remove_entry(key)?;
        self.ends.remove(&(ends, key));
        Some(value)
    }

    /// The entries that have not ended.
    #[cfg(feature = "saml")]
    pub(super) fn values(&self, now: SystemTime) -> impl Iterator<Item = &V> {
        self.entries.values().filter(move |(ends, _)| now < *ends).map(|(_, value)| value)
    }

    /// Removes the entries that `gone` is true of.
    pub(super) fn remove_where(&mut self, gone: impl Fn(&V) -> bool) {
        let keys: Vec<K> =
            self.entries.iter().filter(|(_, (_, value))| gone(value)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_epoch_seconds as at;

    #[test]
    fn entries_end_and_the_soonest_to_end_make_room() {
        let mut map = Expiring::new(2);
        map.insert("a", at(10), 1, at(0));
        map.insert("b", at(20), 2, at(0));
        assert_eq!(map.find("a", at(9)), Some(&mut 1));
        assert_eq!(map.find("a", at(10)), None);
        map.insert("c", at(30), 3, at(0));
        assert_eq!(map.find("a", at(0)), None);
        assert_eq!(map.find("b", at(0)), Some(&mut 2));
        map.insert("b", at(40), 4, at(0));
        assert_eq!((map.entries.len(), map.ends.len()), (2, 2));
        map.insert("d", at(50), 5, at(35));
        assert_eq!(map.find("c", at(0)), None);
        assert_eq!(map.find("b", at(0)), Some(&mut 4));
        map.remove_where(|value| *value == 4);
        assert_eq!((map.entries.len(), map.ends.len()), (1, 1));
    }
}

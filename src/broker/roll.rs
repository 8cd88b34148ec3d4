//! Which holder holds what, and which have ended.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::entry::Entry;
use crate::identity::HolderId;

/// The holders. Whoever has the roll may lock an entry, never the other way round.
#[derive(Debug, Default)]
pub(super) struct Roll {
    holders: HashMap<HolderId, Vec<Weak<Entry>>>,
    /// Holders that were released lately: a request of theirs may still be on its way here.
    ended: HashMap<HolderId, SystemTime>,
}

impl Roll {
    pub(super) fn enter(&mut self, holder: HolderId, entry: &Arc<Entry>) {
        self.holders.entry(holder).or_default().push(Arc::downgrade(entry));
    }

    pub(super) fn has_ended(&self, holder: HolderId) -> bool {
        self.ended.contains_key(&holder)
    }

    /// Ends a holder; returns what it held.
    pub(super) fn end(&mut self, holder: HolderId, now: SystemTime) -> Vec<Arc<Entry>> {
        self.ended.insert(holder, now);
        self.holders.remove(&holder).unwrap_or_default().iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn prune(&mut self, now: SystemTime) {
        self.holders.retain(|_, held| {
            held.retain(|entry| entry.strong_count() > 0);
            !held.is_empty()
        });
        // a clock that went back keeps them a little longer
        self.ended.retain(|_, since| now.duration_since(*since).map_or(true, |ago| ago < REMEMBERED));
    }
}

/// Longer than any request takes from being recognised to asking for credentials.
const REMEMBERED: Duration = Duration::from_secs(600);

//! Answers that are ready: each is written once for the credentials that it hands out.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::own::Held;
use crate::credentials::Credentials;

/// The bodies of answers with credentials that are in use.
#[derive(Default)]
pub(super) struct Shelf(ArcSwap<Vec<Ready>>);

#[derive(Clone)]
struct Ready {
    /// Held, so that no others can come to their place in memory and be mistaken for them.
    credentials: Arc<Credentials>,
    body: Bytes,
}

impl Shelf {
    /// The body for these credentials, as `write` makes it of those that are new; and whether they are.
    pub(super) fn body(&self, held: &Held, now: SystemTime, write: impl FnOnce(&Held) -> Vec<u8>) -> (Bytes, bool) {
        let is_for = |ready: &&Ready| Arc::ptr_eq(&ready.credentials, &held.credentials);
        if let Some(ready) = self.0.load().iter().find(is_for) {
            return (ready.body.clone(), false);
        }
        // wiped when the last answer with it has gone
        let body = Bytes::from_owner(Zeroizing::new(write(held)));
        let ready = Ready { credentials: Arc::clone(&held.credentials), body: body.clone() };
        self.0.rcu(|kept| {
            let is_good = |ready: &&Ready| ready.credentials.expires > now;
            let mut next: Vec<Ready> = kept.iter().filter(is_good).cloned().collect();
            let surplus = (next.len() + 1).saturating_sub(MOST);
            next.drain(..surplus);
            next.push(ready.clone());
            next
        });
        (body, true)
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("bodies", &self.0.load().len()).finish_non_exhaustive()
    }
}

/// More roles than any endpoint has, each with keys and the ones before them.
const MOST: usize = 64;

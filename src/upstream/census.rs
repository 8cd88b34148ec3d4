//! How many connections there are to an address, and how many of them have nothing to do.
//!
//! An open one is counted by whoever holds its stream. Of the idle ones each worker writes down its own number, which
//! nobody else writes, so that no request waits for another core's cache line; they are added up when somebody looks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::lease::Streams;

/// Of one address.
#[derive(Default)]
pub(super) struct Census {
    open: AtomicUsize,
    idle: Mutex<Vec<Weak<Idle>>>,
    shared: Mutex<Vec<Weak<Streams>>>,
}

/// A connection that is open, until dropped.
pub(super) struct Open(Arc<Census>);

/// How many HTTP/1 connections lie idle in one worker's pool. On a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Idle(AtomicUsize);

impl Census {
    /// One more is open.
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Where one more worker writes its number, for as long as it has a pool.
    pub(super) fn of_a_pool(&self) -> Arc<Idle> {
        let idle = Arc::default();
        join(&self.idle, &idle);
        idle
    }

    /// One more HTTP/2 connection, which knows its streams.
    pub(super) fn shares(&self, streams: &Arc<Streams>) {
        join(&self.shared, streams);
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn idle(&self) -> usize {
        let of_pools: usize = lock(&self.idle).iter().filter_map(Weak::upgrade).map(|idle| idle.get()).sum();
        let is_idle = |streams: &Arc<Streams>| streams.in_use() == 0;
        of_pools + lock(&self.shared).iter().filter_map(Weak::upgrade).filter(is_idle).count()
    }
}

impl Idle {
    pub(super) fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Those that are gone make room for one more.
fn join<T>(list: &Mutex<Vec<Weak<T>>>, one: &Arc<T>) {
    let mut list = lock(list);
    list.retain(|one| one.strong_count() > 0);
    list.push(Arc::downgrade(one));
}

fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

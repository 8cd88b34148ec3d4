//! The signal that it is time to stop.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Given once, and seen by every connection. Looking costs one load: connections look whenever they wake.
#[derive(Debug, Default)]
pub(super) struct Drain {
    begun: AtomicBool,
    waiting: Notify,
}

impl Drain {
    /// Tells everyone.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    /// Whether it was given.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Waits for it.
    pub(super) async fn begun(&self) {
        let mut told = pin!(self.waiting.notified());
        told.as_mut().enable(); // before looking, so that nothing falls in between
        if !self.has_begun() {
            told.await;
        }
    }
}

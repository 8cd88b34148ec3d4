//! Whether an address is well, from what checks say and what connecting to it teaches.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use metrics::Gauge;
use tokio::time::Instant;

/// What is known of one address. Read on the way of requests, so it is atoms only.
pub(super) struct Standing {
    born: Instant,
    /// Failed connections in a row.
    failures: AtomicU32,
    /// In milliseconds since `born`: when it may be tried again; 0 while it can be reached.
    again: AtomicU64,
    /// Whether checks say that it is down.
    is_down: AtomicBool,
    healthy: Gauge,
}

impl Standing {
    /// Well, until something else is known.
    pub(super) fn new(healthy: Gauge) -> Self {
        healthy.set(1.0);
        Self {
            born: Instant::now(),
            failures: AtomicU32::new(0),
            again: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            healthy,
        }
    }

    /// Whether requests should go there.
    pub(super) fn is_well(&self) -> bool {
        self.again.load(Ordering::Relaxed) == 0 && !self.is_down.load(Ordering::Relaxed)
    }

    /// Whether it is time to try it again; if so, that is the caller's to do, and nobody else's for a while.
    pub(super) fn claim_trial(&self, now: Instant) -> bool {
        let again = self.again.load(Ordering::Relaxed);
        if again == 0 || self.is_down.load(Ordering::Relaxed) || self.since_born(now) < again {
            return false;
        }
        let next = self.since_born(now) + millis(self.pause());
        self.again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// No connection was to be had. Says whether that is news.
    pub(super) fn unreachable(&self, now: Instant) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let again = self.since_born(now) + millis(self.pause());
        let before = self.again.swap(again.max(1), Ordering::Relaxed);
        self.show();
        before == 0
    }

    /// A connection was made. Says whether that is news.
    pub(super) fn reached(&self) -> bool {
        if self.again.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        let before = self.again.swap(0, Ordering::Relaxed);
        self.show();
        before != 0
    }

    /// What checks say now. Says whether that is news.
    pub(super) fn checked(&self, well: bool) -> bool {
        if well {
            self.failures.store(0, Ordering::Relaxed);
            self.again.store(0, Ordering::Relaxed);
        }
        let before = self.is_down.swap(!well, Ordering::Relaxed);
        self.show();
        before == well
    }

    /// Longer after each failure, but short enough that a restart is soon seen.
    fn pause(&self) -> Duration {
        let failures = self.failures.load(Ordering::Relaxed).clamp(1, 6);
        FIRST_PAUSE * 2_u32.saturating_pow(failures - 1)
    }

    fn since_born(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.born))
    }

    fn show(&self) {
        self.healthy.set(if self.is_well() { 1.0 } else { 0.0 });
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Doubled up to 32 s.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_reached_rests_for_longer_and_longer() {
        let standing = Standing::new(Gauge::noop());
        let mut now = Instant::now();
        assert!(standing.is_well() && !standing.claim_trial(now));
        for (nth, pause) in [1, 2, 4, 8, 16, 32, 32].into_iter().enumerate() {
            assert_eq!(standing.unreachable(now), nth == 0, "only the first is news");
            assert!(!standing.is_well());
            now += Duration::from_secs(pause) - Duration::from_millis(2);
            assert!(!standing.claim_trial(now));
            now += Duration::from_millis(4);
            assert!(standing.claim_trial(now), "{pause}");
            assert!(!standing.claim_trial(now), "one at a time");
        }
        assert!(standing.reached() && standing.is_well() && !standing.reached());
    }

    #[test]
    fn checks_have_the_last_word() {
        let standing = Standing::new(Gauge::noop());
        assert!(!standing.checked(true) && standing.checked(false) && !standing.checked(false));
        assert!(!standing.is_well());
        standing.unreachable(Instant::now());
        assert!(!standing.claim_trial(Instant::now() + Duration::from_secs(60)), "checks try it, not requests");
        assert!(standing.checked(true) && standing.is_well());
    }
}

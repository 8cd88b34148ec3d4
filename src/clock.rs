//! The only "what time is it".
//!
//! Wall-clock time decides whether a credential, a token or a session is still good. It is handed in
//! everywhere, so that a test can move it, and judged anew at every use: caches that expire by their own
//! monotonic clock serve hours-old keys after a laptop slept.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod alarm;
mod duration;

pub use alarm::Alarm;
pub use duration::{LONGEST, duration_text, optional_duration_text, parse_duration};

/// Tells the time.
pub trait Clock: Debug + Send + Sync {
    /// Now, by the wall clock.
    fn now(&self) -> SystemTime;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved; for tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<SystemTime>);

impl ManualClock {
    /// Stands at `seconds` after the epoch.
    pub fn at(seconds: u64) -> Self {
        Self(Mutex::new(UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whole seconds since the epoch, as JWTs count (RFC 7519 §2 NumericDate); 0 before it.
pub fn epoch_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The time a number of seconds after the epoch; saturates far in the future instead of overflowing.
pub fn from_epoch_seconds(seconds: u64) -> SystemTime {
    const FAR: u64 = 253_402_300_799; // 9999-12-31T23:59:59Z, the last RFC 3339 second
    UNIX_EPOCH + Duration::from_secs(seconds.min(FAR))
}

/// `2026-02-25T06:03:31Z`: RFC 3339 in UTC with whole seconds, the form AWS's answers and our logs use.
pub fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(from_epoch_seconds(epoch_seconds(at))).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(100);
        assert_eq!(epoch_seconds(clock.now()), 100);
        clock.advance(Duration::from_secs(5));
        assert_eq!(epoch_seconds(clock.now()), 105);
    }

    #[test]
    fn times_print_as_aws_prints_them() {
        assert_eq!(rfc3339(from_epoch_seconds(1_456_380_211)), "2016-02-25T06:03:31Z");
    }

    #[test]
    fn absurd_times_saturate() {
        assert_eq!(rfc3339(from_epoch_seconds(u64::MAX)), "9999-12-31T23:59:59Z");
    }
}

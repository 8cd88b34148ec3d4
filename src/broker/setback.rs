//! What a failure means for the next attempt.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::credentials::IssueError;

/// Failures in a row, and the last of them.
#[derive(Debug, Default)]
pub(super) struct Setback {
    failures: u32,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    at: SystemTime,
    /// For a renewal, which nobody waits for.
    renewal_pause: Duration,
    /// For a caller who has nothing: who waits should see the provider's recovery soon.
    answer: Option<(Duration, Arc<IssueError>)>,
}

impl Setback {
    /// Notes a failure. `jitter` from 0 to 1 spreads the attempts of many (A35).
    pub(super) fn note(&mut self, error: IssueError, at: SystemTime, jitter: f64) -> Arc<IssueError> {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        let spread = |pause: Duration| pause.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        let (renewal_pause, error, kept_for) = match error {
            IssueError::Refused { .. } => (spread(REFUSAL_KEPT), error, Some(spread(REFUSAL_KEPT))),
            IssueError::EvidenceExpired => (spread(doubled), error, None),
            IssueError::Unavailable { retry_after, source } => {
                let pause = spread(doubled).max(retry_after.unwrap_or_default().min(LONGEST_PAUSE));
                let kept_for = pause.min(LONGEST_ANSWER_KEPT);
                let retry_after = Some(retry_after.unwrap_or_default().max(kept_for));
                (pause, IssueError::Unavailable { retry_after, source }, Some(kept_for))
            }
        };
        let error = Arc::new(error);
        let answer = kept_for.map(|pause| (pause, Arc::clone(&error)));
        self.last = Some(Last { at, renewal_pause, answer });
        error
    }

    /// Whether a renewal should not be tried yet.
    pub(super) fn holds_renewals(&self, now: SystemTime) -> bool {
        self.last.as_ref().is_some_and(|last| within(last.at, last.renewal_pause, now))
    }

    /// The answer for a caller who has nothing, while it is remembered.
    pub(super) fn answer(&self, now: SystemTime) -> Option<&Arc<IssueError>> {
        let last = self.last.as_ref()?;
        last.answer.as_ref().filter(|(pause, _)| within(last.at, *pause, now)).map(|(_, error)| error)
    }
}

/// A clock that went back ends every pause: none may last as long as the step was.
fn within(since: SystemTime, pause: Duration, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|ago| ago < pause)
}

/// After one failure; doubled after each more.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts to renew.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Without credentials, a new attempt comes at least so often.
const LONGEST_ANSWER_KEPT: Duration = Duration::from_secs(10);
/// STS does not change its mind in seconds, and the operator who mends a trust policy does not want to wait for minutes.
const REFUSAL_KEPT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::from_epoch_seconds;

    fn unavailable() -> IssueError {
        IssueError::Unavailable { retry_after: None, source: "down".into() }
    }

    proptest! {
        /// A35
        #[test]
        fn pauses_grow_and_stay_bounded(failures in 1usize..200, jitter in 0.0f64..1.0) {
            let (mut setback, at) = (Setback::default(), from_epoch_seconds(1_000_000));
            for _ in 0..failures {
                setback.note(unavailable(), at, jitter);
            }
            let pause = setback.last.as_ref().unwrap().renewal_pause;
            prop_assert!(pause >= Duration::from_millis(750) && pause <= Duration::from_secs(75));
            prop_assert!(failures < 7 || pause >= Duration::from_secs(45));
            prop_assert!(setback.holds_renewals(at) && !setback.holds_renewals(at + pause));
            prop_assert!(setback.answer(at).is_some() && setback.answer(at + LONGEST_ANSWER_KEPT).is_none());
            prop_assert!(!setback.holds_renewals(at - Duration::from_secs(1)), "the clock went back");
        }
    }

    #[test]
    fn expired_evidence_is_not_remembered_as_an_answer() {
        let (mut setback, at) = (Setback::default(), from_epoch_seconds(1_000_000));
        setback.note(IssueError::EvidenceExpired, at, 0.5);
        assert!(setback.answer(at).is_none() && setback.holds_renewals(at));
    }

    #[test]
    fn the_answer_says_when_to_come_back() {
        let (mut setback, at) = (Setback::default(), from_epoch_seconds(1_000_000));
        let retry_after = |error: &IssueError| match error {
            IssueError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        assert_eq!(retry_after(&setback.note(unavailable(), at, 0.5)), Some(Duration::from_secs(1)));
    }
}

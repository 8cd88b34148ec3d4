//! What is told of an endpoint: every request to the metrics, and to the log who got which keys and who got none.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::Asked;
use super::counts::{Counts, Verdict};
use super::own::Held;
use crate::clock::{epoch_seconds, rfc3339};
use crate::telemetry::{AUDIT, Metrics};
use crate::web::chain;

/// One endpoint's.
pub(super) struct Ledger {
    name: Arc<str>,
    metrics: Metrics,
    counts: Counts,
    refusals: Refusals,
}

/// By reason, since when lines are counted and not written, and how many there were.
#[derive(Debug, Default)]
struct Refusals(Mutex<BTreeMap<&'static str, (SystemTime, u64)>>);

impl Ledger {
    pub(super) fn open(metrics: &Metrics, name: &str) -> Self {
        metrics.describe(
            "claviger_endpoint_expiry_timestamp_seconds",
            None,
            "When an endpoint's credentials end, by its name and the role's.",
        );
        Self {
            name: name.into(),
            metrics: metrics.clone(),
            counts: Counts::register(metrics, name),
            refusals: Refusals::default(),
        }
    }

    pub(super) fn count(&self, verdict: Verdict) {
        self.counts.count(verdict);
    }

    /// Credentials are at hand.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) fn at_hand(&self, held: &Held) {
        let labels = [("endpoint", &*self.name), ("role", held.grant.role.role_name())];
        let ends = epoch_seconds(held.credentials.expires);
        self.metrics.gauge("claviger_endpoint_expiry_timestamp_seconds", &labels).set(ends as f64);
    }

    /// Keys were handed out to a client for the first time; for each time there would be a line every few seconds.
    pub(super) fn handed_out(&self, held: &Held, asked: &Asked<'_>) {
        let (grant, credentials) = (&held.grant, &held.credentials);
        tracing::info!(
            target: AUDIT,
            {
                endpoint = &*self.name, client = %asked.client(),
                subject.source = &*grant.subject.source, subject.id = &*grant.subject.id,
                aws.role = grant.role.as_str(), aws.access_key_id = &*credentials.access_key_id,
                aws.expires = rfc3339(credentials.expires),
            },
            "credentials were handed out"
        );
    }

    /// A request got none. Of those with the same reason one a second has a line, which says how many they were.
    pub(super) fn refused(
        &self,
        verdict: Verdict,
        reason: &'static str,
        error: &(dyn Error + 'static),
        status: StatusCode,
        asked: &Asked<'_>,
    ) {
        self.count(verdict);
        let Some(count) = self.refusals.told(reason, asked.now) else { return };
        tracing::warn!(
            target: AUDIT,
            {
                endpoint = &*self.name, client = %asked.client(), reason, error = chain(error),
                status = status.as_u16(), count,
            },
            "no credentials were handed out"
        );
    }
}

impl Refusals {
    /// How many are to be told of with this one, where a line is due.
    fn told(&self, reason: &'static str, now: SystemTime) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.get_mut(reason) {
            // a clock that was set back must not silence it
            Some((since, untold)) if now.duration_since(*since).is_ok_and(|since| since < ONE_LINE) => {
                *untold += 1;
                None
            }
            Some(line) => {
                let (_, untold) = std::mem::replace(line, (now, 0));
                Some(untold + 1)
            }
            None => {
                lines.insert(reason, (now, 0));
                Some(1)
            }
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Between two lines of the same reason.
const ONE_LINE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_epoch_seconds;

    #[test]
    fn a_flood_of_refusals_is_one_line_a_second_for_each_reason() {
        let refusals = Refusals::default();
        let at = from_epoch_seconds;
        let told: Vec<_> = (0..4).map(|_| refusals.told("token", at(100))).collect();
        assert_eq!(told, [Some(1), None, None, None]);
        assert_eq!(refusals.told("host", at(100)), Some(1));
        assert_eq!(refusals.told("token", at(101)), Some(4));
        assert_eq!(refusals.told("token", at(50)), Some(1), "the clock was set back");
    }
}

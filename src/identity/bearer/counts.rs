//! What is counted of bearer tokens.

use std::fmt;

use metrics::Counter;

use crate::telemetry::Metrics;

/// The counters of one source. Each is looked up once and kept, as lookups are counted for every request.
pub(super) struct Counts {
    hits: Counter,
    misses: Counter,
    verified: Counter,
    rejected: Counter,
    undecided: Counter,
}

impl Counts {
    pub(super) fn register(metrics: &Metrics, source: &str) -> Self {
        metrics.describe("claviger_bearer_lookups_total", None, "Bearer tokens of ours: seen of late or not.");
        metrics.describe("claviger_bearer_verifications_total", None, "Bearer tokens that were looked into.");
        let lookups =
            |verdict| metrics.counter("claviger_bearer_lookups_total", &[("source", source), ("verdict", verdict)]);
        let verifications = |outcome| {
            metrics.counter("claviger_bearer_verifications_total", &[("source", source), ("outcome", outcome)])
        };
        Self {
            hits: lookups("hit"),
            misses: lookups("miss"),
            verified: verifications("verified"),
            rejected: verifications("rejected"),
            undecided: verifications("unavailable"),
        }
    }

    /// A token that was seen of late.
    pub(super) fn hit(&self) {
        self.hits.increment(1);
    }

    pub(super) fn verified(&self) {
        self.misses.increment(1);
        self.verified.increment(1);
    }

    pub(super) fn rejected(&self) {
        self.misses.increment(1);
        self.rejected.increment(1);
    }

    pub(super) fn undecided(&self) {
        self.misses.increment(1);
        self.undecided.increment(1);
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

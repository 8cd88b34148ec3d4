//! How often an endpoint answered, and how.

use std::fmt;

use metrics::Counter;

use crate::telemetry::Metrics;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Credentials were handed out.
    Served,
    /// What is no secret was told, such as the region.
    Told,
    /// A session token was issued.
    Token,
    /// It was no SDK's, or asks for what nobody gets.
    Refused,
    /// Its token was missing or wrong.
    Unauthorized,
    /// Nothing is there.
    Unknown,
    /// There were no credentials to be had.
    Failed,
}

/// `claviger_endpoint_requests_total` of one endpoint.
pub(super) struct Counts([(Verdict, Counter); VERDICTS.len()]);

impl Counts {
    pub(super) fn register(metrics: &Metrics, endpoint: &str) -> Self {
        metrics.describe(NAME, None, "Requests at endpoints for SDKs, by what became of them.");
        let counter =
            |(verdict, label)| (verdict, metrics.counter(NAME, &[("endpoint", endpoint), ("verdict", label)]));
        Self(VERDICTS.map(counter))
    }

    pub(super) fn count(&self, verdict: Verdict) {
        let counter = self.0.iter().find(|(of, _)| *of == verdict);
        counter.into_iter().for_each(|(_, counter)| counter.increment(1));
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

const NAME: &str = "claviger_endpoint_requests_total";
const VERDICTS: [(Verdict, &str); 7] = [
    (Verdict::Served, "served"),
    (Verdict::Told, "told"),
    (Verdict::Token, "token"),
    (Verdict::Refused, "refused"),
    (Verdict::Unauthorized, "unauthorized"),
    (Verdict::Unknown, "unknown"),
    (Verdict::Failed, "failed"),
];

//! What is turned away before a handler sees it: counted all, told of few.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::Counter;
use tokio::time::Instant;

use crate::telemetry::Metrics;
use crate::web::Connection;

/// Why something is turned away.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// There are as many connections as there may be.
    Connections,
    /// There are as many connections from the peer's address.
    Address,
    /// As many requests are being answered.
    Requests,
    /// Memory is short.
    Memory,
    /// Bytes that two readers could read as different requests (A3).
    Framing,
    /// What is no HTTP at all.
    Malformed,
    /// A request that two readers could take for different ones (A3).
    Ambiguous,
    /// CONNECT (A4).
    Method,
    /// A head with too many bytes or lines.
    Head,
    /// HTTP/2 frames that carry nothing (A13).
    Frames,
}

/// A request that was answered before a handler saw it.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// The connection it came on, or would have.
    pub connection: &'a Connection,
    /// Method, host and path, as far as they could be read.
    pub asked: Option<(&'a Method, &'a str, &'a str)>,
    /// The answer's status.
    pub status: StatusCode,
    /// Why.
    pub reason: Reason,
}

impl Reason {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::Connections,
        Self::Address,
        Self::Requests,
        Self::Memory,
        Self::Framing,
        Self::Malformed,
        Self::Ambiguous,
        Self::Method,
        Self::Head,
        Self::Frames,
    ];

    /// The word for it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Requests => "requests",
            Self::Memory => "memory",
            Self::Framing => "framing",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::Method => "method",
            Self::Head => "head",
            Self::Frames => "frames",
        }
    }
}

/// Counts what a listener turns away.
#[derive(Debug)]
pub(super) struct Refusals {
    counters: BTreeMap<Reason, Count>,
    lines: Bounded,
    bursts: Bounded,
}

impl Refusals {
    pub(super) fn new(metrics: &Metrics, listener: &str) -> Self {
        let name = "claviger_refused_total";
        metrics.describe(name, None, "Connections and requests turned away before they were looked at, by reason.");
        let counter = |reason: Reason| metrics.counter(name, &[("listener", listener), ("reason", reason.as_str())]);
        Self {
            counters: Reason::ALL.into_iter().map(|reason| (reason, Count(counter(reason)))).collect(),
            lines: Bounded::new(LINES, Duration::from_secs(1)),
            bursts: Bounded::new(1, BURST),
        }
    }

    /// Counts one; how many may be told of with it, where one may: itself, and those that were not told of before it.
    pub(super) fn count(&self, reason: Reason) -> Option<u64> {
        if let Some(Count(counter)) = self.counters.get(&reason) {
            counter.increment(1);
        }
        let bound = if matches!(reason, Reason::Connections | Reason::Address) { &self.bursts } else { &self.lines };
        bound.take(Instant::now())
    }
}

struct Count(Counter);

impl std::fmt::Debug for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Count")
    }
}

/// So many in a while: a flood of refusals must not become one of lines.
#[derive(Debug)]
struct Bounded {
    most: u32,
    span: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Bounded {
    fn new(most: u32, span: Duration) -> Self {
        Self { most, span, state: Mutex::new(State { since: None, told: 0, untold: 0 }) }
    }

    fn take(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.duration_since(since) >= self.span) {
            (state.since, state.told) = (Some(now), 0);
        }
        state.untold += 1;
        if state.told >= self.most {
            return None;
        }
        state.told += 1;
        Some(std::mem::take(&mut state.untold))
    }
}

/// Lines a second and listener for refused requests.
const LINES: u32 = 10;
/// Between two words on connections that are turned away.
const BURST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_whole_and_told_of_now_and_then() {
        let bounded = Bounded::new(2, Duration::from_secs(1));
        let start = Instant::now();
        let told: Vec<_> = (0..5).map(|_| bounded.take(start)).collect();
        assert_eq!(told, [Some(1), Some(1), None, None, None]);
        assert_eq!(bounded.take(start + Duration::from_secs(1)), Some(4));
    }

    #[test]
    fn every_reason_has_its_counter() {
        let metrics = Metrics::new();
        let refusals = Refusals::new(&metrics, "main");
        for reason in Reason::ALL {
            refusals.count(reason);
            let line = format!("claviger_refused_total{{listener=\"main\",reason=\"{}\"}} 1", reason.as_str());
            assert!(metrics.render().contains(&line), "{line}");
        }
    }
}

//! How often what was called, and how it ended.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::telemetry::Metrics;

/// Counts calls by action and code, for metrics and for who asks.
#[derive(Debug)]
pub(super) struct Calls {
    metrics: Metrics,
    by_action: Mutex<HashMap<&'static str, u64>>,
}

impl Calls {
    pub(super) fn new(metrics: Metrics) -> Self {
        metrics.describe(METRIC, None, "calls to the built-in STS, by action and by the code of the answer");
        Self { metrics, by_action: Mutex::default() }
    }

    /// Counts a call; both words are ours, so that nobody makes series of their own.
    pub(super) fn count(&self, action: &'static str, code: &'static str) {
        self.metrics.counter(METRIC, &[("action", action), ("code", code)]).increment(1);
        *self.by_action.lock().unwrap_or_else(PoisonError::into_inner).entry(action).or_default() += 1;
    }

    pub(super) fn of(&self, action: &str) -> u64 {
        self.by_action.lock().unwrap_or_else(PoisonError::into_inner).get(action).copied().unwrap_or_default()
    }
}

const METRIC: &str = "claviger_authority_calls_total";

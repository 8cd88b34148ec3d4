//! Counting requests: by route and status, and how long they took.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram};

use crate::route::Route;
use crate::telemetry::Metrics;

/// The counters of requests. Each is looked up once and kept, as they are counted for every request.
#[derive(Debug)]
pub(super) struct Requests {
    metrics: Metrics,
    kept: RwLock<HashMap<Key, Counter>>,
    took: Histogram,
}

/// A route's name, if there was one, and a status.
type Key = (Option<Arc<str>>, u16);

impl Requests {
    pub(super) fn new(metrics: Metrics) -> Self {
        metrics.describe("claviger_requests_total", None, "Requests answered, by route and status.");
        metrics.describe("claviger_request_seconds", None, "From a request's head to its answer's head.");
        metrics.describe("claviger_rate_limited_total", None, "Requests answered with 429, by limit.");
        let took = metrics.histogram("claviger_request_seconds", &[]);
        Self { metrics, kept: RwLock::default(), took }
    }

    /// One more who asked too often, by the limit they ran into.
    pub(super) fn limited(&self, limit: &'static str) {
        self.metrics.counter("claviger_rate_limited_total", &[("limit", limit)]).increment(1);
    }

    pub(super) fn count(&self, route: Option<&Route>, status: StatusCode, took: Duration) {
        self.took.record(took.as_secs_f64());
        let key = (route.map(|route| Arc::clone(&route.name)), status.as_u16());
        if let Some(counter) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return counter.increment(1);
        }
        let labels = [("route", route.map_or("", |route| &*route.name)), ("status", status.as_str())];
        let counter = self.metrics.counter("claviger_requests_total", &labels);
        counter.increment(1);
        self.kept.write().unwrap_or_else(PoisonError::into_inner).insert(key, counter);
    }
}

//! Counting requests: by route and status, how long they took, and how many there are at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram};

use crate::rate::Rates;
use crate::route::Route;
use crate::telemetry::Metrics;

/// The counters of requests. Each is looked up once and kept, as they are counted for every request.
#[derive(Debug)]
pub(super) struct Requests {
    metrics: Metrics,
    kept: RwLock<HashMap<Key, Counted>>,
    under_way: Arc<AtomicUsize>,
}

/// A route's name, if there was one, and a status.
type Key = (Option<Arc<str>>, u16);

#[derive(Clone)]
struct Counted {
    count: Counter,
    took: Histogram,
}

/// A request under way, counted until it is dropped.
pub(super) struct UnderWay<'a>(&'a AtomicUsize);

impl Requests {
    pub(super) fn new(metrics: Metrics) -> Self {
        metrics.describe("claviger_requests_total", None, "Requests answered, by route and status.");
        metrics.describe("claviger_request_seconds", None, "From a request's head to its answer's head.");
        metrics.describe("claviger_rate_limited_total", None, "Requests answered with 429, by limit.");
        for limit in Rates::LIMITS {
            // there before anybody runs into it
            metrics.counter("claviger_rate_limited_total", &[("limit", limit)]).increment(0);
        }
        metrics.describe("claviger_requests_under_way", None, "Requests whose answer's head is still to come.");
        let under_way = Arc::new(AtomicUsize::new(0));
        let (gauge, count) = (metrics.gauge("claviger_requests_under_way", &[]), Arc::clone(&under_way));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        metrics.on_look(move || gauge.set(count.load(Ordering::Relaxed) as f64));
        Self { metrics, kept: RwLock::default(), under_way }
    }

    /// One more, until what is returned is dropped: also where nobody waits for the answer any more.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }

    /// One more who asked too often, by the limit they ran into.
    pub(super) fn limited(&self, limit: &'static str) {
        self.metrics.counter("claviger_rate_limited_total", &[("limit", limit)]).increment(1);
    }

    pub(super) fn count(&self, route: Option<&Route>, status: StatusCode, took: Duration) {
        let took = took.as_secs_f64();
        let key = (route.map(|route| Arc::clone(&route.name)), status.as_u16());
        if let Some(counted) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            counted.took.record(took);
            return counted.count.increment(1);
        }
        let route = route.map_or("", |route| &*route.name);
        let class = format!("{}xx", status.as_u16() / 100);
        let counted = Counted {
            count: self.metrics.counter("claviger_requests_total", &[("route", route), ("status", status.as_str())]),
            took: self.metrics.histogram("claviger_request_seconds", &[("route", route), ("class", &class)]),
        };
        counted.took.record(took);
        counted.count.increment(1);
        self.kept.write().unwrap_or_else(PoisonError::into_inner).insert(key, counted);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

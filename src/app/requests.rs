//! Counting requests: by route and status, and how long they took.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use metrics::{Counter, Histogram};

use crate::rate::Rates;
use crate::route::Route;
use crate::telemetry::Metrics;

/// The counters of requests. Each is looked up once and kept, as they are counted for every request.
#[derive(Debug)]
pub(super) struct Requests {
    metrics: Metrics,
    /// Read without writing to anything that other workers read; copied for each counter that is new.
    kept: ArcSwap<Kept>,
}

/// By the route's name, empty where there was none; then by status.
type Kept = HashMap<Arc<str>, Vec<(StatusCode, Counted)>>;

#[derive(Clone)]
struct Counted {
    count: Counter,
    took: Histogram,
}

impl Requests {
    pub(super) fn new(metrics: Metrics) -> Self {
        metrics.describe("claviger_requests_total", None, "Requests answered, by route and status.");
        metrics.describe("claviger_request_seconds", None, "From a request's head to its answer's head.");
        metrics.describe("claviger_rate_limited_total", None, "Requests answered with 429, by limit.");
        for limit in Rates::LIMITS {
            // there before anybody runs into it
            metrics.counter("claviger_rate_limited_total", &[("limit", limit)]).increment(0);
        }
        Self { metrics, kept: ArcSwap::default() }
    }

    /// One more who asked too often, by the limit they ran into.
    pub(super) fn limited(&self, limit: &'static str) {
        self.metrics.counter("claviger_rate_limited_total", &[("limit", limit)]).increment(1);
    }

    pub(super) fn count(&self, route: Option<&Route>, status: StatusCode, took: Duration) {
        let route = route.map_or("", |route| &*route.name);
        let took = took.as_secs_f64();
        let kept = self.kept.load();
        let mut of_route = kept.get(route).into_iter().flatten();
        if let Some((_, counted)) = of_route.find(|(known, _)| *known == status) {
            counted.took.record(took);
            return counted.count.increment(1);
        }
        let class = format!("{}xx", status.as_u16() / 100);
        let counted = Counted {
            count: self.metrics.counter("claviger_requests_total", &[("route", route), ("status", status.as_str())]),
            took: self.metrics.histogram("claviger_request_seconds", &[("route", route), ("class", &class)]),
        };
        counted.took.record(took);
        counted.count.increment(1);
        self.kept.rcu(|kept| {
            let mut kept = Kept::clone(kept);
            let of_route = kept.entry(route.into()).or_default();
            if !of_route.iter().any(|(known, _)| *known == status) {
                of_route.push((status, counted.clone()));
            }
            kept
        });
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

//! All upstreams of a process: a reload that does not change one keeps its connections warm.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;

use super::destination::Destination;
use super::target::Target;
use super::{Bounds, Upstream, health};
use crate::telemetry::Metrics;

/// The upstreams in use, by their whole destination. What no generation refers to any more is dropped, and its
/// connections with it.
pub struct Upstreams {
    targets: Mutex<HashMap<Destination, Weak<Target>>>,
    metrics: Metrics,
    /// Where checks run, apart from requests; without one nothing is checked.
    checks: Option<Handle>,
}

impl Upstreams {
    /// None yet. Health checks run on `checks`.
    pub fn new(metrics: Metrics, checks: Handle) -> Self {
        metrics.describe(
            "claviger_upstream_healthy",
            None,
            "1 where an upstream's address is well, 0 where checks or connecting say otherwise.",
        );
        metrics.describe("claviger_upstream_connections_total", None, "Connections that were opened to upstreams.");
        Self { targets: Mutex::default(), metrics, checks: Some(checks) }
    }

    /// For a generation that is looked at and never served: nothing is checked.
    pub fn unchecked() -> Self {
        Self { targets: Mutex::default(), metrics: Metrics::new(), checks: None }
    }

    /// The upstream at this destination, with the connections that are there already.
    pub fn of(&self, destination: Destination, bounds: Bounds) -> Upstream {
        Upstream::new(self.target(destination), bounds)
    }

    fn target(&self, destination: Destination) -> Arc<Target> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(&destination).and_then(Weak::upgrade) {
            return target;
        }
        targets.retain(|_, target| target.strong_count() > 0);
        let target = Arc::new(Target::new(destination.clone(), &self.metrics));
        if let Some(checks) = &self.checks {
            health::watch(&target, checks);
        }
        targets.insert(destination, Arc::downgrade(&target));
        target
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

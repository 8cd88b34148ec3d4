//! All upstreams of a process: a reload that does not change one keeps its connections warm.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use metrics::Gauge;
use tokio::runtime::Handle;

use super::destination::Destination;
use super::target::Target;
use super::{Bounds, Upstream, health};
use crate::telemetry::Metrics;

/// The upstreams in use, by their whole destination. What no generation refers to any more is dropped, and its
/// connections with it.
pub struct Upstreams {
    known: Arc<Mutex<Known>>,
    metrics: Metrics,
    /// Where checks run, apart from requests; without one nothing is checked.
    checks: Option<Handle>,
}

#[derive(Default)]
struct Known {
    targets: HashMap<Destination, Weak<Target>>,
    /// Of open and of idle connections, by the upstream's name: destinations that differ in how they are reached have
    /// one, and that of a destination that has gone stays.
    gauges: BTreeMap<String, [Gauge; 2]>,
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
        metrics.describe("claviger_upstream_connections", None, "Connections to upstreams that are open.");
        metrics.describe(
            "claviger_upstream_connections_idle",
            None,
            "Connections to upstreams that wait in a worker's pool for a request.",
        );
        let known = Arc::<Mutex<Known>>::default();
        let looked_at = Arc::downgrade(&known);
        metrics.on_look(move || looked_at.upgrade().iter().for_each(|known| lock(known).show()));
        Self { known, metrics, checks: Some(checks) }
    }

    /// For a generation that is looked at and never served: nothing is checked.
    pub fn unchecked() -> Self {
        Self { known: Arc::default(), metrics: Metrics::new(), checks: None }
    }

    /// The upstream at this destination, with the connections that are there already.
    pub fn of(&self, destination: Destination, bounds: Bounds) -> Upstream {
        Upstream::new(self.target(destination), bounds)
    }

    fn target(&self, destination: Destination) -> Arc<Target> {
        let mut known = lock(&self.known);
        if let Some(target) = known.targets.get(&destination).and_then(Weak::upgrade) {
            return target;
        }
        known.targets.retain(|_, target| target.strong_count() > 0);
        let target = Arc::new(Target::new(destination.clone(), &self.metrics));
        if let Some(checks) = &self.checks {
            health::watch(&target, checks);
        }
        known.targets.insert(destination, Arc::downgrade(&target));
        let label = target.label();
        let gauge = |name| self.metrics.gauge(name, &[("upstream", &*label)]);
        let gauges = [gauge("claviger_upstream_connections"), gauge("claviger_upstream_connections_idle")];
        known.gauges.insert(label, gauges);
        target
    }
}

impl Known {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn show(&self) {
        let mut counts: HashMap<String, [usize; 2]> = HashMap::new();
        for target in self.targets.values().filter_map(Weak::upgrade) {
            let (open, idle) = target.connections();
            let [all_open, all_idle] = counts.entry(target.label()).or_default();
            *all_open += open;
            *all_idle += idle;
        }
        for (label, gauges) in &self.gauges {
            let counts = counts.remove(label).unwrap_or_default();
            gauges.iter().zip(counts).for_each(|(gauge, count)| gauge.set(count as f64));
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

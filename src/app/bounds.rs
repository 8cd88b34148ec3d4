//! `[limits]` as the listeners have them: swapped with each config, and in force for what comes in from then on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Config;
use crate::server::{Crowd, Limits, Most};
use crate::telemetry::Metrics;

/// The limits of all listeners, and who is there.
#[derive(Debug)]
pub(super) struct Bounds {
    crowd: Arc<Crowd>,
    /// By the listener's name.
    listeners: BTreeMap<Arc<str>, Arc<ArcSwap<Limits>>>,
    /// For those that no proxy stands before.
    others: Arc<ArcSwap<Limits>>,
}

impl Bounds {
    pub(super) fn new(config: &Config) -> Self {
        let mut bounds = Self { crowd: Arc::default(), listeners: BTreeMap::new(), others: Arc::default() };
        bounds.change(config);
        bounds
    }

    /// From now on these are in force. Connections that are there keep to what they came with.
    pub(super) fn change(&mut self, config: &Config) {
        self.crowd.allow(config.limits.most());
        self.others.store(Arc::new(config.limits.of_a_connection(&[])));
        self.listeners.retain(|name, _| config.listen.contains_key(name));
        for (name, listen) in &config.listen {
            let limits = self.listeners.entry(Arc::clone(name)).or_default();
            limits.store(Arc::new(config.limits.of_a_connection(&listen.trusted_proxies)));
        }
    }

    /// Shows how many requests there are, which the crowd counts for its limit.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) fn show_requests(&self, metrics: &Metrics) {
        metrics.describe("claviger_requests_under_way", None, "Requests that are being answered.");
        let (gauge, crowd) = (metrics.gauge("claviger_requests_under_way", &[]), self.crowd());
        metrics.on_look(move || gauge.set(crowd.requests() as f64));
    }

    /// A listener's limits.
    pub(super) fn of(&self, listener: &str) -> Arc<ArcSwap<Limits>> {
        Arc::clone(self.listeners.get(listener).unwrap_or(&self.others))
    }

    /// The limits of what is none of `[listen.<name>]`.
    pub(super) fn of_others(&self) -> Arc<ArcSwap<Limits>> {
        Arc::clone(&self.others)
    }

    /// Who is there, on all listeners together.
    pub(super) fn crowd(&self) -> Arc<Crowd> {
        Arc::clone(&self.crowd)
    }
}

/// Health and metrics stand apart: they answer when nobody else is let in.
pub(super) fn of_admin() -> Arc<Crowd> {
    let most = Most { connections: ADMIN_CONNECTIONS, ..Most::default() };
    Crowd::new(most)
}

/// Enough for probes and scrapers.
const ADMIN_CONNECTIONS: usize = 64;

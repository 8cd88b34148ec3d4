//! The `[listen.<name>]` that are open: a new config opens some and closes others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::App;
use super::bounds::Bounds;
use super::current::{Current, handshakes};
use super::door::Door;
use crate::config::{Config, ConfigErrors, below};
use crate::server::{Crowd, Limits, Listener, Manner, Open, Workers};
use crate::telemetry::Metrics;
use crate::tls::Handshakes;

/// Those that are open, and what holds for all of them.
#[derive(Debug)]
pub(super) struct Listeners {
    bounds: Bounds,
    metrics: Metrics,
    open: BTreeMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    address: SocketAddr,
    /// How people's connections begin; none where it speaks plain HTTP.
    tls: Option<Handshakes>,
    open: Open,
}

impl Listeners {
    /// None yet.
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Self {
        let bounds = Bounds::new(config);
        bounds.show_requests(metrics);
        Self { bounds, metrics: metrics.clone(), open: BTreeMap::new() }
    }

    /// Who is there, on all listeners together.
    pub(super) fn crowd(&self) -> Arc<Crowd> {
        self.bounds.crowd()
    }

    /// How one speaks that is none of these, but of the other side.
    pub(super) fn manner_of_others(&self, name: Arc<str>, tls: Option<Handshakes>) -> Manner {
        self.manner(name, tls, self.bounds.of_others())
    }

    fn manner(&self, name: Arc<str>, tls: Option<Handshakes>, limits: Arc<ArcSwap<Limits>>) -> Manner {
        Manner { name, tls, limits, crowd: self.crowd(), metrics: self.metrics.clone() }
    }

    /// Binds those of a new config that are not open, or elsewhere; and has the config know where each is. Nothing is
    /// accepted there yet.
    pub(super) fn bind(
        &self,
        before: &Config,
        config: &mut Config,
        errors: &mut ConfigErrors,
    ) -> BTreeMap<Arc<str>, Listener> {
        let mut bound = BTreeMap::new();
        for (name, listen) in &mut config.listen {
            let (path, then) = (below("listen", name), before.listen.get(name));
            match (then.filter(|then| then.address == listen.address), self.open.get(name)) {
                (Some(then), Some(entry)) => {
                    listen.bound_at(entry.address);
                    if then.tls.is_some() != listen.tls.is_some() {
                        let problem = "comes or goes at an address in use; restart claviger, or listen on another one";
                        errors.add(below(&path, "tls"), problem);
                    }
                }
                // what is not sound takes no port
                _ if !errors.is_empty() => {}
                _ => {
                    let listener = errors.keep(below(&path, "address"), self.bind_one(before, listen.address));
                    let Some(listener) = listener else { continue };
                    if let Ok(address) = listener.local_addr() {
                        listen.bound_at(address);
                    }
                    bound.insert(Arc::clone(name), listener);
                }
            }
        }
        bound
    }

    fn bind_one(&self, before: &Config, address: SocketAddr) -> Result<Listener, String> {
        Listener::bind(address).map_err(|error| {
            let ours =
                before.listen.iter().find(|(name, then)| then.address == address && self.open.contains_key(*name));
            match ours {
                Some((name, _)) => {
                    format!("is `listen.{name}`'s until this config is in use; restart claviger to use it")
                }
                None => format!("{address} can't be listened on: {error}"),
            }
        })
    }

    /// Serves a listener from now on, as the config that is in use has it.
    ///
    /// # Errors
    /// The system does not say where it is.
    pub(super) fn open(
        &mut self,
        workers: &Workers,
        app: &Arc<App>,
        name: &Arc<str>,
        listener: Listener,
    ) -> io::Result<SocketAddr> {
        let (address, current) = (listener.local_addr()?, app.current.load_full());
        let tls = current.generation.entrances.get(name).and_then(handshakes).map(Handshakes::new);
        let manner = self.manner(Arc::clone(name), tls.clone(), self.bounds.of(name));
        let open = workers.serve(listener, manner, Arc::new(Door::new(app, name)));
        self.open.insert(Arc::clone(name), Entry { address, tls, open });
        Ok(address)
    }

    /// Closes those that are not in the next config, or elsewhere by it; says which these are.
    pub(super) fn close(&mut self, next: &Config, moved: &BTreeMap<Arc<str>, Listener>) -> BTreeSet<Arc<str>> {
        let mut closed = BTreeSet::new();
        self.open.retain(|name, entry| {
            let stays = next.listen.contains_key(name) && !moved.contains_key(name);
            if !stays {
                tracing::info!(listener = &**name, address = %entry.address, "not listening any more");
                entry.open.close();
                closed.insert(Arc::clone(name));
            }
            stays
        });
        closed
    }

    /// The next handshakes and connections are by this config. Those that are there keep to what they came with.
    pub(super) fn change(&mut self, next: &Current, files_have_changed: bool) {
        self.bounds.change(&next.config);
        if !files_have_changed {
            return;
        }
        for (name, entry) in &self.open {
            let config = next.generation.entrances.get(name).and_then(handshakes);
            if let (Some(tls), Some(config)) = (&entry.tls, config) {
                tls.change(config);
            }
        }
    }
}

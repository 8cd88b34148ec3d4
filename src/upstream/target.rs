//! A destination with what is known of it while it is in use.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use metrics::Counter;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::UpstreamError;
use super::census::Census;
use super::destination::{Address, Destination, Protocol};
use super::standing::Standing;
use crate::telemetry::Metrics;
use crate::web::chain;

/// One destination. All routes and generations that send there share it, and with it its connections.
pub(super) struct Target {
    pub(super) destination: Destination,
    pub(super) authority: HeaderValue,
    endpoints: Box<[Arc<Endpoint>]>,
    pub(super) opened: Counter,
    /// Made at the first https connection, as they read the system's roots: as the protocol says, and for HTTP/1.1 only.
    tls: [OnceLock<Arc<ClientConfig>>; 2],
}

/// One address of a destination.
pub(super) struct Endpoint {
    /// The pools' key.
    pub(super) id: u64,
    pub(super) address: Address,
    pub(super) name: Box<str>,
    pub(super) standing: Standing,
    pub(super) census: Arc<Census>,
    /// Requests under way, on all workers; counted where there are several addresses to choose from.
    in_flight: AtomicUsize,
    /// Whether it has chosen HTTP/2 before.
    speaks_http2: AtomicBool,
}

/// A request under way, counted until it is dropped.
pub(super) struct Load(Arc<Endpoint>);

impl Target {
    pub(super) fn new(destination: Destination, metrics: &Metrics) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let authority = destination.authority();
        let upstream = destination.label.as_deref().map_or_else(|| label(&authority), str::to_owned);
        let endpoints = destination.addresses.iter().map(|address| {
            let name = match address {
                Address::Origin(_) => address.authority(),
                Address::Unix(_) => address.to_string(),
            };
            let labelled = destination.label.as_deref().unwrap_or(&name);
            let labels = [("upstream", upstream.as_str()), ("address", labelled)];
            let healthy = metrics.gauge("claviger_upstream_healthy", &labels);
            Arc::new(Endpoint {
                id: NEXT.fetch_add(1, Ordering::Relaxed),
                address: address.clone(),
                standing: Standing::new(healthy),
                census: Arc::default(),
                name: name.into(),
                in_flight: AtomicUsize::new(0),
                speaks_http2: AtomicBool::new(false),
            })
        });
        let endpoints = endpoints.collect();
        let opened = metrics.counter("claviger_upstream_connections_total", &[("upstream", &upstream)]);
        Self { destination, authority, endpoints, opened, tls: [OnceLock::new(), OnceLock::new()] }
    }

    /// The address for the next request: of two that are well, drawn by lot, the one with less to do. Where none is
    /// well any of them is tried: what we know of them may be old, and an answer is worth more than our opinion.
    pub(super) fn pick(&self) -> Option<&Arc<Endpoint>> {
        if let [only] = &*self.endpoints { Some(only) } else { self.pick_of_several() }
    }

    fn pick_of_several(&self) -> Option<&Arc<Endpoint>> {
        let now = Instant::now();
        let count = self.endpoints.len();
        let from = |start: usize| self.endpoints.iter().cycle().skip(start).take(count);
        // one that was down and may be tried again gets one request for that
        if let Some(probe) = self.endpoints.iter().find(|endpoint| endpoint.standing.claim_trial(now)) {
            return Some(probe);
        }
        let first_well = |start: usize| from(start).find(|endpoint| endpoint.standing.is_well());
        let start = fastrand::usize(..count.max(1));
        let Some(one) = first_well(start) else { return from(start).next() };
        let other = first_well(start + 1 + fastrand::usize(..count.saturating_sub(1).max(1)));
        match other {
            Some(other) if other.in_flight() < one.in_flight() => Some(other),
            _ => Some(one),
        }
    }

    /// The other addresses to try when this one can't be reached, those that are well first.
    pub(super) fn others(&self, than: &Arc<Endpoint>) -> Vec<&Arc<Endpoint>> {
        let mut others: Vec<_> = self.endpoints.iter().filter(|endpoint| endpoint.id != than.id).collect();
        fastrand::shuffle(&mut others);
        others.sort_by_key(|endpoint| !endpoint.standing.is_well());
        others
    }

    /// A connection to this address was made.
    pub(super) fn reached(&self, endpoint: &Endpoint) {
        if endpoint.standing.reached() && self.has_several() {
            let upstream = self.name();
            tracing::info!(
                upstream.name = upstream,
                upstream.address = &*endpoint.name,
                "an upstream's address is back"
            );
        }
    }

    /// This address could not be reached. Where there are others, it is left alone for a while.
    pub(super) fn unreachable(&self, endpoint: &Endpoint, error: Option<&UpstreamError>) {
        if endpoint.standing.unreachable(Instant::now()) && self.has_several() {
            let (upstream, reason) = (self.name(), error.map(|error| chain(error)));
            tracing::warn!(
                upstream.name = upstream,
                upstream.address = &*endpoint.name,
                reason,
                "an upstream's address can't be reached, and gets no requests for a while"
            );
        }
    }

    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// What metrics call it.
    pub(super) fn label(&self) -> String {
        self.destination.label.as_deref().map_or_else(|| label(&self.authority), str::to_owned)
    }

    /// Its connections to all addresses, open and idle.
    pub(super) fn connections(&self) -> (usize, usize) {
        let censuses = || self.endpoints.iter().map(|endpoint| &endpoint.census);
        (censuses().map(|census| census.open()).sum(), censuses().map(|census| census.idle()).sum())
    }

    pub(super) fn has_several(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Its addresses, for errors and logs.
    pub(super) fn name(&self) -> String {
        self.endpoints.iter().map(|endpoint| &*endpoint.name).collect::<Vec<_>>().join(", ")
    }

    /// How TLS is begun here. A connection that shall turn into something else can only be HTTP/1.1.
    pub(super) fn tls(&self, http1_only: bool) -> &Arc<ClientConfig> {
        let Destination { protocol, trust, .. } = &self.destination;
        let [by_protocol, http1] = &self.tls;
        match protocol {
            Protocol::Auto if !http1_only => by_protocol.get_or_init(|| trust.client_config(&[b"h2", b"http/1.1"])),
            Protocol::Http2 => by_protocol.get_or_init(|| trust.client_config(&[b"h2"])),
            _ => http1.get_or_init(|| trust.client_config(&[b"http/1.1"])),
        }
    }

    /// A request to this address begins.
    pub(super) fn load(&self, endpoint: &Arc<Endpoint>) -> Option<Load> {
        self.has_several().then(|| {
            endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
            Load(Arc::clone(endpoint))
        })
    }
}

fn label(authority: &HeaderValue) -> String {
    String::from_utf8_lossy(authority.as_bytes()).into_owned()
}

impl Endpoint {
    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether connections to it are shared by requests, as far as we know.
    pub(super) fn speaks_http2(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Auto => self.speaks_http2.load(Ordering::Relaxed),
            Protocol::Http1 => false,
            Protocol::Http2 | Protocol::H2c => true,
        }
    }

    /// It has chosen.
    pub(super) fn set_speaks_http2(&self, http2: bool) {
        self.speaks_http2.store(http2, Ordering::Relaxed);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.authority).finish()
    }
}

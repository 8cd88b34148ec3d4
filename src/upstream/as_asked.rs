//! An upstream for each host that is asked for, where a route sends requests on to whichever of its hosts they name.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::uri::Authority;

use super::destination::{Address, Destination, Protocol};
use super::{Bounds, Upstream, Upstreams};
use crate::tls::Trust;

/// The upstreams of one such route: as many as were asked for lately, up to a bound.
pub struct AsAsked {
    /// Where all of them are reached; absent: each by its own name.
    endpoint: Option<Address>,
    protocol: Protocol,
    trust: Trust,
    bounds: Bounds,
    label: Box<str>,
    upstreams: Arc<Upstreams>,
    /// The last that was asked for comes first.
    known: Mutex<VecDeque<(Box<str>, Upstream)>>,
}

impl AsAsked {
    /// None yet. With an `endpoint` each host is reached there, and without one by https at port 443 of the host
    /// itself. Metrics call all of them `label`, as a name of its own for each bucket would never end.
    pub fn new(
        upstreams: &Arc<Upstreams>,
        endpoint: Option<Address>,
        protocol: Protocol,
        trust: Trust,
        bounds: Bounds,
        label: &str,
    ) -> Self {
        let (upstreams, known) = (Arc::clone(upstreams), Mutex::default());
        Self { endpoint, protocol, trust, bounds, label: label.into(), upstreams, known }
    }

    /// The upstream that is `host`: a name in lower case without a port, which whoever calls has found to be allowed.
    /// None where it is no name.
    pub fn of(&self, host: &str, is_allowed: impl FnOnce() -> bool) -> Option<Upstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.iter().position(|(name, _)| &**name == host) {
            known.swap(0, at);
            return known.front().map(|(_, upstream)| upstream.clone());
        }
        if !is_allowed() {
            return None;
        }
        let authority: Authority = host.parse().ok()?;
        let address = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://{host}").parse().ok()?,
        };
        let destination = Destination {
            host: Some(authority),
            protocol: self.protocol,
            label: Some(self.label.clone()),
            ..Destination::of(address, self.trust.clone())
        };
        let upstream = self.upstreams.of(destination, self.bounds);
        known.truncate(MOST - 1);
        known.push_front((host.into(), upstream.clone()));
        Some(upstream)
    }
}

impl fmt::Debug for AsAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsAsked").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Hosts whose connections are kept; what was not asked for the longest gives way, once its requests are over.
const MOST: usize = 64;

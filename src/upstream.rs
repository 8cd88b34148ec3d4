//! Connections to what stands behind us: pools, TLS, timeouts, upgrades.

use std::time::Duration;

use crate::tls::Trust;
use crate::web::{BoxError, Request, Response};

/// One upstream.
#[derive(Clone, Debug)]
pub struct Upstream {}

/// What an upstream is made of.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `http` or `https`, host and port; no path.
    pub origin: url::Url,
    /// What to believe where it is https.
    pub trust: Trust,
    /// For DNS, TCP and TLS together.
    pub connect: Duration,
    /// From the request's end to the answer's head.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way.
    pub idle: Duration,
}

/// Why there is no answer from upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("the upstream `{upstream}` can't be reached")]
    Unreachable {
        /// Its authority.
        upstream: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// It took too long; the text says for what.
    #[error("the upstream `{upstream}` took too long {during}")]
    TimedOut {
        /// Its authority.
        upstream: String,
        /// `to connect`, `to answer`.
        during: &'static str,
    },
    /// It broke the connection or the protocol.
    #[error("the upstream `{upstream}` broke off")]
    Broken {
        /// Its authority.
        upstream: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
}

impl Upstream {
    /// An upstream with a pool of its own on every worker.
    pub fn new(_destination: Destination) -> Self {
        unimplemented!("in the making")
    }

    /// Host and port, as `Host` would have it: the port only where it isn't the scheme's own.
    pub fn authority(&self) -> &http::HeaderValue {
        unimplemented!("in the making")
    }

    /// Sends a request in origin form and returns the answer's head with its body streaming. A request that was
    /// not sent because a pooled connection had gone is sent again once on a fresh one, if its body is at hand.
    pub async fn send(&self, _request: Request) -> Result<Response, UpstreamError> {
        unimplemented!("in the making")
    }
}

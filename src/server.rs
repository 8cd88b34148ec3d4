//! Accepting connections: workers, TLS, limits, HTTP framing, draining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::web::{Request, Response};

/// Answers requests. The request's extensions hold an `Arc<`[`Connection`](crate::web::Connection)`>`, and
/// hyper's `OnUpgrade` where one is possible.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The answer. It runs on a worker's own single-threaded runtime and must not block it.
    async fn handle(&self, request: Request) -> Response;
}

/// A bound address, not yet accepting.
#[derive(Debug)]
pub struct Listener {}

/// How a listener speaks.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The listener's name, for logs, metrics and [`Connection`](crate::web::Connection).
    pub name: Arc<str>,
    /// TLS, or plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accepting to the end of the TLS handshake.
    pub handshake: Duration,
    /// For a request's whole head.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// The threads that serve: one single-threaded runtime each.
#[derive(Debug)]
pub struct Workers {}

impl Listener {
    /// Binds; the port is taken from now on. Port 0 takes a free one.
    pub fn bind(_address: SocketAddr) -> std::io::Result<Self> {
        unimplemented!("in the making")
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        unimplemented!("in the making")
    }
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(_count: usize) -> std::io::Result<Self> {
        unimplemented!("in the making")
    }

    /// Serves a listener on every worker, until drained.
    pub fn serve(&self, _listener: Listener, _manner: Manner, _handler: Arc<dyn Handler>) {
        unimplemented!("in the making")
    }

    /// Stops accepting, lets requests under way finish for up to `grace`, then cuts.
    pub async fn drain(self, _grace: Duration) {
        unimplemented!("in the making")
    }
}

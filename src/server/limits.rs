//! How much a connection may take: time, bytes, requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// What one connection may take. A connection keeps to what was in force when it was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// From accepting, or from the end of the TLS handshake, to a request's first byte.
    pub first_byte: Duration,
    /// From accepting to the end of the TLS handshake.
    pub handshake: Duration,
    /// For a request's whole head, from its first byte on.
    pub head: Duration,
    /// For a body to bring the next [`body_bytes`](Self::body_bytes), and for a client to read the next piece of an
    /// answer.
    pub body: Duration,
    /// Bytes that a request's body must bring in each [`body`](Self::body); fewer are a client that holds on to us (A14).
    pub body_bytes: u64,
    /// Without a request, after one.
    pub idle: Duration,
    /// Without a request until a connection's buffers are given back.
    pub park: Duration,
    /// For a request's head: line and headers together (431 past it).
    pub head_bytes: usize,
    /// Header lines of a request (431 past it).
    pub headers: usize,
    /// Requests on one connection, after which it is closed in good order.
    pub requests: u32,
    /// HTTP/2 requests at once on one connection; RFC 9113 §6.5.2 advises no less than 100.
    pub streams: u32,
    /// Peers that stand for many clients, and so may have more connections than others.
    pub proxies: Arc<[IpNet]>,
}

impl Limits {
    /// How many a client may have sent that has been told to stop: those that it sent before it knew.
    pub(super) fn last_request(&self) -> u32 {
        self.requests.saturating_add(self.streams.saturating_mul(2))
    }

    /// Whether the peer stands for many clients.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|network| network.contains(&peer))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            body: Duration::from_secs(60),
            body_bytes: 1024,
            idle: Duration::from_secs(75),
            park: Duration::from_secs(1),
            head_bytes: 64 * 1024,
            headers: HYPERS_HEADERS,
            requests: 100_000,
            streams: 128,
            proxies: Arc::default(),
        }
    }
}

/// hyper's own limit, for which it needs no memory of its own.
pub(super) const HYPERS_HEADERS: usize = 100;

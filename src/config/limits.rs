//! `[limits]`: how much may be asked of this process, by one connection, one client, and all together.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use toml::Table;

use super::error::{ConfigErrors, below};
use super::{shape, some_time};
use crate::clock::duration_text;
use crate::rate::RateSettings;
use crate::server;
use crate::web::ByteCount;

/// `[limits]`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Connections there may be; absent: as many as there are descriptors for.
    pub connections: Option<usize>,
    /// Of those, from one address or IPv6 /64; absent: three quarters, so that nobody takes all. Trusted proxies are many clients and may have more.
    pub connections_per_address: Option<usize>,
    /// Requests on one connection, after which it is closed in good order.
    pub requests_per_connection: u32,
    /// Requests that are answered at once; absent: as many as there are descriptors and memory for.
    pub requests: Option<usize>,
    /// Memory near the end of which requests are refused; absent: what the control group allows.
    pub memory: Option<ByteCount>,
    /// From accepting to a first byte.
    #[serde(deserialize_with = "duration_text")]
    pub first_byte: Duration,
    /// From accepting to the end of the TLS handshake.
    #[serde(deserialize_with = "duration_text")]
    pub handshake: Duration,
    /// For a request's head.
    #[serde(deserialize_with = "duration_text")]
    pub head: Duration,
    /// For a head's size.
    pub head_bytes: ByteCount,
    /// Header lines in a head.
    pub headers: usize,
    /// For a body to bring `body_bytes`, and for a client to read the next piece of an answer.
    #[serde(deserialize_with = "duration_text")]
    pub body: Duration,
    /// What a body must bring in each `body`.
    pub body_bytes: ByteCount,
    /// Without a request.
    #[serde(deserialize_with = "duration_text")]
    pub idle: Duration,
    /// Without a request until a connection's buffers are given back.
    #[serde(deserialize_with = "duration_text")]
    pub park: Duration,
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// `[limits.rate]`
    pub rate: RateSettings,
}

impl LimitSettings {
    /// What all listeners together may take.
    pub fn most(&self) -> server::Most {
        let (connections, requests) = shares_of(server::descriptors());
        let connections = self.connections.unwrap_or(connections);
        let memory = self.memory.map(|memory| memory.0).or_else(server::memory_limit);
        server::Most {
            connections,
            connections_per_address: self
                .connections_per_address
                .unwrap_or_else(|| (connections - connections / 4).max(1)),
            requests: self.requests.unwrap_or_else(|| requests.min(memory.map_or(usize::MAX, fitting))),
            memory,
        }
    }

    /// What a connection may take on a listener that these proxies stand before.
    pub fn of_a_connection(&self, proxies: &[IpNet]) -> server::Limits {
        server::Limits {
            first_byte: self.first_byte,
            handshake: self.handshake,
            head: self.head,
            body: self.body,
            body_bytes: self.body_bytes.0,
            idle: self.idle,
            park: self.park,
            head_bytes: usize::try_from(self.head_bytes.0).unwrap_or(usize::MAX),
            headers: self.headers,
            requests: self.requests_per_connection,
            streams: self.streams,
            proxies: Arc::from(proxies),
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        let usual = server::Limits::default();
        Self {
            connections: None,
            connections_per_address: None,
            requests_per_connection: usual.requests,
            requests: None,
            memory: None,
            first_byte: usual.first_byte,
            handshake: usual.handshake,
            head: usual.head,
            head_bytes: ByteCount(usual.head_bytes as u64),
            headers: usual.headers,
            body: usual.body,
            body_bytes: ByteCount(usual.body_bytes),
            idle: usual.idle,
            park: usual.park,
            streams: usual.streams,
            rate: RateSettings::default(),
        }
    }
}

/// The section, with an error for each limit that lets nothing through.
pub(super) fn read(table: Table, errors: &mut ConfigErrors) -> LimitSettings {
    let limits: LimitSettings = shape::read(table, "limits", errors).unwrap_or_default();
    let times = [
        ("first_byte", limits.first_byte),
        ("handshake", limits.handshake),
        ("head", limits.head),
        ("body", limits.body),
        ("idle", limits.idle),
    ];
    for (key, length) in times {
        some_time(&below("limits", key), length, errors);
    }
    let counts = [
        ("connections", limits.connections.unwrap_or(1) as u64, 1),
        ("connections_per_address", limits.connections_per_address.unwrap_or(1) as u64, 1),
        ("requests_per_connection", limits.requests_per_connection.into(), 1),
        ("requests", limits.requests.unwrap_or(1) as u64, 1),
        ("memory", limits.memory.map_or(LEAST_MEMORY, |memory| memory.0), LEAST_MEMORY),
        ("head_bytes", limits.head_bytes.0, LEAST_HEAD),
        ("headers", limits.headers as u64, 16),
        ("streams", limits.streams.into(), 1),
    ];
    for (key, found, least) in counts {
        if found < least {
            errors.add(below("limits", key), format!("is {found}; expected at least {least}"));
        }
    }
    if limits.head_bytes.0 > MOST_HEAD {
        errors.add("limits.head_bytes", format!("is {}; expected at most {MOST_HEAD}", limits.head_bytes.0));
    }
    limits
}

/// Of so many descriptors: for connections, and for requests, each of which may need a connection to its upstream. The
/// rest is for listeners, files, health and metrics.
fn shares_of(descriptors: usize) -> (usize, usize) {
    let ours = (descriptors / 2).min(OURS);
    let left = descriptors - ours;
    ((left / 4 * 3).max(1), (left / 4).max(1))
}

/// Requests for which there is so much memory, when nobody reads what is answered: memory is looked at once a second, and
/// would have ended before (A37).
fn fitting(memory: u64) -> usize {
    usize::try_from(memory / 4 * 3 / UNREAD).unwrap_or(usize::MAX).max(1)
}

/// What a request holds whose answer is not read: what waits to be written, and what was read ahead from the upstream.
const UNREAD: u64 = 384 * 1024;
/// Descriptors that are neither a client's nor for an upstream.
const OURS: usize = 64;
/// hyper reads heads into a buffer of no less.
const LEAST_HEAD: u64 = 8 * 1024;
/// More is no head.
const MOST_HEAD: u64 = 1024 * 1024;
/// With less nothing could be served.
const LEAST_MEMORY: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_out_and_none_twice() {
        for (descriptors, connections, requests) in
            [(64, 24, 8), (1024, 720, 240), (20_000, 14_952, 4_984), (2, 1, 1), (0, 1, 1)]
        {
            assert_eq!(shares_of(descriptors), (connections, requests), "{descriptors}");
        }
        let (connections, requests) = shares_of(usize::MAX);
        assert!(connections < usize::MAX - requests);
    }

    #[test]
    fn a37_no_more_requests_are_let_in_than_memory_is_for() {
        for (mib, requests) in [(128, 256), (512, 1024), (0, 1)] {
            assert_eq!(fitting(mib << 20), requests, "{mib}");
        }
        let small = LimitSettings { memory: Some(ByteCount(32 << 20)), ..LimitSettings::default() };
        assert!(small.most().requests <= 64);
        assert_eq!(LimitSettings { requests: Some(9_000), ..small }.most().requests, 9_000);
    }
}

//! `[limits]`: how much may be asked of this process, by one connection, one client, and all together.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use toml::Table;

use super::error::{ConfigErrors, below};
use super::{shape, some_time};
use crate::clock::duration_text;
use crate::rate::RateSettings;
use crate::server;

/// `[limits]`
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Connections there may be; absent: as many as there are descriptors for.
    pub connections: Option<usize>,
    /// Of those, from one address or IPv6 /64; absent: half. Trusted proxies are many clients and may have more.
    pub connections_per_address: Option<usize>,
    /// Requests on one connection, after which it is closed in good order.
    pub requests_per_connection: u32,
    /// Requests that are answered at once; absent: as many as there are descriptors for.
    pub requests: Option<usize>,
    /// Memory, in bytes, near the end of which requests are refused; absent: what the control group allows.
    #[serde(deserialize_with = "optional_size")]
    pub memory: Option<u64>,
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
    #[serde(deserialize_with = "size")]
    pub head_bytes: u64,
    /// Header lines in a head.
    pub headers: usize,
    /// For a body to bring `body_bytes`, and for a client to read the next piece of an answer.
    #[serde(deserialize_with = "duration_text")]
    pub body: Duration,
    /// What a body must bring in each `body`.
    #[serde(deserialize_with = "size")]
    pub body_bytes: u64,
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
        server::Most {
            connections,
            connections_per_address: self.connections_per_address.unwrap_or_else(|| (connections / 2).max(1)),
            requests: self.requests.unwrap_or(requests),
            memory: self.memory.or_else(server::memory_limit),
        }
    }

    /// What a connection may take on a listener that these proxies stand before.
    pub fn of_a_connection(&self, proxies: &[IpNet]) -> server::Limits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        server::Limits {
            first_byte: self.first_byte,
            handshake: self.handshake,
            head: self.head,
            body: self.body,
            body_bytes: self.body_bytes,
            idle: self.idle,
            park: self.park,
            head_bytes: bytes(self.head_bytes),
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
            head_bytes: usual.head_bytes as u64,
            headers: usual.headers,
            body: usual.body,
            body_bytes: usual.body_bytes,
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
        ("memory", limits.memory.unwrap_or(LEAST_MEMORY), LEAST_MEMORY),
        ("head_bytes", limits.head_bytes, LEAST_HEAD),
        ("headers", limits.headers as u64, 16),
        ("streams", limits.streams.into(), 1),
    ];
    for (key, found, least) in counts {
        if found < least {
            errors.add(below("limits", key), format!("is {found}; expected at least {least}"));
        }
    }
    if limits.head_bytes > MOST_HEAD {
        errors.add("limits.head_bytes", format!("is {}; expected at most {MOST_HEAD}", limits.head_bytes));
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

/// `64KiB`, or a number of bytes.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a size such as \"64KiB\" or \"512MiB\", or a number of bytes")]
    enum Written {
        Bytes(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Bytes(bytes) => Ok(bytes),
        Written::Text(text) => parse_size(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no size; expected something like 64KiB, 512MiB or 2GiB"))
        }),
    }
}

fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

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
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in
            [("64KiB", Some(65_536)), ("2GiB", Some(2 << 30)), ("64", None), ("1kb", None), ("KiB", None)]
        {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}

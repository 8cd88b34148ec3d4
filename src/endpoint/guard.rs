//! Requests that no SDK sends: a web page's, and those that somebody was tricked into passing on.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HOST, HeaderName, ORIGIN};

/// Why a request is not an SDK's, where it is not.
pub fn objection(headers: &HeaderMap, at: SocketAddr) -> Option<&'static str> {
    // DNS rebinding: the page's own name has come to mean this address (A22)
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_here(host, at) {
        return Some("the host is not this endpoint's address");
    }
    // browsers say whose page asks, and no SDK is one (A22)
    if headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")) {
        return Some("a browser asks");
    }
    // who passes on what others asked for is no SDK of this workload (A23)
    let is_passed_on = headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED);
    is_passed_on.then_some("a proxy passed it on")
}

/// Whether `host` is the very address, or `localhost` where that is on loopback, and the port to the letter.
fn is_here(host: &str, at: SocketAddr) -> bool {
    if host.parse() == Ok(at) {
        return true;
    }
    if at.ip().is_loopback() && host.strip_prefix("localhost").is_some_and(|rest| is_port(rest, at)) {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    at.port() == HTTP && host.starts_with('[') == at.is_ipv6() && bare.parse::<IpAddr>() == Ok(at.ip())
}

fn is_port(text: &str, at: SocketAddr) -> bool {
    match text.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse() == Ok(at.port()),
        None => text.is_empty() && at.port() == HTTP,
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The port that clients don't write.
const HTTP: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_only_the_very_host_is_ours() {
        for (host, at, is_ours) in [
            ("127.0.0.1:9911", "127.0.0.1:9911", true),
            ("localhost:9911", "127.0.0.1:9911", true),
            ("localhost:9911", "[::1]:9911", true),
            ("[::1]:9911", "[::1]:9911", true),
            ("169.254.170.2", "169.254.170.2:80", true),
            ("169.254.170.2:80", "169.254.170.2:80", true),
            ("[fd00:ec2::23]", "[fd00:ec2::23]:80", true),
            ("", "127.0.0.1:9911", false),
            ("evil.test", "127.0.0.1:9911", false),
            ("evil.test:9911", "127.0.0.1:9911", false),
            ("127.0.0.1.nip.io:9911", "127.0.0.1:9911", false),
            ("localhost.evil.test:9911", "127.0.0.1:9911", false),
            ("localhost:9912", "127.0.0.1:9911", false),
            ("localhost.:9911", "127.0.0.1:9911", false),
            ("127.0.0.1.:9911", "127.0.0.1:9911", false),
            ("localhost", "127.0.0.1:9911", false),
            ("localhost:+9911", "127.0.0.1:9911", false),
            ("127.0.0.1", "127.0.0.1:9911", false),
            ("127.0.0.2:9911", "127.0.0.1:9911", false),
            ("2130706433:9911", "127.0.0.1:9911", false),
            ("0177.0.0.1:9911", "127.0.0.1:9911", false),
            ("localhost", "169.254.170.2:80", false),
            ("::1", "[::1]:80", false),
        ] {
            assert_eq!(is_here(host, at.parse().unwrap()), is_ours, "{host} at {at}");
        }
    }
}

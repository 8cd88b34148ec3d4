//! Requests that no SDK sends: a web page's, and those that somebody was tricked into passing on.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HOST, HeaderName, ORIGIN};

/// Why a request is not an SDK's, where it is not.
pub fn objection(headers: &HeaderMap, at: Option<SocketAddr>) -> Option<&'static str> {
    objection_by(headers, |host| at.map_or_else(|| host == LOCALHOST, |at| is_here(host, at)))
}

/// The same where pods may call the endpoint by the addresses of the EKS Pod Identity Agent, at whichever port: what they
/// send there may be led here.
pub(super) fn objection_for_pods(headers: &HeaderMap, at: Option<SocketAddr>) -> Option<&'static str> {
    objection_by(headers, |host| is_pod_identity_agent(host) || at.is_some_and(|at| is_here(host, at)))
}

fn objection_by(headers: &HeaderMap, is_ours: impl FnOnce(&str) -> bool) -> Option<&'static str> {
    // DNS rebinding: the page's own name has come to mean this address (A22)
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_ours) {
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
    if at.ip().is_loopback() && host.strip_prefix(LOCALHOST).is_some_and(|rest| is_port(rest, at)) {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    at.port() == HTTP && host.starts_with('[') == at.is_ipv6() && bare.parse::<IpAddr>() == Ok(at.ip())
}

fn is_pod_identity_agent(host: &str) -> bool {
    let rest = POD_IDENTITY_AGENT.iter().find_map(|address| host.strip_prefix(address));
    rest.is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|read| read.to_string() == port))
    })
}

fn is_port(text: &str, at: SocketAddr) -> bool {
    match text.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse() == Ok(at.port()),
        None => text.is_empty() && at.port() == HTTP,
    }
}

/// As clients write them in `Host`.
const POD_IDENTITY_AGENT: [&str; 2] = ["169.254.170.23", "[fd00:ec2::23]"];
/// What clients call the other end of a Unix socket.
const LOCALHOST: &str = "localhost";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The port that clients don't write.
const HTTP: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_a_socket_has_one_host() {
        for (host, is_ours) in [("localhost", true), ("localhost:80", false), ("evil.test", false), ("", false)] {
            let headers = [(HOST, host.parse().unwrap())].into_iter().collect();
            assert_eq!(objection(&headers, None).is_none(), is_ours, "{host}");
        }
    }

    #[test]
    fn a22_pods_may_call_the_agents_addresses_too() {
        let at = "127.0.0.1:9913".parse().unwrap();
        for (host, is_ours) in [
            ("169.254.170.23", true),
            ("169.254.170.23:80", true),
            ("169.254.170.23:9913", true),
            ("[fd00:ec2::23]", true),
            ("[fd00:ec2::23]:80", true),
            ("127.0.0.1:9913", true),
            ("localhost:9913", true),
            ("127.0.0.1:80", false),
            ("127.0.0.1", false),
            ("fd00:ec2::23", false),
            ("169.254.170.2", false),
            ("169.254.170.234", false),
            ("169.254.170.23.", false),
            ("169.254.170.23.evil.test", false),
            ("169.254.170.23:", false),
            ("169.254.170.23:+80", false),
            ("169.254.170.23:080", false),
            ("169.254.170.23:99999", false),
            ("169.254.170.23:80@evil.test", false),
            ("evil.test", false),
            ("", false),
        ] {
            let headers = [(HOST, host.parse().unwrap())].into_iter().collect();
            assert_eq!(objection_for_pods(&headers, Some(at)).is_none(), is_ours, "{host}");
        }
    }

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

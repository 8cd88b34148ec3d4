//! Addresses as people write them: which stay on this machine, and which make a network.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use url::Host;

/// Whether what is sent to this host stays on this machine: `localhost` and every name below it (RFC 6761 §6.3),
/// 127.0.0.0/8 and `::1`. Only there may secrets travel by plain http.
pub fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost" || name.as_ref().ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// `10.0.0.0/8`, or one address.
///
/// # Errors
/// What was found and what was expected.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("`{text}` is not a network; expected something like 10.0.0.0/8, fd00::/8 or 192.0.2.7"))
}

/// What one client has to itself: an IPv4 address, or an IPv6 /64 (RFC 6177 §2).
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine_and_nothing_that_looks_like_it() {
        for (host, is) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("[::1]", true),
            ("notlocalhost", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("[::]", false),
            ("[fd00::1]", false),
        ] {
            assert_eq!(is_loopback(&Host::parse(host).unwrap()), is, "{host}");
        }
    }

    #[test]
    fn a_network_is_a_prefix_or_one_address() {
        for (text, prefix) in [("10.0.0.0/8", 8), ("192.0.2.7", 32), ("fd00::/8", 8), ("::1", 128)] {
            assert_eq!(network(text).map(|network| network.prefix_len()), Ok(prefix), "{text}");
        }
        for text in ["", "here", "10.0.0.0/33", "10.0.0", "10.0.0.0/8 "] {
            assert!(network(text).unwrap_err().contains("is not a network"), "{text}");
        }
    }
}

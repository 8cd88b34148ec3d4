//! Which addresses an outgoing request may reach (A19).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How close to us an address is. The order is what a redirected or referenced URL may not climb.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Closeness {
    /// Anyone on the internet may be there.
    Public,
    /// A private network, or one that is not routed on the internet.
    Private,
    /// This machine.
    Loopback,
}

/// How close an address is; none for those that no request of ours has any business with: link-local addresses and
/// the metadata services of clouds, which hand out credentials to whoever asks.
pub(super) fn closeness(address: IpAddr) -> Option<Closeness> {
    match address {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => of_v4(v4),
            None => of_v6(v6),
        },
    }
}

/// Whether this is where a machine or container is given its own keys: ECS, EKS pod identity, EC2 instance metadata, or
/// an agent on this machine (AWS SDKs reference, container credential provider).
pub(super) fn gives_credentials(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || AWS_CREDENTIALS_V4.contains(&v4),
        IpAddr::V6(v6) => v6.is_loopback() || AWS_CREDENTIALS_V6.contains(&v6),
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Closeness> {
    let [a, b, c, _] = address.octets();
    if address.is_link_local() || METADATA_V4.contains(&address) {
        return None;
    }
    Some(match (a, b, c) {
        // 0.0.0.0 connects to this machine
        (0 | 127, ..) => Closeness::Loopback,
        // RFC 1918, RFC 6598 (carrier NAT, also Kubernetes), RFC 6890, RFC 2544, and what is no unicast address
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) => {
            Closeness::Private
        }
        (224.., ..) => Closeness::Private,
        _ => Closeness::Public,
    })
}

fn of_v6(address: Ipv6Addr) -> Option<Closeness> {
    let [first, second, ..] = address.segments();
    if first & 0xffc0 == 0xfe80 || (first, second) == AWS_METADATA_V6 || METADATA_V6.contains(&address) {
        return None;
    }
    Some(if address.is_loopback() || address.is_unspecified() {
        Closeness::Loopback
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 || address.is_multicast() {
        // RFC 4193, and the older site-local range of RFC 3879
        Closeness::Private
    } else {
        Closeness::Public
    })
}

/// The IPv4 address that an IPv6 address leads to: mapped and compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052), 6to4
/// (RFC 3056). Otherwise `::ffff:169.254.169.254` would pass as a public address.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Azure's wire server, Alibaba's and Oracle's metadata services; the others are link-local.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// `fd00:ec2::/32`: AWS's instance metadata, DNS, time and EKS pod identity.
const AWS_METADATA_V6: (u16, u16) = (0xfd00, 0x0ec2);
/// ECS, EKS pod identity and EC2 instance metadata.
const AWS_CREDENTIALS_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 170, 2), Ipv4Addr::new(169, 254, 170, 23), Ipv4Addr::new(169, 254, 169, 254)];
/// EKS pod identity and EC2 instance metadata.
const AWS_CREDENTIALS_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)];
/// Google's instance metadata.
const METADATA_V6: [Ipv6Addr; 1] = [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_few_places() {
        for (address, expected) in [
            ("169.254.170.2", true),
            ("169.254.170.23", true),
            ("169.254.169.254", true),
            ("fd00:ec2::23", true),
            ("fd00:ec2::254", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("169.254.170.3", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("93.184.216.34", false),
            ("fd00:ec2::253", false),
            ("::ffff:93.184.216.34", false),
        ] {
            assert_eq!(gives_credentials(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn every_range_has_its_closeness() {
        use Closeness::{Loopback, Private, Public};
        for (address, expected) in [
            ("93.184.216.34", Some(Public)),
            ("2606:2800:220:1::1", Some(Public)),
            ("10.1.2.3", Some(Private)),
            ("172.16.0.1", Some(Private)),
            ("172.32.0.1", Some(Public)),
            ("192.168.1.1", Some(Private)),
            ("100.64.0.1", Some(Private)),
            ("224.0.0.1", Some(Private)),
            ("255.255.255.255", Some(Private)),
            ("fd12:3456::1", Some(Private)),
            ("fec0::1", Some(Private)),
            ("127.0.0.1", Some(Loopback)),
            ("127.255.0.1", Some(Loopback)),
            ("0.0.0.0", Some(Loopback)),
            ("::1", Some(Loopback)),
            ("::", Some(Loopback)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("::ffff:10.0.0.1", Some(Private)),
            ("::ffff:93.184.216.34", Some(Public)),
            ("64:ff9b::10.0.0.1", Some(Private)),
            ("2002:7f00:1::", Some(Loopback)),
            ("169.254.169.254", None),
            ("169.254.170.2", None),
            ("::ffff:169.254.169.254", None),
            ("::169.254.169.254", None),
            ("64:ff9b::169.254.169.254", None),
            ("2002:a9fe:a9fe::", None),
            ("fe80::1", None),
            ("febf::1", None),
            ("fd00:ec2::254", None),
            ("fd00:ec2::23", None),
            ("fd20:ce::254", None),
            ("168.63.129.16", None),
            ("100.100.100.200", None),
        ] {
            assert_eq!(closeness(address.parse().unwrap()), expected, "{address}");
        }
    }
}

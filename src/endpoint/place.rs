//! Where an endpoint may be bound: addresses that SDKs send credentials' tokens to, and that nobody else reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A loopback address, or one of the link-local ones that AWS has for this: never one that others reach (A26).
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address: SocketAddr = text.parse().map_err(|_| {
            D::Error::custom(format!("`{text}` is not an address; expected something like 127.0.0.1:9911"))
        })?;
        if address.ip().is_loopback() || LINK_LOCAL.contains(&address.ip()) {
            return Ok(Self(address));
        }
        Err(D::Error::custom(format!(
            "{address} is not on this machine alone; expected a loopback address, 169.254.170.2, 169.254.170.23 or \
             fd00:ec2::23"
        )))
    }
}

/// Those of the ECS agent and of the EKS Pod Identity Agent. They must be there already: claviger adds none.
const LINK_LOCAL: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::parse_table;

    #[derive(Debug, Deserialize)]
    struct Section {
        address: Place,
    }

    #[test]
    fn a26_only_this_machine_reaches_an_endpoint() {
        for (address, is_taken) in [
            ("127.0.0.1:9911", true),
            ("[::1]:9911", true),
            ("169.254.170.2:80", true),
            ("169.254.170.23:80", true),
            ("[fd00:ec2::23]:80", true),
            ("0.0.0.0:9911", false),
            ("[::]:9911", false),
            ("169.254.169.254:80", false),
            ("10.0.0.1:80", false),
            ("localhost:9911", false),
        ] {
            let read = parse_table::<Section>(toml::toml! { address = address });
            assert_eq!(read.is_ok(), is_taken, "{address}");
            assert!(read.is_err() || read.is_ok_and(|read| read.address.0.to_string() == address));
        }
    }
}

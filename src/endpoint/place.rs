//! Where an endpoint may be bound: addresses that SDKs send credentials' tokens to, and that nobody else reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A loopback address, or one of the link-local ones that AWS has for agents: never one that others reach (A26).
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) SocketAddr);

/// The same with the addresses of the instance metadata service.
#[derive(Clone, Copy, Debug)]
pub(super) struct InstancePlace(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        among(&AGENTS, deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for InstancePlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        among(&INSTANCE, deserializer).map(Self)
    }
}

fn among<'de, D: Deserializer<'de>>(link_local: &[IpAddr], deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address: SocketAddr = text
        .parse()
        .map_err(|_| D::Error::custom(format!("`{text}` is not an address; expected something like 127.0.0.1:9911")))?;
    if address.ip().is_loopback() || link_local.contains(&address.ip()) {
        return Ok(address);
    }
    let (last, others) = link_local.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
    let others: String = others.iter().map(|address| format!(", {address}")).collect();
    let last = last.map_or_else(String::new, |last| format!(" or {last}"));
    Err(D::Error::custom(format!("{address} is not on this machine alone; expected a loopback address{others}{last}")))
}

/// Those of the ECS agent and of the EKS Pod Identity Agent. They must be there already: claviger adds none.
const AGENTS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];
/// Those of the instance metadata service, likewise.
const INSTANCE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::parse_table;

    #[derive(Debug, Deserialize)]
    struct Section<P> {
        address: P,
    }

    /// The address and whether an agent's endpoint, or an instance's, may be there.
    #[test]
    fn a26_only_this_machine_reaches_an_endpoint() {
        for (address, agent, instance) in [
            ("127.0.0.1:9911", true, true),
            ("[::1]:9911", true, true),
            ("169.254.170.2:80", true, false),
            ("169.254.170.23:80", true, false),
            ("[fd00:ec2::23]:80", true, false),
            ("169.254.169.254:80", false, true),
            ("[fd00:ec2::254]:80", false, true),
            ("0.0.0.0:9911", false, false),
            ("[::]:9911", false, false),
            ("10.0.0.1:80", false, false),
            ("localhost:9911", false, false),
        ] {
            let read = parse_table::<Section<Place>>(toml::toml! { address = address });
            assert_eq!(read.is_ok(), agent, "{address}");
            assert!(read.is_err() || read.is_ok_and(|read| read.address.0.to_string() == address));
            let read = parse_table::<Section<InstancePlace>>(toml::toml! { address = address });
            assert_eq!(read.is_ok(), instance, "{address}");
            assert!(read.is_err() || read.is_ok_and(|read| read.address.0.to_string() == address));
        }
    }
}

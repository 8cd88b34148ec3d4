//! From a name to a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;
use url::{Host, Url};

use crate::web::BoxError;

/// A connection to the URL's host and port. Names are looked up anew each time, so that we follow where they move.
pub(super) async fn dial(url: &Url) -> Result<TcpStream, BoxError> {
    let port = url.port_or_known_default().ok_or("its URL has no port")?;
    match url.host().ok_or("its URL has no host")? {
        Host::Ipv4(address) => Ok(TcpStream::connect((address, port)).await?),
        Host::Ipv6(address) => Ok(TcpStream::connect((address, port)).await?),
        Host::Domain(name) => Ok(Box::pin(first_of(in_turns(lookup_host((name, port)).await?.collect()))).await?),
    }
}

/// IPv6 and IPv4 in turns, beginning with the resolver's own first, so that a family that leads nowhere costs one head
/// start (RFC 8305 §4).
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (same, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    loop {
        match (same.next(), other.next()) {
            (None, None) => return turns,
            (one, another) => turns.extend(one.into_iter().chain(another)),
        }
    }
}

/// The first that connects. Each has a head start before the next, unless it fails (RFC 8305 §5).
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no addresses");
    loop {
        let begun = left.next().map(|address| attempts.push(TcpStream::connect(address))).is_some();
        if !begun && attempts.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            biased;
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = sleep(HEAD_START), if begun => {}
        }
    }
}

/// As RFC 8305 §8 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let order = |list: &[&str]| {
            in_turns(list.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1"]),
            ["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"]
        );
        assert_eq!(order(&["1.0.0.1:1", "1.0.0.2:1", "[::1]:1"]), ["1.0.0.1:1", "[::1]:1", "1.0.0.2:1"]);
        assert_eq!(order(&[]), [""; 0]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(first_of(vec![refused, there]).await.unwrap().peer_addr().unwrap(), there);
        assert_eq!(first_of(vec![refused]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(first_of(vec![]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

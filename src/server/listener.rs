//! A place that is taken, not yet accepting: an address or a Unix socket.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::socket_file::{self, SocketFile};

/// A bound address or Unix socket, not yet accepting.
#[derive(Debug)]
pub struct Listener(Bound);

#[derive(Debug)]
enum Bound {
    Address(std::net::TcpListener),
    Socket(std::os::unix::net::UnixListener, SocketFile),
}

/// A listener that accepts. The file of a Unix socket goes with it.
pub(super) enum Accepting {
    Address(tokio::net::TcpListener),
    Socket(tokio::net::UnixListener, #[expect(dead_code, reason = "it is there to be dropped")] SocketFile),
}

/// A connection that was accepted, of no worker yet.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Binds; the port is taken from now on, and nobody else can share it. Port 0 takes a free one.
    ///
    /// # Errors
    /// The system's: the port is taken, or not ours to take.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Only over TIME_WAIT, for a quick restart. Never SO_REUSEPORT: it would let a second process of this user
        // take part of our connections (A24, A26).
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self(Bound::Address(socket.into())))
    }

    /// Binds a Unix socket in a folder that only root or we can write. Who may connect: this user and root, or
    /// everybody where `for_all`. A socket that a process has left when it ended is replaced, one that is answered never
    /// is. The file goes when nothing is accepted any more.
    ///
    /// # Errors
    /// The system's; `AddrInUse` where somebody listens there; `PermissionDenied` where others can write a folder on the
    /// way.
    pub fn bind_socket(path: &Path, for_all: bool) -> io::Result<Self> {
        let (listener, file) = socket_file::bind(path, for_all)?;
        Ok(Self(Bound::Socket(listener, file)))
    }

    /// How many routers what is sent may pass, the TTL of IPv4 and the hop limit of IPv6: with 1 it never leaves this
    /// network (A23). The connections that are accepted have it from the listener. A Unix socket passes none.
    ///
    /// # Errors
    /// The system's.
    pub fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        match &self.0 {
            Bound::Address(listener) if listener.local_addr()?.is_ipv6() => {
                SockRef::from(listener).set_unicast_hops_v6(hops.into())
            }
            Bound::Address(listener) => SockRef::from(listener).set_ttl_v4(hops.into()),
            Bound::Socket(..) => Ok(()),
        }
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The system's; a Unix socket has no address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Bound::Address(listener) => listener.local_addr(),
            Bound::Socket(..) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// The same on the event queue of the worker that this runs on.
    pub(super) fn accepting(self) -> io::Result<Accepting> {
        Ok(match self.0 {
            Bound::Address(listener) => Accepting::Address(tokio::net::TcpListener::from_std(listener)?),
            Bound::Socket(listener, file) => Accepting::Socket(tokio::net::UnixListener::from_std(listener)?, file),
        })
    }
}

impl Accepting {
    /// The next connection, off this worker's event queue, as another worker may get it. Whoever comes by a Unix socket
    /// is on this machine, and comes from no port.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, SocketAddr)> {
        match self {
            Self::Address(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Accepted::Tcp(stream.into_std()?), peer))
            }
            Self::Socket(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream.into_std()?), (Ipv4Addr::LOCALHOST, 0).into()))
            }
        }
    }
}

impl Accepted {
    /// Writes what the socket's buffer takes, and waits for nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// A24, A26: whatever options a second one of the same user tries, the port has one owner.
    #[test]
    fn a26_a_port_is_shared_with_nobody() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let ours = Listener::bind(any.parse().unwrap()).unwrap();
            let at = ours.local_addr().unwrap();
            for address in
                [at, SocketAddr::new(if at.is_ipv6() { "::" } else { "0.0.0.0" }.parse().unwrap(), at.port())]
            {
                for (reuse_address, reuse_port) in [(false, false), (true, false), (false, true), (true, true)] {
                    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
                    socket.set_reuse_address(reuse_address).unwrap();
                    socket.set_reuse_port(reuse_port).unwrap();
                    let taken = socket.bind(&address.into()).and_then(|()| socket.listen(1));
                    let kind = taken.map_err(|error| error.kind());
                    assert_eq!(kind, Err(io::ErrorKind::AddrInUse), "{address} {reuse_address} {reuse_port}");
                }
            }
        }
    }

    /// A23: what answers a connection has the listener's hop limit.
    #[test]
    fn a23_connections_have_the_listeners_hop_limit() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = Listener::bind(any.parse().unwrap()).unwrap();
            listener.set_hop_limit(1).unwrap();
            let Bound::Address(accepting) = &listener.0 else { panic!("an address") };
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, peer) = accepting.accept().unwrap();
            let socket = SockRef::from(&stream);
            let hops = if peer.is_ipv6() { socket.unicast_hops_v6() } else { socket.ttl_v4() };
            assert_eq!(hops.unwrap(), 1, "{any}");
        }
    }
}

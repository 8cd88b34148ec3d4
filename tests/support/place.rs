//! A port of this machine that stays one's own, whether or not anything listens there.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A reserved port on 127.0.0.1.
///
/// The socket is bound and never listens: connections are refused, nobody else is given the port, and a listener may
/// join in, as both allow the address to be reused. So a config can name a port before its process has bound it, and a
/// service can stop and come back where it was.
pub struct Place {
    at: SocketAddr,
    _socket: Socket,
}

impl Place {
    /// A free one.
    pub fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
        Self { at, _socket: socket }
    }

    /// Its address.
    pub fn at(&self) -> SocketAddr {
        self.at
    }
}

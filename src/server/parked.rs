//! Connections that wait for their next request without buffers: most of a busy site's connections do.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::drain::Drain;

/// A stream that can be waited on without reading from it.
pub(super) trait Park: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What the system tells of. It is believed only after a read that had to wait: until then something may be
    /// buffered above it.
    fn socket(&self) -> &TcpStream;
}

impl Park for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Park for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The stream again when something comes within `limit`; closed politely when nothing does, or at the drain.
pub(super) async fn until_readable<S: Park>(mut stream: S, limit: Duration, drain: &Drain) -> Option<S> {
    let readable = tokio::select! {
        biased;
        () = drain.begun() => false,
        readable = timeout(limit, stream.socket().readable()) => matches!(readable, Ok(Ok(()))),
    };
    if readable {
        return Some(stream);
    }
    let _: Result<_, _> = timeout(LINGER, stream.shutdown()).await; // whatever it says, the connection ends here
    None
}

/// For TLS to say that this is the end.
const LINGER: Duration = Duration::from_secs(2);

//! Opening a connection to an upstream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use super::body::Outgoing;
use super::pool::Lease;
use super::{Upstream, UpstreamError};
use crate::web::BoxError;

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// Requests one after another.
    Pooled,
    /// One request that may turn the connection into something else.
    Upgrade,
}

impl Upstream {
    /// A fresh connection, within the time for it.
    pub(super) async fn connect(&self, what: Use) -> Result<Lease, UpstreamError> {
        match tokio::time::timeout(self.0.destination.connect, self.open(what)).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(source)) => Err(UpstreamError::Unreachable { upstream: self.name(), source }),
            Err(_) => Err(self.timed_out("to connect")),
        }
    }

    async fn open(&self, what: Use) -> Result<Lease, BoxError> {
        let url = &self.0.destination.origin;
        let port = url.port_or_known_default().ok_or("its URL has no port")?;
        // names are looked up anew for each connection, so that we follow where they move
        let (stream, name) = match url.host().ok_or("its URL has no host")? {
            Host::Domain(name) => (TcpStream::connect((name, port)).await?, ServerName::try_from(name.to_owned())?),
            Host::Ipv4(address) => (TcpStream::connect((address, port)).await?, ServerName::from(address)),
            Host::Ipv6(address) => (TcpStream::connect((address, port)).await?, ServerName::from(address)),
        };
        stream.set_nodelay(true)?;
        if url.scheme() == "https" {
            let config = self.0.tls.get_or_init(|| self.0.destination.trust.client_config(&[b"http/1.1"]));
            let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
            self.begin(stream, what).await
        } else {
            self.begin(stream, what).await
        }
    }

    async fn begin<S>(&self, stream: S, what: Use) -> Result<Lease, BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(Listening { stream, deaf: false });
        let mut builder = Builder::new();
        builder.writev(false).max_header_size(HEAD_LIMIT); // one buffer: heads are small, and bodies go the other way
        let (sender, connection) = builder.handshake::<_, Outgoing>(stream).await?;
        // Driven by a task of its own, so that a close is seen while the connection is idle. Its error reaches who
        // waits for an answer; without one it is of no interest.
        let task = match what {
            Use::Pooled => tokio::spawn(async { drop(connection.await) }),
            Use::Upgrade => tokio::spawn(async { drop(connection.with_upgrades().await) }),
        };
        Ok(Lease::new(sender, task.abort_handle(), (what == Use::Pooled).then_some(self.0.id)))
    }
}

/// A stream that goes on listening when it can't speak any more. An upstream that refuses a large request answers and
/// closes: we learn of the close by a failing write, but the answer is there to be read.
struct Listening<S> {
    stream: S,
    /// Whether the other side has stopped to read.
    deaf: bool,
}

impl<S> Listening<S> {
    /// What was not taken counts as written; the reading side then tells how it ended.
    fn or_deaf<T>(&mut self, result: Poll<io::Result<T>>, instead: T) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match result {
            Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                self.deaf = true;
                Poll::Ready(Ok(instead))
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.or_deaf(result, buf.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_deaf(result, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// For an answer's head; an upstream can't make us hold more.
const HEAD_LIMIT: usize = 64 * 1024;

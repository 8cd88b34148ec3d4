//! Opening a connection to an upstream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::body::Outgoing;
use super::census::Census;
use super::destination::{Address, Protocol};
use super::dial::dial;
use super::driver::Driver;
use super::lease::{Connection, Http1, Http2, Lease, MOST_STREAMS, Streams};
use super::listening::{Allowance, Listening};
use super::pool;
use super::target::{Endpoint, Target};
use crate::web::BoxError;

/// What a connection is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// Requests one after another, or beside each other.
    Pooled,
    /// One request, of which nobody else is to know.
    Once,
    /// One request that may turn the connection into something else.
    Upgrade,
}

impl Target {
    /// A connection to one address: a fresh one, or one that somebody else has just opened and shares.
    pub(super) async fn open(&self, endpoint: &Arc<Endpoint>, what: Use) -> Result<Lease, BoxError> {
        if what != Use::Pooled {
            let connection = self.fresh(endpoint, what).await?;
            return Ok(Lease::new(connection, None));
        }
        let gate = pool::open_for(endpoint);
        // where one connection is enough for all, they don't all open one
        let held = if endpoint.speaks_http2(self.destination.protocol) { Some(gate.lock().await) } else { None };
        if held.is_some()
            && let Some(lease) = pool::take(endpoint, Instant::now())
        {
            return Ok(lease);
        }
        let connection = match self.fresh(endpoint, what).await? {
            Connection::Http2(shared) => {
                let stream = shared.stream();
                pool::share(endpoint, shared);
                Connection::Http2(stream)
            }
            connection @ Connection::Http1(_) => connection,
        };
        Ok(Lease::new(connection, Some(endpoint.id)))
    }

    async fn fresh(&self, endpoint: &Arc<Endpoint>, what: Use) -> Result<Connection, BoxError> {
        let http2 = self.destination.protocol == Protocol::H2c;
        let connection = match &endpoint.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                begin(stream, endpoint, http2, Scheme::HTTP, what).await?
            }
            Address::Origin(url) => {
                let stream = dial(url).await?;
                stream.set_nodelay(true)?;
                if endpoint.address.is_https() {
                    let name = self.server_name(url)?;
                    let config = Arc::clone(self.tls(what == Use::Upgrade));
                    let stream = TlsConnector::from(config).connect(name, stream).await?;
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    if self.destination.protocol == Protocol::Http2 && !http2 {
                        return Err("it does not agree to HTTP/2 (ALPN h2)".into());
                    }
                    endpoint.set_speaks_http2(http2);
                    begin(stream, endpoint, http2, Scheme::HTTPS, what).await?
                } else {
                    begin(stream, endpoint, http2, Scheme::HTTP, what).await?
                }
            }
        };
        self.opened.increment(1);
        Ok(connection)
    }

    /// Whose certificate it must show.
    fn server_name(&self, url: &url::Url) -> Result<ServerName<'static>, BoxError> {
        if let Some(host) = &self.destination.host {
            return Ok(ServerName::try_from(host.host().trim_matches(['[', ']']).to_owned())?);
        }
        Ok(match url.host().ok_or("its URL has no host")? {
            url::Host::Domain(name) => ServerName::try_from(name.to_owned())?,
            url::Host::Ipv4(address) => ServerName::from(address),
            url::Host::Ipv6(address) => ServerName::from(address),
        })
    }
}

async fn begin<S>(
    stream: S,
    endpoint: &Endpoint,
    http2: bool,
    scheme: Scheme,
    what: Use,
) -> Result<Connection, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let census = &endpoint.census;
    if http2 { begin_http2(stream, census, scheme).await } else { begin_http1(stream, census, what).await }
}

async fn begin_http1<S>(stream: S, census: &Arc<Census>, what: Use) -> Result<Connection, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let allowance = Arc::new(Allowance::new());
    let stream = TokioIo::new(Listening::new(stream, Arc::clone(&allowance), census.opened()));
    let mut builder = http1::Builder::new();
    builder.writev(false).max_header_size(HEAD_LIMIT).max_buf_size(2 * HEAD_LIMIT); // one buffer: heads are small, and bodies go the other way
    let (sender, connection) = builder.handshake::<_, Outgoing>(stream).await?;
    // its error reaches who waits for an answer; without one it is of no interest
    let driver = match what {
        Use::Pooled | Use::Once => Driver::inline(async { drop(connection.await) }),
        Use::Upgrade => Driver::Task(tokio::spawn(async { drop(connection.with_upgrades().await) }).abort_handle()),
    };
    Ok(Connection::Http1(Http1::new(sender, driver, allowance)))
}

async fn begin_http2<S>(stream: S, census: &Arc<Census>, scheme: Scheme) -> Result<Connection, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS as u32)
        .max_header_list_size(HEAD_LIMIT as u32)
        .max_send_buf_size(SEND_BUFFER);
    let (sender, mut connection) = builder.handshake::<_, Outgoing>(TokioIo::new(stream)).await?;
    let streams = Arc::new(Streams::new());
    census.shares(&streams);
    let (known, open) = (Arc::clone(&streams), census.opened());
    tokio::spawn(poll_fn(move |cx| {
        let _open = &open; // until this ends
        let end = Pin::new(&mut connection).poll(cx);
        known.set_most(connection.current_max_send_streams(), cx);
        end.map(drop)
    }));
    Ok(Connection::Http2(Http2::new(sender, scheme, streams)))
}

/// For an answer's head; an upstream can't make us hold more (A28).
const HEAD_LIMIT: usize = 64 * 1024;
/// What one answer may be ahead of who reads it: 2.5 MB/s at 100 ms, 250 MB/s at 1 ms.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of a request's body that wait for one stream's window.
const SEND_BUFFER: usize = 128 * 1024;
/// An HTTP/2 connection on which nothing moves is asked whether it is still there; without an answer it is given up.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

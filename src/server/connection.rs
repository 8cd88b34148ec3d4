//! One connection, from its acceptance to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::{Counter, Gauge};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::admission::admit;
use super::drain::Drain;
use super::frames::Counted;
use super::guard::Guarded;
use super::served::{Flight, Served};
use super::watch::{Stage, Timer, Wait, Watch};
use super::{Handler, Manner};
use crate::web::{self, Connection, Request, Response};

/// A listener's side of all its connections.
pub(super) struct Site {
    manner: Manner,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    handler: Arc<dyn Handler>,
    drain: Arc<Drain>,
    counts: Counts,
}

impl Site {
    pub(super) fn new(manner: Manner, handler: Arc<dyn Handler>, drain: Arc<Drain>) -> Self {
        let mut http1 = http1::Builder::new();
        http1.header_read_timeout(None).max_header_size(HEAD_LIMIT); // `Timer` sees to it, and to more

        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_LIMIT as u32)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(LOCAL_RESETS)
            .max_send_buf_size(SEND_BUFFER);

        let counts = Counts::new(&manner);
        Self { manner, http1, http2, handler, drain, counts }
    }

    /// The listener's name.
    pub(super) fn name(&self) -> &str {
        &self.manner.name
    }

    /// Waits for the drain to begin.
    pub(super) async fn drained(&self) {
        self.drain.begun().await;
    }

    /// Serves the connection to its end. TLS and HTTP/2 are boxed, so that a plain connection's task holds no room for
    /// their state.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let _open = self.counts.opened();
        stream.set_nodelay(true)?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let connection = Arc::new(Connection::new(Arc::clone(&self.manner.name), peer, self.manner.tls.is_some()));
        match &self.manner.tls {
            None => self.http1(stream, connection).await,
            Some(tls) => Box::pin(self.secured(TlsAcceptor::from(tls.config()), stream, connection)).await,
        }
        Ok(())
    }

    async fn secured(self: &Arc<Self>, tls: TlsAcceptor, stream: tokio::net::TcpStream, connection: Arc<Connection>) {
        // Whoever connects and says nothing, or half a ClientHello, holds a descriptor for so long only (A14).
        let handshake = Box::pin(tokio::time::timeout(self.manner.timeouts.handshake, tls.accept(stream)));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.counts.handshake_failed(&connection, &error),
            Err(_) => return self.counts.handshake_failed(&connection, &io::ErrorKind::TimedOut.into()),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream, connection).await;
        } else {
            self.http1(stream, connection).await;
        }
    }

    async fn http1<S>(self: &Arc<Self>, stream: S, connection: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let watch = Arc::new(Watch::default());
        let stream = TokioIo::new(Guarded::new(stream, Arc::clone(&watch)));
        let service = self.service(&watch, connection);
        self.drive(pin!(self.http1.serve_connection(stream, service).with_upgrades()), &watch).await;
        if watch.is_tunnel() {
            watch.closed().await; // it counts as open, and a drain waits for it, although others hold it now
        }
    }

    async fn http2<S>(self: &Arc<Self>, stream: S, connection: Arc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let watch = Arc::new(Watch::default());
        let stream = TokioIo::new(Counted::new(stream, Arc::clone(&watch)));
        let service = self.service(&watch, connection);
        self.drive(pin!(self.http2.serve_connection(stream, service)), &watch).await;
    }

    fn service(
        self: &Arc<Self>,
        watch: &Arc<Watch>,
        connection: Arc<Connection>,
    ) -> impl HttpService<Incoming, ResBody = Served, Error = Infallible, Future: Send + 'static> + use<> {
        let (site, watch) = (Arc::clone(self), Arc::clone(watch));
        service_fn(move |request| {
            // counted here and not in the future: the stream may look before that is polled
            let flight = Flight::begin(&watch);
            answer(&site, &connection, flight, request)
        })
    }

    /// Drives a connection to its end. When the drain begins or nothing is asked for too long, it finishes what is under
    /// way; when it waits in vain for anything else, it is cut.
    async fn drive<C: Graceful>(&self, mut connection: Pin<&mut C>, watch: &Watch) {
        let mut begun = pin!(self.drain.begun());
        let (mut watching, mut finishing) = (false, false);
        let mut timer = Timer::new(self.manner.timeouts);
        let end = poll_fn(|cx| {
            // `begun` is polled once to be woken by it, later only when it has come: it takes a lock that all share
            if !finishing && (!watching || self.drain.has_begun()) {
                watching = true;
                if begun.as_mut().poll(cx).is_ready() {
                    finishing = true;
                    connection.as_mut().finish(watch);
                }
            }
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(result.map_err(web::BoxError::from));
                }
                match ready!(timer.poll(cx, watch)) {
                    Wait::Request if !finishing => {
                        finishing = true;
                        connection.as_mut().finish(watch);
                    }
                    wait => return Poll::Ready(Err(format!("it waited too long ({wait:?})").into())),
                }
            }
        });
        if let Err(error) = end.await {
            tracing::debug!(listener.name = %self.name(), %error, "a connection ended early");
        }
    }
}

/// A connection that can be asked to finish.
trait Graceful: Future<Output = hyper::Result<()>> {
    /// No more requests after those that have begun.
    fn finish(self: Pin<&mut Self>, watch: &Watch);
}

impl<S, H> Graceful for http1::UpgradeableConnection<S, H>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    H: HttpService<Incoming, ResBody = Served>,
    H::Error: Into<web::BoxError>,
{
    fn finish(self: Pin<&mut Self>, _watch: &Watch) {
        self.graceful_shutdown();
    }
}

impl<S, H> Graceful for http2::Connection<S, H, TokioExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    H: HttpService<Incoming, ResBody = Served>,
    H::Error: Into<web::BoxError>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<H::Future, Served>,
{
    fn finish(self: Pin<&mut Self>, watch: &Watch) {
        self.graceful_shutdown();
        watch.set_stage(Stage::Closing, 0); // GOAWAY asks; a client that does not answer is not waited for
    }
}

/// What is not `async` here is not kept while the handler works.
fn answer(
    site: &Arc<Site>,
    connection: &Arc<Connection>,
    flight: Flight,
    request: http::Request<Incoming>,
) -> impl Future<Output = Result<http::Response<Served>, Infallible>> + Send + use<> {
    let windowed = request.version() == Version::HTTP_2;
    let admitted = admit(request, Arc::clone(connection), site.manner.timeouts.body);
    let site = Arc::clone(site);
    async move {
        let response = match admitted {
            Ok(request) => handle(&site, &flight, request).await,
            Err(refusal) => *refusal,
        };
        Ok(response.map(|body| Served::new(body, flight, windowed)))
    }
}

async fn handle(site: &Site, flight: &Flight, request: Request) -> Response {
    // What a handler shares with other requests is behind locks that survive a panic, or is rebuilt.
    let Ok(response) = AssertUnwindSafe(site.handler.handle(request)).catch_unwind().await else {
        tracing::error!(listener.name = %site.name(), "a request's handler panicked");
        return internal_error();
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // only where the request asked, and has ended: what follows is not read as a request any more (A4)
        if !flight.watch().open_tunnel() {
            tracing::error!(listener.name = %site.name(), "a handler switched protocols without being asked");
            return internal_error();
        }
    }
    response
}

#[cold]
fn internal_error() -> Response {
    web::answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", "internal error\n")
}

/// What is counted of a listener.
struct Counts {
    accepted: Counter,
    open: Gauge,
    failed_handshakes: Counter,
}

impl Counts {
    fn new(manner: &Manner) -> Self {
        let (metrics, labels) = (&manner.metrics, [("listener", &*manner.name)]);
        metrics.describe("claviger_connections_total", None, "Connections that were accepted.");
        metrics.describe("claviger_connections", None, "Connections that are open.");
        metrics.describe("claviger_tls_handshake_failures_total", None, "TLS handshakes that failed or took too long.");
        Self {
            accepted: metrics.counter("claviger_connections_total", &labels),
            open: metrics.gauge("claviger_connections", &labels),
            failed_handshakes: metrics.counter("claviger_tls_handshake_failures_total", &labels),
        }
    }

    fn opened(&self) -> Open {
        self.accepted.increment(1);
        self.open.increment(1.0);
        Open(self.open.clone())
    }

    #[cold]
    fn handshake_failed(&self, connection: &Connection, error: &io::Error) {
        self.failed_handshakes.increment(1);
        tracing::debug!(listener.name = %connection.listener, peer = %connection.peer, %error, "a TLS handshake failed");
    }
}

/// An open connection, counted until it is dropped.
struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// For a request's head: line and headers together (431 past it).
pub(super) const HEAD_LIMIT: usize = 64 * 1024;
/// HTTP/2 requests at once on one connection; RFC 9113 §6.5.2 advises no less than 100.
const STREAMS: u32 = 128;
/// Streams the client reset before we answered (CVE-2023-44487, A13), and that we reset for its faults
/// (CVE-2025-8671); more end the connection.
const RESETS: usize = 20;
const LOCAL_RESETS: usize = 128;
/// Bytes of an answer that wait for one stream's window.
const SEND_BUFFER: usize = 128 * 1024;
/// A dead HTTP/2 peer is found after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

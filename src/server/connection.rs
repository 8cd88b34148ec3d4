//! One connection, from its acceptance to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use metrics::{Counter, Gauge};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::admission::{Refused, admit};
use super::crowd::Entered;
use super::drain::Drain;
use super::drive::{Drive, End, is_spent};
use super::frames::Counted;
use super::guard::Guarded;
use super::joined::Joined;
use super::limits::{HYPERS_HEADERS, Limits};
use super::listener::Accepted;
use super::refusals::{Reason, Refusal, Refusals};
use super::served::{Flight, Served};
use super::watch::{Wait, Watch};
use super::{Handler, Manner};
use crate::tls::{CertificateError, ClientCertificate};
use crate::web::{self, Connection, Request, Response};

/// A listener's side of all its connections.
pub(super) struct Site {
    manner: Manner,
    handler: Arc<dyn Handler>,
    drain: Arc<Drain>,
    counts: Counts,
    refusals: Refusals,
}

impl Site {
    pub(super) fn new(manner: Manner, handler: Arc<dyn Handler>, drain: Arc<Drain>) -> Self {
        let counts = Counts::new(&manner);
        let refusals = Refusals::new(&manner.metrics, &manner.name);
        Self { manner, handler, drain, counts, refusals }
    }

    /// The listener's name.
    pub(super) fn name(&self) -> &str {
        &self.manner.name
    }

    /// Lets a connection in, or says what it is told before it is closed.
    pub(super) fn enter(&self, peer: SocketAddr) -> Result<Entered, Option<&'static [u8]>> {
        let limits = self.manner.limits.load();
        self.manner.crowd.enter(peer.ip(), &limits).map_err(|reason| {
            if let Some(count) = self.refusals.count(reason) {
                let (listener, reason) = (self.name(), reason.as_str());
                tracing::warn!(listener.name = listener, %peer, reason, count, "connections were closed at once");
            }
            self.manner.tls.is_none().then_some(FULL)
        })
    }

    /// Waits for the drain to begin.
    pub(super) async fn drained(&self) {
        self.drain.begun().await;
    }

    /// Serves the connection to its end. TLS and HTTP/2 are boxed, so that a plain connection's task holds no room for
    /// their state; so is what comes by a Unix socket.
    pub(super) async fn serve(self: Arc<Self>, stream: Accepted, peer: SocketAddr) -> io::Result<()> {
        let _open = self.counts.opened();
        let limits = self.manner.limits.load_full();
        let connection = Connection::new(Arc::clone(&self.manner.name), peer, self.manner.tls.is_some());
        let stream = match stream {
            Accepted::Tcp(stream) => stream,
            Accepted::Unix(stream) => {
                let stream = tokio::net::UnixStream::from_std(stream)?;
                let connection = Connection { user: Some(stream.peer_cred()?.uid()), ..connection };
                Box::pin(self.http1(Joined::new(stream), Arc::new(connection), &limits)).await;
                return Ok(());
            }
        };
        stream.set_nodelay(true)?;
        let stream = Joined::new(tokio::net::TcpStream::from_std(stream)?);
        let connection = Arc::new(connection);
        match &self.manner.tls {
            None => self.http1(stream, connection, &limits).await,
            Some(tls) => Box::pin(self.secured(TlsAcceptor::from(tls.config()), stream, connection, &limits)).await,
        }
        Ok(())
    }

    async fn secured(
        self: &Arc<Self>,
        tls: TlsAcceptor,
        stream: Joined<tokio::net::TcpStream>,
        connection: Arc<Connection>,
        limits: &Arc<Limits>,
    ) {
        // Whoever connects and says nothing, or half a ClientHello, holds a descriptor for so long only (A14).
        let handshake = Box::pin(tokio::time::timeout(limits.handshake, tls.accept(stream)));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.counts.handshake_failed(&connection, &error),
            Err(_) => return self.counts.handshake_failed(&connection, &io::ErrorKind::TimedOut.into()),
        };
        let connection = match with_certificate(connection, stream.get_ref().1.peer_certificates()) {
            Ok(connection) => connection,
            Err((connection, error)) => return self.counts.handshake_failed(&connection, &io::Error::other(error)),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Box::pin(self.http2(stream, connection, limits)).await;
        } else {
            self.http1(stream, connection, limits).await;
        }
    }

    /// An HTTP/1 connection is taken apart while nothing is asked, and put together again: of ten thousand that are idle
    /// each would hold two buffers of 8 KiB.
    async fn http1<S>(self: &Arc<Self>, stream: S, connection: Arc<Connection>, limits: &Arc<Limits>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let watch = Arc::new(Watch::new(Arc::clone(&self.manner.crowd)));
        let mut drive = Drive::new(&self.drain, limits, &watch);
        let mut stream = Guarded::new(stream, Arc::clone(&watch), limits.head_bytes);
        let end = loop {
            let service = self.service(&watch, Arc::clone(&connection), Arc::clone(limits));
            let http = http1_builder(limits).serve_connection(TokioIo::new(stream), service);
            let mut http = Box::pin(http.with_upgrades());
            match drive.on(http.as_mut()).await {
                End::Parked => {}
                end => break end,
            }
            let Some(io) = taken_apart(http) else { break End::Done };
            let _parked = Open::counted_by(&self.counts.parked);
            match Box::pin(drive.park(io)).await {
                Ok(more) => stream = more,
                Err(end) => break end,
            }
        };
        self.end(&end, Version::HTTP_11, &watch, &connection);
        if watch.is_tunnel() {
            watch.closed().await; // it counts as open, and a drain waits for it, although others hold it now
        }
    }

    async fn http2<S>(self: &Arc<Self>, stream: S, connection: Arc<Connection>, limits: &Arc<Limits>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let watch = Arc::new(Watch::new(Arc::clone(&self.manner.crowd)));
        let stream = TokioIo::new(Counted::new(stream, Arc::clone(&watch)));
        let service = self.service(&watch, Arc::clone(&connection), Arc::clone(limits));
        let mut http = Box::pin(http2_builder(limits).serve_connection(stream, service));
        let end = Drive::new(&self.drain, limits, &watch).on(http.as_mut()).await;
        self.end(&end, Version::HTTP_2, &watch, &connection);
    }

    fn service(
        self: &Arc<Self>,
        watch: &Arc<Watch>,
        connection: Arc<Connection>,
        limits: Arc<Limits>,
    ) -> impl HttpService<Incoming, ResBody = Served, Error = Infallible, Future: Send + 'static> + use<> {
        let (site, watch) = (Arc::clone(self), Arc::clone(watch));
        service_fn(move |request| {
            // counted here and not in the future: the stream may look before that is polled
            let flight = Flight::begin(&watch);
            answer(&site, &connection, &limits, flight, request)
        })
    }

    /// Tells how a connection ended, where that is worth a word.
    fn end(&self, end: &End, version: Version, watch: &Watch, connection: &Connection) {
        match end {
            End::Done | End::Parked | End::Waited(Wait::Request) => {}
            End::Waited(wait) => {
                self.counts.timed_out(*wait);
                tracing::debug!(listener.name = %self.name(), ?wait, "a connection waited too long");
            }
            End::Broke(error) => {
                tracing::debug!(listener.name = %self.name(), %error, "a connection ended early");
            }
        }
        let parse_error = match end {
            End::Broke(error) if error.is_parse() => Some(error),
            _ => None,
        };
        let (reason, status) = match parse_error {
            _ if watch.is_refused() && version == Version::HTTP_2 => (Reason::Frames, StatusCode::BAD_REQUEST),
            _ if watch.is_refused() => (Reason::Framing, StatusCode::BAD_REQUEST),
            Some(error) if error.is_parse_too_large() => (Reason::Head, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Some(_) => (Reason::Malformed, StatusCode::BAD_REQUEST),
            None => return,
        };
        // a request whose body turns out to be none has a line of its own
        let told = self.refusals.count(reason);
        if parse_error.is_some() && told.is_some() {
            self.handler.refused(&Refusal { connection, asked: None, status, reason });
        }
    }
}

/// The connection with the certificate that its client has shown, read once for all requests.
fn with_certificate(
    connection: Arc<Connection>,
    shown: Option<&[CertificateDer<'_>]>,
) -> Result<Arc<Connection>, (Arc<Connection>, CertificateError)> {
    let Some(chain) = shown.filter(|chain| !chain.is_empty()) else { return Ok(connection) };
    match ClientCertificate::shown(chain) {
        Ok(certificate) => {
            let certificate = Some(Arc::new(certificate));
            Ok(Arc::new(Connection { certificate, ..Arc::unwrap_or_clone(connection) }))
        }
        Err(error) => Err((connection, error)),
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // `Timer` sees to the head's time, and to more. A client that does not read holds no more than the buffer (A14).
    http1
        .header_read_timeout(None)
        .max_header_size(limits.head_bytes)
        .max_buf_size(BUFFER.max(limits.head_bytes.saturating_mul(2)));
    if limits.headers != HYPERS_HEADERS {
        http1.max_headers(limits.headers);
    }
    http1
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_send_buf_size(SEND_BUFFER);
    http2
}

/// The stream of a connection that has nothing to do; its buffers go. What hyper has read and not understood can only be
/// an empty line (RFC 9112 §2.2); with anything else there is nothing to go on with.
fn taken_apart<S, H>(http: Pin<Box<http1::UpgradeableConnection<TokioIo<S>, H>>>) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = Served, Error = Infallible>,
{
    let parts = Pin::into_inner(http).into_parts()?;
    parts.read_buf.iter().all(|byte| matches!(byte, b'\r' | b'\n')).then(|| parts.io.into_inner())
}

/// What is not `async` here is not kept while the handler works.
fn answer(
    site: &Arc<Site>,
    connection: &Arc<Connection>,
    limits: &Arc<Limits>,
    flight: Flight,
    request: http::Request<Incoming>,
) -> impl Future<Output = Result<http::Response<Served>, Infallible>> + Send + use<> {
    let version = request.version();
    let admitted =
        admit(request, limits, flight.room()).map_err(|refused| refuse(site, connection, refused.0, &refused.1));
    // HTTP/2 is told by a GOAWAY, which the drive sends
    let closes = version < Version::HTTP_2 && is_spent(flight.watch(), limits);
    let (site, connection) = (Arc::clone(site), Arc::clone(connection));
    async move {
        let mut response = match admitted {
            Ok(request) => handle(&site, &connection, &flight, request).await,
            Err(refusal) => *refusal,
        };
        if closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Served::new(body, flight, version == Version::HTTP_2)))
    }
}

#[cold]
fn refuse(site: &Site, connection: &Connection, refused: Refused, request: &http::Request<Incoming>) -> Box<Response> {
    let response = refused.answer(request.version());
    let reason = refused.reason();
    if site.refusals.count(reason).is_some() {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let asked = Some((request.method(), host, request.uri().path()));
        site.handler.refused(&Refusal { connection, asked, status: response.status(), reason });
    }
    Box::new(response)
}

async fn handle(site: &Site, connection: &Connection, flight: &Flight, request: Request) -> Response {
    // What a handler shares with other requests is behind locks that survive a panic, or is rebuilt.
    let Ok(response) = AssertUnwindSafe(site.handler.handle(connection, request)).catch_unwind().await else {
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
    parked: Gauge,
    failed_handshakes: Counter,
    timeouts: [(Wait, Counter); Wait::CUT.len()],
}

impl Counts {
    fn new(manner: &Manner) -> Self {
        let (metrics, labels) = (&manner.metrics, [("listener", &*manner.name)]);
        metrics.describe("claviger_connections_total", None, "Connections that were accepted.");
        metrics.describe("claviger_connections", None, "Connections that are open.");
        metrics.describe(
            "claviger_connections_parked",
            None,
            "Connections whose buffers are given back: nothing is asked.",
        );
        metrics.describe("claviger_timeouts_total", None, "Connections cut for what they let us wait for.");
        metrics.describe("claviger_tls_handshake_failures_total", None, "TLS handshakes that failed or took too long.");
        let timeouts = |wait: Wait| {
            let labels = [("listener", &*manner.name), ("wait", wait.as_str())];
            (wait, metrics.counter("claviger_timeouts_total", &labels))
        };
        Self {
            timeouts: Wait::CUT.map(timeouts),
            accepted: metrics.counter("claviger_connections_total", &labels),
            open: metrics.gauge("claviger_connections", &labels),
            parked: metrics.gauge("claviger_connections_parked", &labels),
            failed_handshakes: metrics.counter("claviger_tls_handshake_failures_total", &labels),
        }
    }

    fn opened(&self) -> Open {
        self.accepted.increment(1);
        Open::counted_by(&self.open)
    }

    #[cold]
    fn timed_out(&self, wait: Wait) {
        if let Some((_, counter)) = self.timeouts.iter().find(|(counted, _)| *counted == wait) {
            counter.increment(1);
        }
    }

    #[cold]
    fn handshake_failed(&self, connection: &Connection, error: &io::Error) {
        self.failed_handshakes.increment(1);
        tracing::debug!(listener.name = %connection.listener, peer = %connection.peer, %error, "a TLS handshake failed");
    }
}

/// A connection that is open, or parked, counted until it is dropped.
struct Open(Gauge);

impl Open {
    fn counted_by(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// What a client is told for which there is no room: it was not read, so there is nothing to be polite about.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Streams the client reset before we answered (CVE-2023-44487, A13), and that we reset for its faults
/// (CVE-2025-8671); more end the connection.
const RESETS: usize = 20;
const LOCAL_RESETS: usize = 128;
/// Bytes that an HTTP/1 connection reads ahead, and of an answer that wait for its reader.
const BUFFER: usize = 128 * 1024;
/// Bytes of an answer that wait for one stream's window.
const SEND_BUFFER: usize = 128 * 1024;
/// A dead HTTP/2 peer is found after both.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

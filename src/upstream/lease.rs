//! A connection in use, whatever is spoken on it.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::future::Either;
use futures_util::task::AtomicWaker;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Scheme, Uri};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use pin_project_lite::pin_project;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::Instant;

use super::body::Outgoing;
use super::driver::Driver;
use super::failure::Failure;
use super::listening::Allowance;
use super::pool;
use super::target::Load;
use crate::clock::Alarm;

/// A connection in use. It goes back by [`Lease::put_back`]. Dropped otherwise, an HTTP/1 connection is closed, with
/// whatever is still on its way: the rest of an answer that nobody reads, or of a request that was answered early; of an
/// HTTP/2 connection only the one stream ends.
pub(super) struct Lease {
    connection: Option<Connection>,
    /// The address whose pool it goes back to, if any.
    home: Option<u64>,
    /// Since when it is in use.
    since: Instant,
    load: Option<Load>,
}

pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// One request at a time.
pub(super) struct Http1 {
    sender: http1::SendRequest<Outgoing>,
    driver: Driver,
    /// Rings when an answer is late.
    alarm: Alarm,
    allowance: Arc<Allowance>,
}

/// A stream of a connection that others share, or in the pool the connection itself.
pub(super) struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    scheme: Scheme,
    streams: Arc<Streams>,
    /// Rings when an answer is late.
    alarm: Alarm,
    /// Whether this is a stream, which counts.
    counts: bool,
}

/// What is known of a connection's streams.
pub(super) struct Streams {
    in_use: AtomicUsize,
    /// As many as the other side takes (RFC 9113 §6.5.2).
    most: AtomicUsize,
    /// Whether that was heard: its SETTINGS come before its first answer (RFC 9113 §3.4).
    heard: AtomicBool,
    /// Wakes who drives the connection, to look at what it says.
    driver: AtomicWaker,
    /// Whether the other side takes no more.
    retired: AtomicBool,
}

pin_project! {
    /// A request under way, whose answer comes with the lease and has to come in time.
    struct Exchange<A> {
        #[pin]
        answer: Unconstrained<A>,
        lease: Option<Lease>,
        deadline: Option<Instant>,
    }
}

/// What has come of a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>;

/// The answer has not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the answer did not come in time")]
pub(super) struct Late;

impl Lease {
    /// A fresh connection.
    pub(super) fn new(connection: Connection, home: Option<u64>) -> Self {
        Self { connection: Some(connection), home, since: Instant::now(), load: None }
    }

    pub(super) fn pooled(connection: Connection, home: u64, now: Instant) -> Self {
        Self { connection: Some(connection), home: Some(home), since: now, load: None }
    }

    pub(super) fn with(mut self, load: Option<Load>) -> Self {
        self.load = load;
        self
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.connection, Some(Connection::Http2(_)))
    }

    /// Sends a request; on HTTP/1 the answer's body must have ended before the next. Its head is waited for until the
    /// deadline, if there is one, and comes with the lease.
    pub(super) fn send(
        mut self,
        mut request: Request<Outgoing>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<(Self, Sent), Late>> + Send + use<> {
        let answer = match self.connection.as_mut() {
            Some(Connection::Http1(connection)) => {
                into_origin_form(&mut request);
                connection.allowance.renew();
                Either::Left(connection.sender.try_send_request(request))
            }
            Some(Connection::Http2(connection)) => {
                into_absolute_form(&mut request, &connection.scheme);
                // boxed, so that requests on HTTP/1 hold no room for it
                Either::Right(Either::Left(Box::pin(connection.sender.try_send_request(request))))
            }
            // the connection leaves with the lease itself, so it is here
            None => Either::Right(Either::Right(std::future::pending())),
        };
        Exchange { answer: unconstrained(answer), lease: Some(self), deadline }
    }

    /// The answer's head has come, or a piece of it.
    pub(super) fn answered(&self) {
        match &self.connection {
            Some(Connection::Http1(connection)) => connection.allowance.renew(),
            Some(Connection::Http2(connection)) if !connection.streams.heard.swap(true, Ordering::Relaxed) => {
                connection.streams.driver.wake();
            }
            _ => {}
        }
    }

    /// Polls what comes by this connection, which is moved first where that is for who waits.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(Connection::Http1(Http1 { driver: driver @ Driver::Inline(_), .. })) = &mut self.connection else {
            return poll(cx);
        };
        // asked before it is moved, as it moves on only when asked; nobody has to be woken by what comes in between
        let mut quiet = Context::from_waker(Waker::noop());
        if let Poll::Ready(come) = poll(&mut quiet) {
            return Poll::Ready(come);
        }
        driver.drive(cx);
        poll(&mut quiet)
    }

    /// Gives the connection back, if it can take another request. One that is still sending its request, or was told to
    /// close, can't.
    pub(super) fn put_back(mut self) {
        if let (Some(id), Some(Connection::Http1(connection))) = (self.home, self.connection.take()) {
            if connection.sender.is_ready() {
                pool::put(id, connection, self.since);
            } else {
                connection.driver.cut();
            }
        }
    }

    /// Closes it after a failure. Others go on with theirs on an HTTP/2 connection, but none is given it that took no
    /// more requests.
    pub(super) fn leave(self, failure: Failure) -> Failure {
        if let (Some(Connection::Http2(connection)), false) = (&self.connection, matches!(failure, Failure::Final(_))) {
            connection.streams.retired.store(true, Ordering::Relaxed);
        }
        failure
    }

    /// Lets the connection's task end by itself: an upgrade has taken its stream.
    pub(super) fn release(mut self) {
        if let Some(Connection::Http1(connection)) = self.connection.take() {
            connection.allowance.lift();
        }
    }
}

impl<A: Future> Future for Exchange<A> {
    type Output = Result<(Lease, A::Output), Late>;

    /// Only the connection can bring the answer on, so where that is polled here, waking this task for it would be to
    /// poll once more for nothing. The budget of the task is not asked either, as its refusal would be a wake-up.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (answer, alarm) = match this.lease.as_mut().and_then(|lease| lease.connection.as_mut()) {
            Some(Connection::Http1(Http1 { driver, alarm, .. })) => match driver.drive(cx) {
                true => (this.answer.poll(cx), alarm),
                false => (this.answer.poll(&mut Context::from_waker(Waker::noop())), alarm),
            },
            Some(Connection::Http2(Http2 { alarm, .. })) => (this.answer.poll(cx), alarm),
            None => return Poll::Pending,
        };
        match (answer, *this.deadline) {
            (Poll::Ready(answer), _) => {
                this.lease.take().map_or(Poll::Pending, |lease| Poll::Ready(Ok((lease, answer))))
            }
            (Poll::Pending, Some(deadline)) => alarm.poll(cx, deadline).map(|()| Err(Late)),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Connection::Http1(connection)) = &self.connection {
            connection.driver.cut();
        }
    }
}

impl Http1 {
    pub(super) fn new(sender: http1::SendRequest<Outgoing>, driver: Driver, allowance: Arc<Allowance>) -> Self {
        Self { sender, driver, alarm: Alarm::default(), allowance }
    }

    /// Whether it is open and takes a request, as far as that is known by now.
    pub(super) fn is_ready(&mut self) -> bool {
        self.driver.look();
        self.sender.is_ready()
    }
}

impl Http2 {
    /// A connection as the pool holds it. It ends by itself when its last stream and this are gone.
    pub(super) fn new(sender: http2::SendRequest<Outgoing>, scheme: Scheme, streams: Arc<Streams>) -> Self {
        Self { sender, scheme, streams, alarm: Alarm::default(), counts: false }
    }

    /// Room for one request.
    pub(super) fn stream(&self) -> Self {
        self.streams.in_use.fetch_add(1, Ordering::Relaxed);
        let (sender, scheme) = (self.sender.clone(), self.scheme.clone());
        Self { sender, scheme, streams: Arc::clone(&self.streams), alarm: Alarm::default(), counts: true }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.streams.retired.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self) -> bool {
        self.streams() < self.streams.most.load(Ordering::Relaxed).min(MOST_STREAMS)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.in_use()
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        if self.counts {
            self.streams.in_use.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Streams {
    pub(super) fn new() -> Self {
        let most = AtomicUsize::new(MOST_STREAMS);
        let (heard, driver, retired) = (AtomicBool::new(false), AtomicWaker::new(), AtomicBool::new(false));
        Self { in_use: AtomicUsize::new(0), most, heard, driver, retired }
    }

    /// How many there are.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// As its SETTINGS say, as far as they have come. Whoever says so is woken when more is to be known.
    pub(super) fn set_most(&self, most: usize, cx: &Context<'_>) {
        self.driver.register(cx.waker());
        self.most.store(most, Ordering::Relaxed);
    }
}

/// `Host` becomes `:authority` (RFC 9113 §8.3.1).
fn into_absolute_form(request: &mut Request<Outgoing>, scheme: &Scheme) {
    let host = request.headers().get(HOST);
    let Some(authority) = host.and_then(|host| Authority::try_from(host.as_bytes()).ok()) else { return };
    let mut parts = mem::take(request.uri_mut()).into_parts();
    (parts.scheme, parts.authority) = (Some(scheme.clone()), Some(authority));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
    }
}

/// The other way, for what an HTTP/2 connection has handed back.
fn into_origin_form(request: &mut Request<Outgoing>) {
    if request.uri().authority().is_none() {
        return;
    }
    let parts = mem::take(request.uri_mut()).into_parts();
    let host = parts.authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = parts.path_and_query.map_or_else(Uri::default, Uri::from);
    *request.version_mut() = Version::HTTP_11;
}

/// Requests that share one connection. So many windows of 256 KiB are what the connection's own window holds, so that
/// answers nobody reads can't hold up the others (see `connect`).
pub(super) const MOST_STREAMS: usize = 64;

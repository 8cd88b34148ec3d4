//! Connections to what stands behind us: pools, TLS, timeouts, upgrades.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{Either, FutureExt as _, TryFutureExt as _};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use rustls::ClientConfig;
use tokio::time::{Instant, sleep_until, timeout};

use crate::tls::Trust;
use crate::web::{Body, BoxError, Request, Response, wants_upgrade};

mod body;
mod connect;
mod pool;

use body::{Outgoing, Progress, Reply};
use pool::Lease;

/// One upstream. Its clones share its pools: one on every worker, so that no lock is on a request's way.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

/// What an upstream is made of.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `http` or `https`, host and port; no path.
    pub origin: url::Url,
    /// What to believe where it is https.
    pub trust: Trust,
    /// For DNS, TCP and TLS together.
    pub connect: Duration,
    /// From the request's end to the answer's head.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way.
    pub idle: Duration,
}

/// Why there is no answer from upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("the upstream `{upstream}` can't be reached")]
    Unreachable {
        /// Its authority.
        upstream: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// It took too long; the text says for what.
    #[error("the upstream `{upstream}` took too long {during}")]
    TimedOut {
        /// Its authority.
        upstream: String,
        /// `to connect`, `to take the request`, `to answer`, `to go on with its answer`.
        during: &'static str,
    },
    /// It broke the connection or the protocol.
    #[error("the upstream `{upstream}` broke off")]
    Broken {
        /// Its authority.
        upstream: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// The request's own body ended early or stalled, so it is the client's doing.
    #[error("the request's body broke off on its way to `{upstream}`")]
    Interrupted {
        /// Its authority.
        upstream: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
}

impl Upstream {
    /// An upstream with a pool of its own on every worker.
    pub fn new(destination: Destination) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let url = &destination.origin;
        let mut authority = url.host_str().unwrap_or_default().to_owned();
        if let Some(port) = url.port() {
            authority.push_str(&format!(":{port}"));
        }
        Self(Arc::new(Inner {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            // a host that `Url` has parsed is always a header value
            authority: HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static("")),
            destination,
            tls: OnceLock::new(),
        }))
    }

    /// Host and port, as `Host` would have it: the port only where it isn't the scheme's own.
    pub fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    /// Sends a request in origin form, with its `Host` set and hop-by-hop headers removed, and returns the answer's head
    /// with its body streaming.
    ///
    /// What a pooled connection did not take any more is sent on a fresh one. What it took without an answer is sent
    /// once more only where that is harmless: an idempotent method (RFC 9110 §9.2.2) whose body is at hand.
    ///
    /// A request that [`wants_upgrade`] keeps its `Connection` and `Upgrade` headers and has a connection to itself; an
    /// answer with 101 carries hyper's `OnUpgrade` in its extensions.
    ///
    /// # Errors
    /// [`UpstreamError`]; after the head, errors of the body are such too.
    pub async fn send(&self, mut request: Request) -> Result<Response, UpstreamError> {
        // a client's version is its own: HTTP/2 may have come in, HTTP/1.1 goes out (RFC 9110 §7.6.2)
        *request.version_mut() = Version::HTTP_11;
        if wants_upgrade(request.headers()) {
            return Box::pin(self.upgrade(request)).await;
        }
        let (request, progress) = Outgoing::of(request);
        let Some(mut lease) = pool::take(self.0.id) else {
            return Box::pin(self.send_afresh(request, progress)).await;
        };
        let spare = spare(&request).map(Box::new);
        let request = match self.head(&mut lease, request, progress.as_deref()).await {
            Ok(response) => return self.reply(lease, response),
            Err(Failure::Unsent(returned)) => returned,
            Err(Failure::Gone(error)) => spare.ok_or_else(|| self.broken(error))?,
            Err(Failure::Final(error)) => return Err(error),
        };
        drop(lease);
        Box::pin(self.send_afresh(*request, progress)).await
    }

    /// Sends a request on a connection of its own making, which then joins the pool.
    async fn send_afresh(
        &self,
        request: http::Request<Outgoing>,
        progress: Option<Arc<Progress>>,
    ) -> Result<Response, UpstreamError> {
        let mut lease = self.connect(connect::Use::Pooled).await?;
        let answered = self.head(&mut lease, request, progress.as_deref()).await;
        self.reply(lease, answered.map_err(|failure| self.settled(failure))?)
    }

    async fn upgrade(&self, request: Request) -> Result<Response, UpstreamError> {
        let (request, progress) = Outgoing::of(request);
        let mut lease = self.connect(connect::Use::Upgrade).await?;
        let answered = self.head(&mut lease, request, progress.as_deref()).await;
        let response = answered.map_err(|failure| self.settled(failure))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            lease.release();
            return Ok(response.map(|_| Body::Empty));
        }
        self.reply(lease, response)
    }

    /// The answer's head, within the time for it. Put together without `async`, which would hold the request and the
    /// answer twice: this is a part of every request's state.
    fn head<'a>(
        &'a self,
        lease: &mut Lease,
        request: http::Request<Outgoing>,
        progress: Option<&'a Progress>,
    ) -> impl Future<Output = Result<http::Response<Incoming>, Failure>> + use<'a> {
        let answer = lease.send(request);
        let answer = match progress {
            None => Either::Left(
                timeout(self.0.destination.first_byte, answer).map_err(|_| Failure::Final(self.timed_out("to answer"))),
            ),
            Some(progress) => Either::Right(Box::pin(self.while_moving(answer, progress))),
        };
        answer.map(|answer| {
            let response = answer?.map_err(|failure| self.failed(failure))?;
            match check_framing(response.headers()) {
                Ok(()) => Ok(response),
                Err(what) => Err(Failure::Final(self.broken(what.into()))),
            }
        })
    }

    /// Waits for an answer while a body is streaming: it may take as long as it likes if only it moves.
    async fn while_moving<T>(&self, answer: impl Future<Output = T>, progress: &Progress) -> Result<T, Failure> {
        let Destination { first_byte, idle, .. } = self.0.destination;
        let mut answer = pin!(answer);
        let mut timer = pin!(sleep_until(Instant::now() + idle.min(first_byte)));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = &mut timer => {
                    let deadline = progress.deadline(first_byte, idle);
                    if deadline <= Instant::now() {
                        return Err(Failure::Final(self.stalled(progress)));
                    }
                    timer.as_mut().reset(deadline);
                }
            }
        }
    }

    fn reply(&self, lease: Lease, response: http::Response<Incoming>) -> Result<Response, UpstreamError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // nobody asked, and what follows would be read as we please (A4)
            return Err(self.broken("it switched protocols without being asked".into()));
        }
        let (head, body) = response.into_parts();
        let body = if body.is_end_stream() {
            lease.put_back();
            Body::Empty
        } else {
            Body::Boxed(http_body_util::combinators::BoxBody::new(Reply::new(body, lease, self.clone())))
        };
        Ok(http::Response::from_parts(head, body))
    }

    /// Sorts a failed exchange by whether it may be tried again.
    fn failed(&self, mut error: TrySendError<http::Request<Outgoing>>) -> Failure {
        if let Some(request) = error.take_message() {
            return Failure::Unsent(Box::new(request));
        }
        let error = error.into_error();
        if error.is_user() {
            let source = error.into();
            return Failure::Final(UpstreamError::Interrupted { upstream: self.name(), source });
        }
        if is_gone(&error) { Failure::Gone(error.into()) } else { Failure::Final(self.broken(error.into())) }
    }

    /// What is left of a failure when there is no second try.
    fn settled(&self, failure: Failure) -> UpstreamError {
        match failure {
            Failure::Unsent(_) => self.broken("it closed the connection at once".into()),
            Failure::Gone(error) => self.broken(error),
            Failure::Final(error) => error,
        }
    }

    fn stalled(&self, progress: &Progress) -> UpstreamError {
        if progress.is_sent() {
            self.timed_out("to answer")
        } else if progress.is_starved() {
            let source = format!("nothing of it came for {:?}", self.0.destination.idle).into();
            UpstreamError::Interrupted { upstream: self.name(), source }
        } else {
            self.timed_out("to take the request")
        }
    }

    fn timed_out(&self, during: &'static str) -> UpstreamError {
        UpstreamError::TimedOut { upstream: self.name(), during }
    }

    fn broken(&self, source: BoxError) -> UpstreamError {
        UpstreamError::Broken { upstream: self.name(), source }
    }

    fn name(&self) -> String {
        String::from_utf8_lossy(self.0.authority.as_bytes()).into_owned()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.0.authority).finish()
    }
}

struct Inner {
    /// The pools' key.
    id: u64,
    authority: HeaderValue,
    destination: Destination,
    /// Made at the first https connection, as it reads the system's roots.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// Why an exchange failed, sorted by what can be done.
enum Failure {
    /// Nothing of the request has gone out; here it is again.
    Unsent(Box<http::Request<Outgoing>>),
    /// The connection ended without an answer; the request may or may not have had its effect.
    Gone(BoxError),
    /// Another try would not help, or not be right.
    Final(UpstreamError),
}

/// A copy for a second try, where one is allowed. Pooled connections close under us whenever the upstream pleases, so
/// the copy (some 0.3 µs) is made each time.
fn spare(request: &http::Request<Outgoing>) -> Option<http::Request<Outgoing>> {
    let body = request.method().is_idempotent().then(|| request.body().copy()).flatten()?;
    let mut spare = http::Request::new(body);
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.headers_mut() = request.headers().clone();
    Some(spare)
}

/// That there is one way to tell where the answer ends (RFC 9112 §6.3, A28). hyper goes by `Transfer-Encoding` and
/// leaves a `Content-Length` beside it, by which the client would then cut the answer short and think it whole. A
/// coding besides `chunked` would reach the client without its name, as that header ends here.
fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if headers.contains_key(CONTENT_LENGTH) => {
            Err("its answer has both Content-Length and Transfer-Encoding")
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("its answer's Transfer-Encoding is something else than chunked"),
    }
}

fn is_gone(error: &hyper::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || source.is_some_and(|e| {
            matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
        })
}

#[cfg(test)]
mod tests;

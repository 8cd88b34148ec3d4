//! Connections to what stands behind us: addresses, pools, protocols, TLS, time limits, upgrades.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, FutureExt as _, TryFutureExt as _, ready};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::web::{Body, BoxError, Request, Response, wants_upgrade};

mod as_asked;
mod body;
mod census;
mod connect;
mod destination;
mod dial;
mod driver;
mod failure;
mod health;
mod lease;
mod listening;
mod pool;
mod registry;
mod spare;
mod standing;
mod target;

use body::{Outgoing, Progress, Reply};
use connect::Use;
use failure::Failure;
use lease::{Late, Lease, Sent};
use spare::Spare;
use target::{Endpoint, Target};

pub use as_asked::AsAsked;
pub use destination::{Address, Destination, Health, Protocol};
pub use registry::Upstreams;

/// One upstream, as one route sees it. Its connections belong to its [`Destination`]: there are pools of them on every
/// worker, so that no lock is on a request's way.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

/// What a route grants its upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// For DNS, TCP and TLS together, at each address that is tried.
    pub connect: Duration,
    /// From the request's end to the answer's head.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way, or of an upgraded connection.
    pub idle: Duration,
    /// From the request's head to the answer's end; absent: as long as it moves. Upgraded connections are free of it.
    pub total: Option<Duration>,
    /// For a request's body, in bytes; absent: any.
    pub body: Option<u64>,
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
        /// `to connect`, `to take the request`, `to answer`, `to go on with its answer`, `altogether`.
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
    /// The request's body is larger than the route takes.
    #[error("the request's body is larger than {limit} bytes")]
    TooLarge {
        /// [`Bounds::body`].
        limit: u64,
    },
}

impl UpstreamError {
    /// Whether this process, or the system, has no descriptor left for a connection: 24 is EMFILE, 23 ENFILE on Linux.
    pub fn is_for_want_of_descriptors(&self) -> bool {
        let Self::Unreachable { source, .. } = self else { return false };
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**source);
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| matches!(e.raw_os_error(), Some(23 | 24))) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

impl Upstream {
    fn new(target: Arc<Target>, bounds: Bounds) -> Self {
        Self(Arc::new(Inner { target, bounds }))
    }

    /// Host and port, as `Host` would have it: the port only where it isn't the scheme's own.
    pub fn authority(&self) -> &HeaderValue {
        &self.0.target.authority
    }

    /// Whether requests may go there by HTTP/2, which takes trailers that were not announced.
    pub fn may_speak_http2(&self) -> bool {
        self.0.target.destination.may_speak_http2()
    }

    /// Refuses a body that says it is too large, before anything is sent or read.
    ///
    /// # Errors
    /// [`UpstreamError::TooLarge`].
    pub fn check_length(&self, body: &Body) -> Result<(), UpstreamError> {
        match (self.0.bounds.body, http_body::Body::size_hint(body).lower()) {
            (Some(limit), length) if length > limit => Err(UpstreamError::TooLarge { limit }),
            _ => Ok(()),
        }
    }

    /// The most bytes a body may have.
    pub fn body_limit(&self) -> Option<u64> {
        self.0.bounds.body
    }

    /// [`Bounds::idle`], for who joins what an upgrade has made.
    pub fn idle(&self) -> Duration {
        self.0.bounds.idle
    }

    /// Sends a request in origin form, with its `Host` set and hop-by-hop headers removed, and returns the answer's head
    /// with its body streaming. Redirects are answers like others: nothing is ever followed (A28).
    ///
    /// Where an address can't be reached the others are tried. What a pooled connection did not take any more is sent on
    /// a fresh one. What it took without an answer is sent once more only where that is harmless: an idempotent method
    /// (RFC 9110 §9.2.2) whose body is at hand.
    ///
    /// A request that [`wants_upgrade`] keeps its `Connection` and `Upgrade` headers and has a connection to itself; an
    /// answer with 101 carries hyper's `OnUpgrade` in its extensions. To HTTP/2 it goes as one that does not want to.
    ///
    /// # Errors
    /// [`UpstreamError`]; after the head, errors of the body are such too.
    pub fn send(&self, mut request: Request) -> impl Future<Output = Result<Response, UpstreamError>> + Send + use<'_> {
        let now = Instant::now();
        let deadline = self.0.bounds.total.map(|total| now + total);
        // a client's version is its own (RFC 9110 §7.6.2)
        *request.version_mut() = Version::HTTP_11;
        if wants_upgrade(request.headers()) {
            if self.0.target.destination.protocol.takes_upgrades() {
                return Either::Left(self.by(deadline, self.upgrade(request, deadline)));
            }
            // who passes no `Upgrade` on is always right (RFC 9110 §7.8)
            request.headers_mut().remove(CONNECTION);
            request.headers_mut().remove(UPGRADE);
        }
        let endpoint = self.0.target.pick();
        let (request, progress) = Outgoing::of(request, self.0.bounds.body);
        let Some(lease) = endpoint.and_then(|endpoint| pool::take(endpoint, now)) else {
            return Either::Left(self.by(deadline, self.send_afresh(endpoint, request, progress, deadline)));
        };
        let lease = lease.with(endpoint.and_then(|endpoint| self.0.target.load(endpoint)));
        let spare = Spare::of(&request, lease.is_http2());
        let answer = self.head(lease, request, progress.clone(), deadline, now);
        Either::Right(answer.then(move |answered| {
            let failure = match answered {
                Ok((lease, response)) => return Either::Right(ready(self.reply(lease, response, deadline))),
                Err(failure) => failure,
            };
            match failure.again(spare, self) {
                Ok(request) => {
                    Either::Left(self.by(deadline, self.send_afresh(endpoint, *request, progress, deadline)))
                }
                Err(error) => Either::Right(ready(Err(error))),
            }
        }))
    }

    /// What comes before the deadline, if there is one. Boxed, as it is not every request's way, whose state would hold
    /// room for it.
    fn by<'a>(
        &'a self,
        deadline: Option<Instant>,
        answer: impl Future<Output = Result<Response, UpstreamError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<Response, UpstreamError>> {
        Box::pin(async move {
            match deadline {
                Some(deadline) => {
                    timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(self.timed_out(ALTOGETHER)))
                }
                None => answer.await,
            }
        })
    }

    /// Sends a request on a connection of its own making, which then joins the pool.
    async fn send_afresh(
        &self,
        endpoint: Option<&Arc<Endpoint>>,
        request: http::Request<Outgoing>,
        progress: Option<Arc<Progress>>,
        deadline: Option<Instant>,
    ) -> Result<Response, UpstreamError> {
        let lease = self.connect(endpoint, Use::Pooled).await?;
        let spare = lease.is_http2().then(|| Spare::of(&request, true)).flatten();
        let failure = match self.head(lease, request, progress.clone(), None, Instant::now()).await {
            Ok((lease, response)) => return self.reply(lease, response, deadline),
            // a fresh connection that ends did not end for being idle
            Err(failure @ Failure::Gone(_)) => return Err(failure.settled(self)),
            Err(failure) => failure,
        };
        let request = failure.again(spare, self)?;
        let lease = self.connect(self.0.target.pick(), Use::Pooled).await?;
        let answered = self.head(lease, *request, progress, None, Instant::now()).await;
        let (lease, response) = answered.map_err(|failure| failure.settled(self))?;
        self.reply(lease, response, deadline)
    }

    async fn upgrade(&self, request: Request, deadline: Option<Instant>) -> Result<Response, UpstreamError> {
        let (request, progress) = Outgoing::of(request, self.0.bounds.body);
        let lease = self.connect(self.0.target.pick(), Use::Upgrade).await?;
        let answered = self.head(lease, request, progress, None, Instant::now()).await;
        let (lease, response) = answered.map_err(|failure| failure.settled(self))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            lease.release();
            return Ok(response.map(|_| Body::Empty));
        }
        self.reply(lease, response, deadline)
    }

    /// A connection to this address or, where it can't be had, to one of the others: nothing was sent yet.
    async fn connect(&self, endpoint: Option<&Arc<Endpoint>>, what: Use) -> Result<Lease, UpstreamError> {
        let Inner { target, bounds } = &*self.0;
        let endpoint = endpoint.ok_or_else(|| self.broken("it has no address".into()))?;
        let mut others = None;
        let mut next = Some(endpoint);
        let mut failure = None;
        while let Some(endpoint) = next {
            match timeout(bounds.connect, target.open(endpoint, what)).await {
                Ok(Ok(lease)) => {
                    target.reached(endpoint);
                    return Ok(lease.with(target.load(endpoint)));
                }
                Ok(Err(source)) => {
                    failure = Some(UpstreamError::Unreachable { upstream: endpoint.name.to_string(), source })
                }
                Err(_) => {
                    failure =
                        Some(UpstreamError::TimedOut { upstream: endpoint.name.to_string(), during: "to connect" });
                }
            }
            target.unreachable(endpoint, failure.as_ref());
            next = others.get_or_insert_with(|| target.others(endpoint).into_iter()).next();
        }
        Err(failure.unwrap_or_else(|| self.broken("it has no address".into())))
    }

    /// The answer's head, within the time for it that begins `now`, and before the deadline if there is one; and the lease
    /// it comes on. Put together without `async`, which would hold the request and the answer twice: this is a part of
    /// every request's state.
    fn head(
        &self,
        lease: Lease,
        request: http::Request<Outgoing>,
        progress: Option<Arc<Progress>>,
        deadline: Option<Instant>,
        now: Instant,
    ) -> impl Future<Output = Result<(Lease, http::Response<Incoming>), Failure>> + Send + use<'_> {
        let patience = now + self.0.bounds.first_byte;
        let during = if deadline.is_some_and(|deadline| deadline < patience) { ALTOGETHER } else { "to answer" };
        let answer = match progress.clone() {
            None => {
                let until = deadline.map_or(patience, |deadline| deadline.min(patience));
                let late = move |Late| Failure::Final(self.timed_out(during));
                Either::Left(lease.send(request, Some(until)).map_err(late))
            }
            Some(progress) => Either::Right(Box::pin(self.while_moving(lease.send(request, deadline), progress))),
        };
        answer.map(move |answer| {
            let (lease, sent) = answer?;
            let response = match sent {
                Ok(response) => response,
                Err(error) => return Err(lease.leave(self.failed(error, progress.as_deref()))),
            };
            match check_framing(response.headers()) {
                Ok(()) => Ok((lease, response)),
                Err(what) => Err(Failure::Final(self.broken(what.into()))),
            }
        })
    }

    /// Waits for an answer while a body is streaming: it may take as long as it likes if only it moves.
    async fn while_moving(
        &self,
        answer: impl Future<Output = Result<(Lease, Sent), Late>>,
        progress: Arc<Progress>,
    ) -> Result<(Lease, Sent), Failure> {
        let Bounds { first_byte, idle, .. } = self.0.bounds;
        let mut answer = pin!(answer);
        let mut timer = pin!(sleep_until(Instant::now() + idle.min(first_byte)));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|Late| Failure::Final(self.timed_out(ALTOGETHER))),
                () = &mut timer => {
                    let deadline = progress.deadline(first_byte, idle);
                    if deadline <= Instant::now() {
                        return Err(Failure::Final(self.stalled(&progress)));
                    }
                    timer.as_mut().reset(deadline);
                }
            }
        }
    }

    fn reply(
        &self,
        lease: Lease,
        response: http::Response<Incoming>,
        deadline: Option<Instant>,
    ) -> Result<Response, UpstreamError> {
        lease.answered();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // nobody asked, and what follows would be read as we please (A4)
            return Err(self.broken("it switched protocols without being asked".into()));
        }
        let (head, body) = response.into_parts();
        let body = if body.is_end_stream() {
            lease.put_back();
            Body::Empty
        } else {
            let mut reply = Reply::new(body, lease, self.clone(), deadline);
            match reply.whole() {
                Some(bytes) => Body::full(bytes),
                None => Body::Boxed(http_body_util::combinators::BoxBody::new(reply)),
            }
        };
        Ok(http::Response::from_parts(head, body))
    }

    fn stalled(&self, progress: &Progress) -> UpstreamError {
        if progress.is_sent() {
            self.timed_out("to answer")
        } else if progress.is_starved() {
            let source = format!("nothing of it came for {:?}", self.0.bounds.idle).into();
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
        self.0.target.name()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.0.target).finish()
    }
}

struct Inner {
    target: Arc<Target>,
    bounds: Bounds,
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

/// What [`Bounds::total`] was too short for.
const ALTOGETHER: &str = "altogether";

#[cfg(test)]
mod tests;

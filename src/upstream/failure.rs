//! Failed exchanges, sorted by whether they may be tried again.
//!
//! A request is sent again only where nothing of it was acted on. Three things say so: it never went out and hyper hands
//! it back; the upstream itself says that it left the stream alone (RFC 9113 §8.7); or the method is idempotent, the
//! body at hand, and the *pooled* connection ended without a byte of an answer. The last is the one case in which the
//! upstream may have seen it: keep-alive connections close under us whenever the upstream pleases, and RFC 9110 §9.2.2
//! lets a proxy repeat just that. Anything else would be 502 for a reader who did nothing wrong.

use std::error::Error as _;
use std::io;

use http::Request;
use hyper::client::conn::TrySendError;

use super::body::{Outgoing, Progress};
use super::spare::Spare;
use super::{Upstream, UpstreamError};
use crate::web::BoxError;

/// Why an exchange failed, sorted by what can be done.
pub(super) enum Failure {
    /// Nothing of the request has gone out; here it is again.
    Unsent(Box<Request<Outgoing>>),
    /// The upstream has not looked at it.
    Refused(BoxError),
    /// The connection ended without an answer; the request may or may not have had its effect.
    Gone(BoxError),
    /// Another try would not help, or not be right.
    Final(UpstreamError),
}

impl Failure {
    /// The request for a second try.
    ///
    /// # Errors
    /// Where there is to be none, the failure as the caller is told of it.
    pub(super) fn again(
        self,
        spare: Option<Spare>,
        upstream: &Upstream,
    ) -> Result<Box<Request<Outgoing>>, UpstreamError> {
        let spare = match &self {
            Self::Unsent(_) | Self::Final(_) => None,
            Self::Refused(_) => spare,
            Self::Gone(_) => spare.filter(|spare| spare.idempotent),
        };
        match (self, spare.and_then(Spare::request)) {
            (Self::Unsent(request), _) => Ok(request),
            (_, Some(request)) => Ok(Box::new(request)),
            (failure, None) => Err(failure.settled(upstream)),
        }
    }

    /// What is left of it when there is no second try.
    pub(super) fn settled(self, upstream: &Upstream) -> UpstreamError {
        match self {
            Self::Unsent(_) => upstream.broken("it closed the connection at once".into()),
            Self::Refused(error) | Self::Gone(error) => upstream.broken(error),
            Self::Final(error) => error,
        }
    }
}

impl Upstream {
    /// Sorts a failed exchange.
    pub(super) fn failed(&self, mut error: TrySendError<Request<Outgoing>>, progress: Option<&Progress>) -> Failure {
        if let Some(request) = error.take_message() {
            return Failure::Unsent(Box::new(request));
        }
        let error = error.into_error();
        if progress.is_some_and(Progress::is_too_large) {
            return Failure::Final(UpstreamError::TooLarge { limit: self.0.bounds.body.unwrap_or_default() });
        }
        if error.is_user() || progress.is_some_and(Progress::is_broken) {
            return Failure::Final(UpstreamError::Interrupted { upstream: self.name(), source: error.into() });
        }
        if is_refused(&error) {
            return Failure::Refused(error.into());
        }
        if is_gone(&error) { Failure::Gone(error.into()) } else { Failure::Final(self.broken(error.into())) }
    }
}

/// Whether the upstream says that it has not acted on the request: by REFUSED_STREAM, or by a GOAWAY that leaves the
/// stream out (RFC 9113 §6.8, §8.7). One that was sent by us, about a fault of the upstream's, says nothing.
fn is_refused(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn is_gone(error: &hyper::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let io = error.source().and_then(|source| {
        source.downcast_ref::<io::Error>().or_else(|| source.downcast_ref::<h2::Error>().and_then(h2::Error::get_io))
    });
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || io.is_some_and(|e| {
            matches!(e.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
        })
}

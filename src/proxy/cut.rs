//! Bodies that stop when whoever they are for is not vouched for any more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::term::Term;
use crate::web::{Body, BoxError};

/// A body that breaks off at the end of its term.
pub(super) struct Cut {
    body: Body,
    term: Term,
    /// Made at the first wait: a body that comes in one go needs no timer.
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Cut {
    /// `body`, cut at the end of its term, if it has one; as it is where it is short and so at its own end before.
    pub(super) fn short_or_cut(body: Body, term: impl FnOnce() -> Option<Term>) -> Body {
        if body.size_hint().exact().is_some_and(|size| size <= SHORT) {
            return body;
        }
        match term() {
            Some(term) => Body::boxed(Self { body, term, ended: None }),
            None => body,
        }
    }
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, term, ended } = &mut *self;
        if !term.is_over() {
            if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            let ended = ended.get_or_insert_with(|| Box::pin(term.clone().ended()));
            ready!(ended.as_mut().poll(cx));
        }
        Poll::Ready(Some(Err("who it is for is not vouched for any more".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").finish_non_exhaustive()
    }
}

/// Watching costs an allocation; a body of this size is on its way in one go.
const SHORT: u64 = 64 * 1024;

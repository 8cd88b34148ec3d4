//! Bodies that stop when the session they belong to ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::web::{Body, BoxError};

/// A body that breaks off when `ended` comes.
pub(super) struct Cut {
    body: Body,
    ended: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Cut {
    /// `body`, cut at `ended`; as it is where it is short and so at its end before a session could be.
    pub(super) fn short_or_cut(body: Body, ended: impl Future<Output = ()> + Send + Sync + 'static) -> Body {
        if body.size_hint().exact().is_some_and(|size| size <= SHORT) {
            return body;
        }
        Body::boxed(Self { body, ended: Box::pin(ended) })
    }
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the session ended".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
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

//! Trailers on their way up: what comes behind a body is not ours, and must not look as if it were.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::forwarded::CLAIMED;
use crate::inject::Vouched;
use crate::web::{Body, BoxError, HEAD_ONLY};

/// `Trailer` without the names that have no business behind a body: servers that merge trailers into the head would
/// believe them, and there is nothing of ours behind a body to overwrite them (A1, RFC 9110 §6.5.1). To HTTP/1 only what
/// `Trailer` names is sent.
pub(super) fn announce_harmless(headers: &mut HeaderMap, vouched: &Vouched) {
    if !headers.contains_key(header::TRAILER) {
        return;
    }
    let announced = headers.get_all(header::TRAILER).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let harmless = announced
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| is_harmless(name, vouched));
    let kept = harmless.map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    match HeaderValue::from_str(&kept) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(header::TRAILER, kept)),
        _ => drop(headers.remove(header::TRAILER)),
    }
}

/// A body without trailers that say what only heads may: HTTP/2 sends them whether or not they were announced, as gRPC
/// has it (A1).
pub(super) struct Harmless {
    body: Body,
    vouched: Arc<Vouched>,
}

impl Harmless {
    /// `body`; as it is where it is at hand, and so has no trailers.
    pub(super) fn of(body: Body, vouched: &Arc<Vouched>) -> Body {
        match body {
            Body::Empty | Body::Full(_) => body,
            Body::Incoming(_) | Body::Boxed(_) => Body::boxed(Self { body, vouched: Arc::clone(vouched) }),
        }
    }
}

impl http_body::Body for Harmless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            let doomed: Vec<HeaderName> =
                trailers.keys().filter(|name| !is_harmless(name, &self.vouched)).cloned().collect();
            doomed.iter().for_each(|name| drop(trailers.remove(name)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Harmless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harmless").finish_non_exhaustive()
    }
}

fn is_harmless(name: &HeaderName, vouched: &Vouched) -> bool {
    !vouched.has(name) && !CLAIMED.has(name) && !OF_HEADS.has(name)
}

/// In every spelling: what no trailer may say.
static OF_HEADS: LazyLock<Vouched> = LazyLock::new(|| Vouched::new(&HEAD_ONLY));

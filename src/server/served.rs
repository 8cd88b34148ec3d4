//! Bodies as a connection sees them: an answer that is watched, and an HTTP/2 request's body that may not stall.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::limits::Limits;
use super::refusals::Reason;
use super::watch::Watch;
use crate::clock::Alarm;
use crate::web::{Body, BoxError};

/// A request that is being answered, until dropped.
pub(super) struct Flight {
    watch: Arc<Watch>,
    room: Result<(), Reason>,
}

impl Flight {
    pub(super) fn begin(watch: &Arc<Watch>) -> Self {
        Self { room: watch.begin_request(), watch: Arc::clone(watch) }
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether there is room for it; why not.
    pub(super) fn room(&self) -> Result<(), Reason> {
        self.room
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.watch.end_request();
    }
}

/// An answer's body. It is dropped when it has been passed on.
pub(super) struct Served {
    body: Body,
    flight: Flight,
    /// Whether a piece was taken and no other asked for: it waits for the client's window.
    taken: bool,
    /// In HTTP/1 the stream itself tells whether the client reads.
    windowed: bool,
}

impl Served {
    pub(super) fn new(body: Body, flight: Flight, windowed: bool) -> Self {
        Self { body, flight, taken: false, windowed }
    }

    fn set_taken(&mut self, taken: bool) {
        if self.windowed && self.taken != taken {
            self.taken = taken;
            self.flight.watch.set_stuck(taken);
        }
    }
}

impl HttpBody for Served {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.set_taken(false);
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.set_taken(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.set_taken(false);
    }
}

/// The body of an HTTP/2 request, with an end to each wait for its next piece (A14). In HTTP/1 there is one body at a
/// time and the connection's own timer sees to it.
pub(super) struct Timed {
    incoming: Incoming,
    limits: Arc<Limits>,
    waiting: Option<Instant>,
    /// How long it has waited since it last brought enough, and what it brought since.
    waited: Duration,
    brought: u64,
    alarm: Alarm,
}

impl Timed {
    pub(super) fn new(incoming: Incoming, limits: Arc<Limits>) -> Self {
        Self { incoming, limits, waiting: None, waited: Duration::ZERO, brought: 0, alarm: Alarm::default() }
    }

    /// A byte now and then is no progress.
    fn note(&mut self, bytes: usize) {
        self.waited += self.waiting.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.brought += bytes as u64;
        if self.brought >= self.limits.body_bytes {
            (self.waited, self.brought) = (Duration::ZERO, 0);
        }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(cx) {
            let bytes = polled.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
            self.note(bytes.unwrap_or_default());
            return Poll::Ready(polled.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.limits.body.saturating_sub(self.waited);
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + left;
        ready!(self.alarm.poll(cx, deadline));
        Poll::Ready(Some(Err("nothing more of the body came".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

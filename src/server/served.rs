//! Bodies as a connection sees them: an answer that is watched, and an HTTP/2 request's body that may not stall.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::watch::{Alarm, Watch};
use crate::web::{Body, BoxError};

/// A request that is being answered, until dropped.
pub(super) struct Flight(Arc<Watch>);

impl Flight {
    pub(super) fn begin(watch: &Arc<Watch>) -> Self {
        watch.begin_request();
        Self(Arc::clone(watch))
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.0
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.end_request();
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
            self.flight.0.set_stuck(taken);
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
    wait: Duration,
    waiting: Option<Instant>,
    alarm: Alarm,
}

impl Timed {
    pub(super) fn new(incoming: Incoming, wait: Duration) -> Self {
        Self { incoming, wait, waiting: None, alarm: Alarm::default() }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(polled.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.wait;
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

//! Bodies on their way to an upstream and back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Upstream;
use super::pool::Lease;
use crate::web::{Body, BoxError, Request};

/// A request's body on its way to an upstream.
pub(super) struct Outgoing {
    body: Body,
    /// Kept where the body is a stream.
    progress: Option<Arc<Progress>>,
}

impl Outgoing {
    /// The request with its body watched, if there is something to watch.
    pub(super) fn of(request: Request) -> (http::Request<Self>, Option<Arc<Progress>>) {
        let progress = match request.body() {
            Body::Empty | Body::Full(_) => None,
            Body::Incoming(_) | Body::Boxed(_) => Some(Arc::new(Progress::new())),
        };
        let watched = progress.clone();
        (request.map(|body| Self { body, progress: watched }), progress)
    }

    /// Another of the same, where it is at hand.
    pub(super) fn copy(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Full(bytes) => Body::Full(bytes.clone()),
            Body::Incoming(_) | Body::Boxed(_) => return None,
        };
        Some(Self { body, progress: None })
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(progress) = &self.progress {
            progress.mark(match &polled {
                Poll::Pending => STARVED,
                Poll::Ready(Some(Ok(frame))) if !frame.is_trailers() && !self.body.is_end_stream() => MOVING,
                Poll::Ready(_) => SENT,
            });
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

/// How far a streaming body has come.
pub(super) struct Progress {
    begun: Instant,
    /// The last move, in milliseconds since it has begun.
    moved: AtomicU64,
    state: AtomicU8,
}

impl Progress {
    fn new() -> Self {
        Self { begun: Instant::now(), moved: AtomicU64::new(0), state: AtomicU8::new(MOVING) }
    }

    fn mark(&self, state: u8) {
        let before = self.state.swap(state, Ordering::Relaxed);
        // asking again while nothing comes is no move
        if (before, state) != (STARVED, STARVED) {
            let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.moved.store(now, Ordering::Relaxed);
        }
    }

    /// Whether the upstream has been given all of it.
    pub(super) fn is_sent(&self) -> bool {
        self.state.load(Ordering::Relaxed) == SENT
    }

    /// Whether the upstream would take more than there is.
    pub(super) fn is_starved(&self) -> bool {
        self.state.load(Ordering::Relaxed) == STARVED
    }

    /// Until when there must be a move, or an answer if all is sent.
    pub(super) fn deadline(&self, first_byte: Duration, idle: Duration) -> Instant {
        let moved = self.begun + Duration::from_millis(self.moved.load(Ordering::Relaxed));
        moved + if self.is_sent() { first_byte } else { idle }
    }
}

const MOVING: u8 = 0;
const STARVED: u8 = 1;
const SENT: u8 = 2;

/// An answer's body on its way back. At its end the connection goes back to the pool; dropped earlier, it is closed.
pub(super) struct Reply {
    incoming: Incoming,
    lease: Option<Lease>,
    upstream: Upstream,
    /// Since when nothing comes.
    waiting: Option<Instant>,
    /// Made at the first wait: most bodies come with their head.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    pub(super) fn new(incoming: Incoming, lease: Lease, upstream: Upstream) -> Self {
        Self { incoming, lease: Some(lease), upstream, waiting: None, timer: None }
    }

    /// Ready when nothing came for too long. The timer is set anew only when it rings, not at every piece.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.upstream.0.destination.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.put_back();
        }
    }
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                // who reads need not ask again after the last piece, so it ends here
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                Poll::Ready(Some(Err(self.upstream.broken(error.into()).into())))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                self.lease = None;
                Poll::Ready(Some(Err(self.upstream.timed_out("to go on with its answer").into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_moves_has_time() {
        let (first_byte, idle) = (Duration::from_secs(60), Duration::from_secs(30));
        let now = Instant::now();
        let begun = now.checked_sub(Duration::from_secs(40)).unwrap();
        let progress = Progress { begun, ..Progress::new() };
        assert!(progress.deadline(first_byte, idle) < now);

        progress.mark(MOVING);
        assert!(progress.deadline(first_byte, idle) >= now + idle - Duration::from_millis(1));
        progress.moved.store(0, Ordering::Relaxed);
        progress.mark(STARVED);
        assert!(progress.is_starved() && progress.deadline(first_byte, idle) > now);
        progress.moved.store(0, Ordering::Relaxed);
        progress.mark(STARVED);
        assert!(progress.deadline(first_byte, idle) < now, "asking again is no move");
        progress.mark(SENT);
        assert!(progress.is_sent() && progress.deadline(first_byte, idle) > now + idle);
    }
}

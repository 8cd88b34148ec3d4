//! Bodies on their way to an upstream and back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::lease::Lease;
use super::{ALTOGETHER, Upstream, UpstreamError};
use crate::web::{Body, BoxError, Request, strip_from_trailers};

/// A request's body on its way to an upstream.
pub(super) struct Outgoing {
    body: Body,
    /// How many bytes of it may still pass.
    left: u64,
    /// Kept where the body is a stream.
    progress: Option<Arc<Progress>>,
}

/// More bytes came than the route takes.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than the route takes")]
struct TooLarge;

impl Outgoing {
    /// The request with its body watched, if there is something to watch. Of a body without a length no more than
    /// `limit` bytes pass.
    pub(super) fn of(request: Request, limit: Option<u64>) -> (http::Request<Self>, Option<Arc<Progress>>) {
        let progress = match request.body() {
            Body::Empty | Body::Full(_) => None,
            Body::Incoming(_) | Body::Boxed(_) => Some(Arc::new(Progress::new())),
        };
        let (watched, left) = (progress.clone(), limit.unwrap_or(u64::MAX));
        (request.map(|body| Self { body, left, progress: watched }), progress)
    }

    /// Another of the same, where it is at hand.
    pub(super) fn copy(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Full(bytes) => Body::Full(bytes.clone()),
            Body::Incoming(_) | Body::Boxed(_) => return None,
        };
        Some(Self { body, left: self.left, progress: None })
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    self.mark(TOO_LARGE);
                    return Poll::Ready(Some(Err(TooLarge.into())));
                }
            }
        }
        if self.progress.is_some() {
            self.mark(match &mut polled {
                Poll::Pending => STARVED,
                Poll::Ready(Some(Ok(frame))) if !frame.is_trailers() && !self.body.is_end_stream() => MOVING,
                Poll::Ready(Some(Err(_))) => BROKEN,
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

impl Outgoing {
    fn mark(&self, state: u8) {
        if let Some(progress) = &self.progress {
            progress.mark(state);
        }
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

    /// Whether it ended early by the client's doing.
    pub(super) fn is_broken(&self) -> bool {
        self.state.load(Ordering::Relaxed) == BROKEN
    }

    /// Whether it was cut as it was too large.
    pub(super) fn is_too_large(&self) -> bool {
        self.state.load(Ordering::Relaxed) == TOO_LARGE
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
const BROKEN: u8 = 3;
const TOO_LARGE: u8 = 4;

/// An answer's body on its way back. At its end the connection goes back to the pool; dropped earlier, it is closed.
pub(super) struct Reply {
    incoming: Incoming,
    /// What [`Reply::whole`] has met that was not all.
    first: Option<Option<Result<Frame<Bytes>, hyper::Error>>>,
    lease: Option<Lease>,
    upstream: Upstream,
    /// When all of it must have come.
    deadline: Option<Instant>,
    /// Since when nothing comes.
    waiting: Option<Instant>,
    /// Made at the first wait: most bodies come with their head.
    timer: Option<Pin<Box<Sleep>>>,
    /// How it broke off, until what came before is on its way.
    broken: Option<UpstreamError>,
}

impl Reply {
    pub(super) fn new(incoming: Incoming, lease: Lease, upstream: Upstream, deadline: Option<Instant>) -> Self {
        let (first, lease) = (None, Some(lease));
        Self { incoming, first, lease, upstream, deadline, waiting: None, timer: None, broken: None }
    }

    /// All of it, where it is short and has come in one piece with its head, as most short ones do: then nothing has to
    /// be made to wait for it, and its connection is free at once.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        if self.incoming.size_hint().exact().is_none_or(|length| length > SHORT) {
            return None;
        }
        // who reads what is left of it asks again, and is woken for it
        let mut quiet = Context::from_waker(Waker::noop());
        match self.lease.as_mut()?.poll(&mut quiet, |cx| Pin::new(&mut self.incoming).poll_frame(cx)) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && self.incoming.is_end_stream() => {
                self.lease.as_ref().inspect(|lease| lease.answered());
                self.end();
                frame.into_data().ok()
            }
            Poll::Ready(first) => {
                self.first = Some(first);
                None
            }
            Poll::Pending => None,
        }
    }

    /// Ready when nothing came for too long. The timer is set anew only when it rings, not at every piece.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = *self.waiting.get_or_insert_with(Instant::now) + self.upstream.0.bounds.idle;
        let deadline = self.deadline.map_or(patience, |deadline| deadline.min(patience));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    /// Whether the whole exchange has taken too long, however it moves.
    fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    fn overdue(&mut self, during: &'static str) -> UpstreamError {
        self.lease = None;
        self.upstream.timed_out(during)
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
        if self.is_overdue() {
            return Poll::Ready(Some(Err(self.overdue(ALTOGETHER).into())));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let this = &mut *self;
        let polled = match (this.first.take(), &mut this.lease) {
            (Some(first), _) => Poll::Ready(first),
            (None, Some(lease)) => lease.poll(cx, |cx| Pin::new(&mut this.incoming).poll_frame(cx)),
            (None, None) => Pin::new(&mut this.incoming).poll_frame(cx),
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                self.waiting = None;
                self.lease.as_ref().inspect(|lease| lease.answered());
                if let Some(trailers) = frame.trailers_mut() {
                    strip_from_trailers(trailers);
                }
                // who reads need not ask again after the last piece, so it ends here
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                self.broken = Some(self.upstream.broken(error.into()));
                // at once, it would end the client's connection with the head and the pieces still unwritten
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                let during = if self.is_overdue() { ALTOGETHER } else { "to go on with its answer" };
                Poll::Ready(Some(Err(self.overdue(during).into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.incoming.size_hint();
        match (&self.first, left.exact()) {
            (Some(Some(Ok(frame))), Some(left)) => {
                SizeHint::with_exact(left + frame.data_ref().map_or(0, |data| data.len() as u64))
            }
            _ => left,
        }
    }
}

/// What fits in a segment or two.
const SHORT: u64 = 4096;

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

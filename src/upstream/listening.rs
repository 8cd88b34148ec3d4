//! The near end of an HTTP/1 connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::census::Open;

/// A stream that goes on listening when it can't speak any more. An upstream that refuses a large request answers and
/// closes: we learn of the close by a failing write, but the answer is there to be read.
pub(super) struct Listening<S> {
    stream: S,
    /// Whether the other side has stopped to read.
    deaf: bool,
    allowance: Arc<Allowance>,
    _open: Open,
}

/// How much an upstream may say until something comes of it: its answer, then each piece of that. Interim answers are
/// passed over, however many, and so are zeros before a chunk's size; but an upstream that says nothing else would keep us
/// reading for as long as an answer may take (A28).
pub(super) struct Allowance(AtomicUsize);

impl Allowance {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(UNLIMITED))
    }

    /// A request is on its way, or something came of it.
    pub(super) fn renew(&self) {
        self.0.store(FOR_NOTHING, Ordering::Relaxed);
    }

    /// What follows is no HTTP.
    pub(super) fn lift(&self) {
        self.0.store(UNLIMITED, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == UNLIMITED {
            return Ok(());
        }
        let left = left.checked_sub(bytes).ok_or_else(|| io::Error::other("it says much that is nothing"))?;
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

impl<S> Listening<S> {
    pub(super) fn new(stream: S, allowance: Arc<Allowance>, open: Open) -> Self {
        Self { stream, deaf: false, allowance, _open: open }
    }

    /// What was not taken counts as written; the reading side then tells how it ended.
    fn or_deaf<T>(&mut self, result: Poll<io::Result<T>>, instead: T) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match result {
            Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                self.deaf = true;
                Poll::Ready(Ok(instead))
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.allowance.take(buf.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.or_deaf(result, buf.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_deaf(result, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

const UNLIMITED: usize = usize::MAX;
/// More than hyper reads ahead in several goes, each of which may bring a good part of the answer's body.
const FOR_NOTHING: usize = 2 << 20;

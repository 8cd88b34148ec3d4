//! A stream under watch: it lets through only what has one reading, and tells where it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Followed, Framing, Place};
use super::watch::{Stage, Watch};

/// An HTTP/1 connection's stream. After an upgrade it belongs to the new protocol and lets everything through.
pub(super) struct Guarded<S> {
    stream: S,
    watch: Arc<Watch>,
    framing: Framing,
    /// What came after an upgrade request, before its answer (A4).
    held: Vec<u8>,
    refused: bool,
    /// What was read and thrown away after our last word.
    drained: usize,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>, head_bytes: usize) -> Self {
        Self { stream, watch, framing: Framing::new(head_bytes), held: Vec::new(), refused: false, drained: 0 }
    }

    /// Checks what was read after `before`, and takes back what can't be passed on.
    fn inspect(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let passed = match self.framing.follow(fresh) {
            Followed::All => fresh.len(),
            Followed::Until(end) => {
                self.held.splice(0..0, fresh.get(end..).unwrap_or_default().iter().copied());
                end
            }
            // hyper is made to see what it would have overlooked: no part of a head or of a chunk's size may hold a
            // NUL, so it answers 400 and closes, or breaks the body off
            Followed::Refused(at) => {
                self.refused = true;
                self.watch.refuse();
                if let Some(byte) = buf.filled_mut().get_mut(before + at) {
                    *byte = 0;
                }
                at + 1
            }
        };
        buf.set_filled(before + passed);
        let stage = match self.framing.place() {
            Place::Between => Stage::Between,
            Place::RequestLine | Place::Head => Stage::Head,
            Place::Body(_) | Place::ChunkSize | Place::Chunk(_) | Place::Trailers => Stage::Body,
            Place::Undecided => Stage::Undecided,
        };
        self.watch.set_stage(stage, self.framing.heads());
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Whether there is more to read, or the end: what has come is held until it is asked for.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scrap = [0; 1024];
        let mut buf = ReadBuf::new(&mut scrap);
        if !self.held.is_empty() {
            return Poll::Ready(Ok(true));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        Poll::Ready(Ok(!self.held.is_empty()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let tunnel = this.watch.is_tunnel();
        if this.refused {
            return Poll::Ready(Ok(())); // as if it had ended there
        }
        if !tunnel && this.framing.place() == Place::Undecided {
            if this.watch.is_in_flight() {
                this.watch.wake_when_decided(cx);
                return Poll::Pending;
            }
            this.framing.decide();
            this.watch.set_stage(Stage::Between, this.framing.heads());
        }
        let before = buf.filled().len();
        if this.held.is_empty() {
            let read = Pin::new(&mut this.stream).poll_read(cx, buf);
            this.watch.note_read(read.is_ready().then(|| buf.filled().len() - before));
            ready!(read)?;
        } else {
            let length = this.held.len().min(buf.remaining());
            buf.put_slice(this.held.drain(..length).as_slice());
            if this.held.is_empty() {
                this.held = Vec::new(); // with its memory: it is seldom needed
            }
        }
        if !tunnel {
            this.inspect(buf, before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch.note_write(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch.note_write(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch.note_flush(flushed.is_pending());
        flushed
    }

    /// Closes our side. A client that is still sending, as it was refused or answered early, would be reset and lose
    /// that answer (RFC 9112 §9.6): what it sends is thrown away for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        if this.watch.is_tunnel()
            || !(this.refused || matches!(this.framing.place(), Place::Body(_) | Place::Chunk(_) | Place::ChunkSize))
        {
            return Poll::Ready(Ok(()));
        }
        this.watch.set_stage(Stage::Closing, this.framing.heads());
        let mut scrap = [0; 4096];
        while this.drained < DRAIN_LIMIT {
            let mut buf = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => this.drained += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        self.watch.note_closed();
    }
}

/// Thrown away at most of what a client sends after our last answer: more than it writes before it looks, as some don't
/// look any more once a write has failed. It has only so long for that.
const DRAIN_LIMIT: usize = 64 << 20;

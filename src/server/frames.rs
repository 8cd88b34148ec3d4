//! An HTTP/2 connection's stream, with a budget for frames that carry nothing (A13).
//!
//! h2 answers floods of resets, CONTINUATION and empty DATA by itself, but acknowledges PING and SETTINGS for ever, as
//! fast as they come. What a client may send of such frames is bound here to what it does besides.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::watch::Watch;

/// A stream whose frames are counted.
pub(super) struct Counted<S> {
    stream: S,
    watch: Arc<Watch>,
    frames: Frames,
    flooded: bool,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>) -> Self {
        Self { stream, watch, frames: Frames::new(Instant::now()), flooded: false }
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        self.watch.note_write(written.is_pending());
        if let Poll::Ready(Ok(bytes)) = written {
            self.frames.credit(*bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.flooded {
            return Poll::Ready(Ok(())); // as if it had ended there
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(at) = this.frames.follow(buf.filled().get(before..).unwrap_or_default(), Instant::now) {
            this.flooded = true;
            this.watch.refuse();
            // h2 says GOAWAY to a frame that can't be
            if let Some(header) = buf.filled_mut().get_mut(before + at..before + at + HEADER) {
                header.copy_from_slice(&IMPOSSIBLE);
                buf.set_filled(before + at + HEADER);
            } else {
                buf.set_filled(before + at);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Follows frames (RFC 9113 §4.1): nine bytes of header, then as many as its first three say.
#[derive(Debug)]
pub struct Frames {
    /// Bytes to the next header; at first, those of the preface.
    skip: usize,
    header: [u8; HEADER],
    /// How many of `header` are there.
    known: usize,
    budget: usize,
    /// Written bytes that have not made a frame's credit yet.
    written: usize,
    filled: Instant,
}

impl Frames {
    /// A connection that begins now, with its preface.
    pub fn new(now: Instant) -> Self {
        Self { skip: PREFACE, header: [0; HEADER], known: 0, budget: BURST, written: 0, filled: now }
    }

    /// What we send makes the client send WINDOW_UPDATE and PING.
    fn credit(&mut self, written: usize) {
        self.written += written;
        self.budget = (self.budget + self.written / BYTES_A_FRAME).min(BURST);
        self.written %= BYTES_A_FRAME;
    }

    /// The place of the header that exceeds the budget, or of what is here of it.
    pub fn follow(&mut self, bytes: &[u8], now: impl Fn() -> Instant) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let step = self.skip.min(bytes.len() - at);
            self.skip -= step;
            at += step;
            let start = at;
            while let (Some(byte), Some(place)) = (bytes.get(at), self.header.get_mut(self.known)) {
                *place = *byte;
                self.known += 1;
                at += 1;
            }
            if self.known == HEADER {
                self.known = 0;
                let [a, b, c, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                if !self.allows(kind, &now) {
                    return Some(start);
                }
            }
        }
        None
    }

    fn allows(&mut self, kind: u8, now: impl Fn() -> Instant) -> bool {
        if kind == DATA || kind == HEADERS {
            self.budget = (self.budget + FRAMES_A_REQUEST).min(BURST);
            return true;
        }
        if self.budget == 0 {
            let now = now();
            if now.duration_since(self.filled) < REFILL {
                return false;
            }
            (self.filled, self.budget) = (now, BURST);
        }
        self.budget -= 1;
        true
    }
}

const PREFACE: usize = 24;
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// A PING must have eight bytes (RFC 9113 §6.7): FRAME_SIZE_ERROR, which ends the connection.
const IMPOSSIBLE: [u8; HEADER] = [0, 0, 0, 6, 0, 0, 0, 0, 0];
/// Frames that a client may send for nothing at once, and again after each `REFILL`.
const BURST: usize = 1000;
const REFILL: std::time::Duration = std::time::Duration::from_secs(10);
/// Frames that a request, or a piece of its body, may bring along.
const FRAMES_A_REQUEST: usize = 4;
/// Bytes of ours that a client may answer with one frame; Go's client sends two for every 4 KiB.
const BYTES_A_FRAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 0];
        frame.resize(HEADER + usize::from(length), 0xff);
        frame
    }

    fn start(frames: &mut Frames) {
        assert_eq!(frames.follow(&[0; PREFACE], Instant::now), None);
    }

    #[test]
    fn a_flood_of_pings_ends_where_the_budget_does() {
        // A13
        let now = Instant::now();
        for size in [1, 7, 17, 1000] {
            let mut frames = Frames::new(now);
            start(&mut frames);
            let flood = frame(6, 8).repeat(BURST + 1);
            let (mut passed, mut end) = (0, None);
            for piece in flood.chunks(size) {
                end = frames.follow(piece, || now).map(|at| passed + at);
                if end.is_some() {
                    break;
                }
                passed += piece.len();
            }
            let expected = BURST * 17;
            // where the header came in pieces, what was passed on is not taken back
            assert!(end.is_some_and(|end| (expected..expected + HEADER).contains(&end)), "{size}: {end:?}");
        }
    }

    #[test]
    fn a_client_that_does_something_has_budget() {
        let now = Instant::now();
        let mut frames = Frames::new(now);
        start(&mut frames);
        for _ in 0..3 * BURST {
            frames.credit(4096);
            assert_eq!(frames.follow(&[frame(8, 4), frame(8, 4)].concat(), || now), None, "window updates");
        }
        for _ in 0..3 * BURST {
            assert_eq!(frames.follow(&[frame(1, 30), frame(6, 8), frame(3, 4)].concat(), || now), None);
        }
        assert_eq!(frames.follow(&frame(6, 8).repeat(2 * BURST), || now + REFILL), Some((2 * BURST - 2) * 17));
    }
}

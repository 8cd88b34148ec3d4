//! A body that is checked on its way against what was signed of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Announced, Chain, ChunkError, Decoder, Piece};
use crate::sigv4::digest::HexDigest;
use crate::web::{Body, BoxError};

/// What a body must be.
#[derive(Clone, Debug)]
pub enum Check {
    /// Bytes with this digest.
    Digest(HexDigest),
    /// Chunks with the signatures of this chain.
    Chunks(Announced, Chain),
}

/// A body as it comes, but for its last piece, which is held until all of it has been found right: what is wrong breaks
/// off, and whoever stores it never has the whole (A30).
pub struct Checked {
    source: Body,
    judge: Judge,
    held: Bytes,
    is_done: bool,
    is_right: Arc<AtomicBool>,
}

/// Whether a body was found right, for who has let it go.
#[derive(Clone, Debug)]
pub struct Verdict(Arc<AtomicBool>);

impl Verdict {
    /// Whether all of it has come and was right.
    pub fn is_right(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

enum Judge {
    Digest { expected: HexDigest, content: digest::Context },
    Chunks(Box<Chunks>),
}

struct Chunks {
    decoder: Decoder,
    chain: Chain,
    /// The content of the chunk that is coming.
    content: digest::Context,
    /// The signature it must have.
    expected: Option<HexDigest>,
}

impl Checked {
    /// `source`, which must be what `check` says.
    pub fn new(source: Body, check: Check) -> Self {
        let content = digest::Context::new(&digest::SHA256);
        let judge = match check {
            Check::Digest(expected) => Judge::Digest { expected, content },
            Check::Chunks(announced, chain) => {
                let decoder = Decoder::new(&announced);
                Judge::Chunks(Box::new(Chunks { decoder, chain, content, expected: None }))
            }
        };
        Self { source, judge, held: Bytes::new(), is_done: false, is_right: Arc::default() }
    }

    /// What will say whether it was right.
    pub fn verdict(&self) -> Verdict {
        Verdict(Arc::clone(&self.is_right))
    }
}

impl Judge {
    fn see(&mut self, piece: &Bytes) -> Result<(), ChunkError> {
        match self {
            Self::Digest { content, .. } => content.update(piece),
            Self::Chunks(chunks) => chunks.see(piece.clone())?,
        }
        Ok(())
    }

    fn conclude(&mut self) -> Result<(), ChunkError> {
        match self {
            Self::Digest { expected, content } => {
                let found = HexDigest::from_bytes(content.clone().finish().as_ref());
                if found.matches(expected.as_str()) { Ok(()) } else { Err(ChunkError::Digest) }
            }
            Self::Chunks(chunks) => chunks.decoder.finish(),
        }
    }
}

impl Chunks {
    fn see(&mut self, mut input: Bytes) -> Result<(), ChunkError> {
        while let Some(piece) = self.decoder.next(&mut input)? {
            match piece {
                Piece::Data(data) => self.content.update(&data),
                Piece::Chunk { size, signature } => {
                    self.judge()?;
                    self.expected = signature;
                    if size == 0 {
                        self.judge()?;
                    }
                }
                Piece::End { trailers, signature: Some(signature) } => {
                    same(&self.chain.trailers(&trailers), &signature)?;
                }
                Piece::End { signature: None, .. } => {}
            }
        }
        Ok(())
    }

    /// The chunk that has come, if one has.
    fn judge(&mut self) -> Result<(), ChunkError> {
        let Some(expected) = self.expected.take() else { return Ok(()) };
        let content = std::mem::replace(&mut self.content, digest::Context::new(&digest::SHA256));
        let content = HexDigest::from_bytes(content.finish().as_ref());
        same(&self.chain.chunk(&content), &expected)
    }
}

fn same(made: &HexDigest, sent: &HexDigest) -> Result<(), ChunkError> {
    if made.matches(sent.as_str()) { Ok(()) } else { Err(ChunkError::Signature) }
}

impl http_body::Body for Checked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while !this.is_done {
            let piece = match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(), // HTTP's own trailers are signed by nobody
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.is_done = true;
                    if let Err(error) = this.judge.conclude() {
                        this.held = Bytes::new();
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    this.is_right.store(true, Ordering::Release);
                    break;
                }
            };
            if piece.is_empty() {
                continue;
            }
            if let Err(error) = this.judge.see(&piece) {
                (this.is_done, this.held) = (true, Bytes::new());
                return Poll::Ready(Some(Err(error.into())));
            }
            let sent = std::mem::replace(&mut this.held, piece);
            if !sent.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(sent))));
            }
        }
        let last = std::mem::take(&mut this.held);
        Poll::Ready((!last.is_empty()).then(|| Ok(Frame::data(last))))
    }

    /// Never before it was judged: nobody asks for the end of a body that says it has ended.
    fn is_end_stream(&self) -> bool {
        self.is_done && self.held.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, held) = (http_body::Body::size_hint(&self.source), self.held.len() as u64);
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + held),
            None => hint.set_lower(hint.lower() + held),
        }
        hint
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").finish_non_exhaustive()
    }
}

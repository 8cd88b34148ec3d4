//! A body framed anew on its way: it streams, and no more of it is held than a chunk of ours.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Announced, Chain, ChunkError, Decoder, Encoder, Piece, Trailer};
use crate::web::{Body, BoxError};

/// A body in chunks of ours. Its last chunk is not made before all of the source has come and was right, so that whoever
/// stores it sees a cut body where it was not.
pub struct Recoded {
    source: Body,
    /// Where the source is in chunks.
    decoder: Option<Decoder>,
    encoder: Encoder,
    /// Of the source, and not yet decoded.
    input: Bytes,
    /// Decoded, and in no chunk yet.
    data: Bytes,
    trailers: Vec<Trailer>,
    /// How much is still to be sent.
    left: u64,
    is_done: bool,
}

impl Recoded {
    /// `source`, which is in chunks as `from` says, or plain content of the same length where nothing is said; framed as
    /// `to` says, and signed by `chain`.
    ///
    /// # Errors
    /// [`ChunkError::Length`]: no body can be so long.
    pub fn new(
        source: Body,
        from: Option<&Announced>,
        to: &Announced,
        chain: Option<Chain>,
    ) -> Result<Self, ChunkError> {
        Ok(Self {
            source,
            decoder: from.map(Decoder::new),
            encoder: Encoder::new(to, chain),
            input: Bytes::new(),
            data: Bytes::new(),
            trailers: Vec::new(),
            left: to.encoded_length().ok_or(ChunkError::Length)?,
            is_done: false,
        })
    }

    /// What can be made of what is at hand; nothing where more of the source is wanted.
    fn made(&mut self) -> Result<Option<Bytes>, ChunkError> {
        loop {
            if let Some(chunk) = self.encoder.push(&mut self.data)? {
                return Ok(Some(chunk));
            }
            if !self.data.is_empty() {
                continue;
            }
            let Some(decoder) = &mut self.decoder else {
                self.data = std::mem::take(&mut self.input);
                if self.data.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            match decoder.next(&mut self.input)? {
                None => return Ok(None),
                Some(Piece::Data(data)) => self.data = data,
                Some(Piece::Chunk { .. }) => {}
                Some(Piece::End { trailers, .. }) => self.trailers = trailers,
            }
        }
    }

    fn end(&mut self) -> Result<Bytes, ChunkError> {
        self.decoder.as_ref().map_or(Ok(()), Decoder::finish)?;
        self.is_done = true;
        self.encoder.finish(&self.trailers)
    }

    fn sent(&mut self, piece: Result<Bytes, ChunkError>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = piece.inspect_err(|_| self.is_done = true)?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl http_body::Body for Recoded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.is_done {
            return Poll::Ready(None);
        }
        loop {
            if let Some(made) = this.made().transpose() {
                return this.sent(made);
            }
            match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
                Some(Ok(frame)) => this.input = frame.into_data().unwrap_or_default(), // HTTP's own trailers go
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let end = this.end();
                    return this.sent(end);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_done
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for Recoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recoded").field("left", &self.left).finish_non_exhaustive()
    }
}

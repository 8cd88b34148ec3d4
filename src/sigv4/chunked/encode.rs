//! Putting a body together.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Announced, CHUNK, CHUNK_SIGNATURE, Chain, ChunkError, SIGNATURE, TRAILER_SIGNATURE, Trailer};
use crate::sigv4::digest::HexDigest;

/// Writes content in chunks of [`CHUNK`] bytes, each in one piece, and holds no more than one of them.
#[derive(Debug)]
pub struct Encoder {
    /// Signs; none where chunks go unsigned.
    chain: Option<Chain>,
    /// How much content may still come.
    left: u64,
    /// Room for a chunk's line, and its content so far.
    chunk: BytesMut,
}

impl Encoder {
    /// For content that was announced so. With a chain each chunk is signed, and where there are checksums these are.
    pub fn new(announced: &Announced, chain: Option<Chain>) -> Self {
        Self { chain, left: announced.length, chunk: BytesMut::new() }
    }

    /// Takes content, and gives a chunk where one is full; the rest stays in `data`.
    ///
    /// # Errors
    /// [`ChunkError::Length`]
    pub fn push(&mut self, data: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        if data.is_empty() {
            return Ok(None);
        }
        if self.chunk.is_empty() {
            let content = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
            self.chunk.reserve(ROOM + content + 2);
            self.chunk.put_bytes(0, ROOM);
        }
        let piece = data.split_to(data.len().min(ROOM + CHUNK - self.chunk.len()));
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(ChunkError::Length)?;
        self.chunk.extend_from_slice(&piece);
        Ok((self.chunk.len() == ROOM + CHUNK).then(|| self.close()))
    }

    /// What is left of the content, the last chunk and the checksums.
    ///
    /// # Errors
    /// [`ChunkError::Length`]
    pub fn finish(&mut self, trailers: &[Trailer]) -> Result<Bytes, ChunkError> {
        if self.left > 0 {
            return Err(ChunkError::Length);
        }
        let mut out = BytesMut::new();
        if !self.chunk.is_empty() {
            out = self.close().into();
        }
        let signature = self.sign(&[]);
        out.extend_from_slice(&head(0, signature.as_ref()));
        for trailer in trailers {
            [trailer.checksum.name(), ":", &trailer.value, "\r\n"].iter().for_each(|text| out.put(text.as_bytes()));
        }
        if let Some(chain) = self.chain.as_ref().filter(|_| !trailers.is_empty()) {
            let signature = chain.trailers(trailers);
            [TRAILER_SIGNATURE, ":", signature.as_str(), "\r\n"].iter().for_each(|text| out.put(text.as_bytes()));
        }
        out.put(&b"\r\n"[..]);
        Ok(out.freeze())
    }

    /// The chunk with its line before it, which is written into the end of the room left for it.
    fn close(&mut self) -> Bytes {
        let mut chunk = std::mem::take(&mut self.chunk);
        let size = chunk.len() - ROOM;
        let signature = self.sign(chunk.get(ROOM..).unwrap_or_default());
        let line = head(size, signature.as_ref());
        let start = ROOM - line.len();
        if let Some(room) = chunk.get_mut(start..ROOM) {
            room.copy_from_slice(&line);
        }
        chunk.put(&b"\r\n"[..]);
        chunk.freeze().slice(start..)
    }

    fn sign(&mut self, content: &[u8]) -> Option<HexDigest> {
        self.chain.as_mut().map(|chain| chain.chunk(&HexDigest::of(content)))
    }
}

fn head(size: usize, signature: Option<&HexDigest>) -> Vec<u8> {
    let mut line = format!("{size:x}").into_bytes();
    if let Some(signature) = signature {
        line.extend_from_slice(CHUNK_SIGNATURE.as_bytes());
        line.extend_from_slice(signature.as_str().as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// For the longest line before a chunk.
const ROOM: usize = 16 + CHUNK_SIGNATURE.len() + SIGNATURE + 2;

//! Taking a body apart as it comes.

use bytes::Bytes;

use super::line::{Line, Lines};
use super::{Announced, CHUNK_SIGNATURE, Checksum, ChunkError, ChunkMode, TRAILER_SIGNATURE, Trailer};
use crate::sigv4::digest::HexDigest;

/// Reads an `aws-chunked` body piece by piece, however it is split, and holds no more of it than a line.
#[derive(Debug)]
pub struct Decoder {
    mode: ChunkMode,
    /// How much content may still come.
    left: u64,
    /// Checksums that were announced and have not come.
    awaited: Vec<Checksum>,
    trailers: Vec<Trailer>,
    signature: Option<HexDigest>,
    lines: Lines,
    state: State,
}

/// What was read.
#[derive(Debug)]
pub enum Piece {
    /// A chunk begins; the last has no content.
    Chunk {
        /// Its content's length in bytes.
        size: u64,
        /// Its signature, where chunks have one.
        signature: Option<HexDigest>,
    },
    /// Content of the chunk.
    Data(Bytes),
    /// All that comes behind the last chunk, and the end.
    End {
        /// The checksums.
        trailers: Vec<Trailer>,
        /// The signature of the checksums, where they have one.
        signature: Option<HexDigest>,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a chunk.
    Size,
    /// In one, with so much of it to come.
    Data(u64),
    /// Behind its content.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    /// As that, after a trailer whose line ended by LF: some clients write that and CR LF after it.
    TrailerEnd,
    /// Behind it all.
    End,
}

impl Decoder {
    /// For a body that was announced so.
    pub fn new(announced: &Announced) -> Self {
        Self {
            mode: announced.mode,
            left: announced.length,
            awaited: announced.checksums.clone(),
            trailers: Vec::new(),
            signature: None,
            lines: Lines::default(),
            state: State::Size,
        }
    }

    /// The next piece of what is in `input`, which is taken out of it; none where more is wanted.
    ///
    /// # Errors
    /// See [`ChunkError`]; there is no going on after one.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Piece>, ChunkError> {
        loop {
            if let State::Data(left) = self.state {
                if input.is_empty() {
                    return Ok(None);
                }
                let size = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                self.state = match left - size as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
                return Ok(Some(Piece::Data(input.split_to(size))));
            }
            if input.is_empty() {
                return Ok(None);
            }
            if let State::End = self.state {
                return Err(ChunkError::Malformed("something comes behind its end"));
            }
            let Some(line) = self.lines.next(input)? else { return Ok(None) };
            if let Some(piece) = self.line(&line)? {
                return Ok(Some(piece));
            }
        }
    }

    /// Whether nothing is missing, now that nothing more comes.
    ///
    /// # Errors
    /// [`ChunkError::Truncated`].
    pub fn finish(&self) -> Result<(), ChunkError> {
        if let State::End = self.state { Ok(()) } else { Err(ChunkError::Truncated) }
    }

    fn line(&mut self, line: &Line) -> Result<Option<Piece>, ChunkError> {
        let is_trailer = matches!(self.state, State::Trailers) && !line.text.is_empty();
        if !line.has_return && !is_trailer {
            return Err(ChunkError::Malformed("a line ends without CR LF"));
        }
        match self.state {
            State::Size => self.chunk(&line.text).map(Some),
            State::DataEnd | State::TrailerEnd if !line.text.is_empty() => {
                Err(ChunkError::Malformed("something stands where a line must end"))
            }
            State::DataEnd => {
                self.state = State::Size;
                Ok(None)
            }
            State::TrailerEnd => {
                self.state = State::Trailers;
                Ok(None)
            }
            State::Trailers if line.text.is_empty() => self.end().map(Some),
            State::Trailers => {
                self.trailer(&line.text)?;
                self.state = if line.has_return { State::Trailers } else { State::TrailerEnd };
                Ok(None)
            }
            State::Data(_) | State::End => Err(ChunkError::Malformed("something comes behind its end")),
        }
    }

    fn chunk(&mut self, line: &str) -> Result<Piece, ChunkError> {
        let (size, signature) = match line.split_once(CHUNK_SIGNATURE) {
            Some((size, signature)) if self.mode.is_signed() => (size, Some(digest(signature)?)),
            None if !self.mode.is_signed() => (line, None),
            _ => return Err(ChunkError::Malformed("a chunk has a signature where there is none, or lacks one")),
        };
        // no sign, no space, no 0x: what `from_str_radix` takes besides digits is refused first
        let is_size = (1..=16).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| is_size);
        let size = size.ok_or(ChunkError::Malformed("a chunk's length is no hexadecimal number"))?;
        self.left = self.left.checked_sub(size).ok_or(ChunkError::Length)?;
        if size == 0 && self.left > 0 {
            return Err(ChunkError::Length);
        }
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        Ok(Piece::Chunk { size, signature })
    }

    fn trailer(&mut self, line: &str) -> Result<(), ChunkError> {
        if self.signature.is_some() {
            return Err(ChunkError::Malformed("something comes behind the signature of the trailers"));
        }
        if self.mode == ChunkMode::SignedTrailer
            && let Some(signature) = line.strip_prefix(TRAILER_SIGNATURE).and_then(|rest| rest.strip_prefix(':'))
        {
            self.signature = Some(digest(signature.trim_matches(' '))?);
            return Ok(());
        }
        let trailer = Trailer::read(line)?;
        let at = self.awaited.iter().position(|awaited| *awaited == trailer.checksum);
        self.awaited.remove(at.ok_or(ChunkError::Malformed("a trailer was not announced, or comes twice"))?);
        self.trailers.push(trailer);
        Ok(())
    }

    fn end(&mut self) -> Result<Piece, ChunkError> {
        if !self.awaited.is_empty() {
            return Err(ChunkError::Malformed("a trailer that was announced is missing"));
        }
        if self.mode == ChunkMode::SignedTrailer && self.signature.is_none() {
            return Err(ChunkError::Malformed("the signature of the trailers is missing"));
        }
        self.state = State::End;
        Ok(Piece::End { trailers: std::mem::take(&mut self.trailers), signature: self.signature.take() })
    }
}

fn digest(text: &str) -> Result<HexDigest, ChunkError> {
    text.parse().map_err(|_| ChunkError::Malformed("a signature is not 64 lower-case hex digits"))
}

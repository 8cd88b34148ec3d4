//! Lines of the framing, which may come in pieces, and never be long.

use bytes::{Buf as _, Bytes};

use super::ChunkError;

/// Gathers one line after the other.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

/// A line, and how it ended.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) text: String,
    /// By CR LF, and not by LF alone.
    pub(super) has_return: bool,
}

impl Lines {
    /// The next line, if its end is in `input`; what is read of it is taken.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Line>, ChunkError> {
        let end = memchr::memchr(b'\n', input);
        let piece = end.map_or(input.len(), |end| end + 1);
        if self.0.len() + piece > LONGEST {
            return Err(ChunkError::Malformed("a line is too long"));
        }
        self.0.extend_from_slice(input.get(..piece).unwrap_or_default());
        input.advance(piece);
        if end.is_none() {
            return Ok(None);
        }
        self.0.pop();
        let has_return = self.0.pop_if(|last| *last == b'\r').is_some();
        let text = std::mem::take(&mut self.0);
        // no second CR, no NUL, nothing that another reader could take for the end of the line (A30)
        match String::from_utf8(text) {
            Ok(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(Some(Line { text, has_return })),
            _ => Err(ChunkError::Malformed("a line is not printable ASCII")),
        }
    }
}

/// The longest line that is one: a checksum of 64 bytes, and a signature.
const LONGEST: usize = 256;

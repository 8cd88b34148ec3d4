//! `aws-chunked` bodies: content in pieces that tell their length, each signed after the one before or none at all, and
//! checksums behind.
//!
//! After the [S3 API Reference](https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html). It is a coding of
//! the content and none of HTTP's: the length in `Content-Length` is that of the chunks, the content's own stands in
//! `x-amz-decoded-content-length`. A [`Decoder`] takes it apart, an [`Encoder`] puts it together, [`Recoded`] does both on
//! the way, and [`Checked`] is for who knows the client's key.

mod chain;
mod check;
mod checksum;
mod decode;
mod encode;
mod line;
mod recode;
#[cfg(test)]
mod tests;

use http::HeaderMap;
use http::header::{self, HeaderName};

pub use chain::Chain;
pub use check::{Check, Checked, Verdict};
pub use checksum::{Checksum, Trailer};
pub use decode::{Decoder, Piece};
pub use encode::Encoder;
pub use recode::Recoded;

#[cfg(test)]
use super::digest::HexDigest;
use super::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DECODED_CONTENT_LENGTH, X_AMZ_TRAILER};

/// What the chunks of a body carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChunkMode {
    /// No signatures, and checksums at the end: `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    Unsigned,
    /// A signature each: `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    Signed,
    /// A signature each, and checksums with another at the end: `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`.
    SignedTrailer,
}

/// What the head says of a body in chunks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announced {
    /// What the chunks carry.
    pub mode: ChunkMode,
    /// The content's length in bytes.
    pub length: u64,
    /// The checksums that come behind it.
    pub checksums: Vec<Checksum>,
}

/// Why a body in chunks is not taken: everything that a lenient reader could take two ways, as the storage might (A30).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChunkError {
    /// The head contradicts itself, or says too little.
    #[error("{0}")]
    Head(String),
    /// A line of the framing is not what it must be.
    #[error("the aws-chunked body is malformed: {0}")]
    Malformed(&'static str),
    /// More or less content than was announced.
    #[error("the content is not as long as x-amz-decoded-content-length says")]
    Length,
    /// It ended early.
    #[error("the aws-chunked body ends before its last chunk is complete")]
    Truncated,
    /// A signature is another than the client's key makes.
    #[error("a signature in the body does not match")]
    Signature,
    /// The body has another digest than was signed.
    #[error("the body is not the one that was signed")]
    Digest,
}

impl ChunkMode {
    /// By the value of `x-amz-content-sha256`, to the letter.
    pub fn parse(declared: &str) -> Option<Self> {
        [Self::Unsigned, Self::Signed, Self::SignedTrailer].into_iter().find(|mode| mode.as_str() == declared)
    }

    /// What the head declares; nothing where the body is in no chunks.
    ///
    /// # Errors
    /// [`ChunkError::Head`]: signed as plain bytes such a body would be stored with its framing, and nobody would notice.
    pub fn declared(headers: &HeaderMap) -> Result<Option<Self>, ChunkError> {
        let streams = |value: &[u8]| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"STREAMING-"));
        let mut declared = headers.get_all(X_AMZ_CONTENT_SHA256).iter().map(|value| value.as_bytes().trim_ascii());
        let (first, second) = (declared.next().unwrap_or_default(), declared.next());
        if !streams(first) && !second.is_some_and(streams) && !declared.any(streams) {
            let is_chunked = codings(headers).any(is_aws_chunked);
            return if is_chunked { Err(ChunkError::Head(UNDECLARED.into())) } else { Ok(None) };
        }
        if second.is_some() {
            return Err(ChunkError::Head("x-amz-content-sha256 is sent more than once".into()));
        }
        let text = String::from_utf8_lossy(first);
        Self::parse(&text).map(Some).ok_or_else(|| {
            let advice = if text.contains("ECDSA") { SIGV4A } else { "" };
            ChunkError::Head(format!("the body is framed as `{text}`, which is not taken here{advice}"))
        })
    }

    /// The value of `x-amz-content-sha256`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            Self::Signed => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Self::SignedTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        }
    }

    /// Whether chunks carry signatures.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Signed | Self::SignedTrailer)
    }

    /// Whether checksums may come behind.
    pub const fn has_trailer(self) -> bool {
        matches!(self, Self::Unsigned | Self::SignedTrailer)
    }
}

impl Announced {
    /// What the head says; nothing where the body is in no chunks.
    ///
    /// # Errors
    /// [`ChunkError::Head`]
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, ChunkError> {
        let Some(mode) = ChunkMode::declared(headers)? else { return Ok(None) };
        let length = match only(headers, &X_AMZ_DECODED_CONTENT_LENGTH)? {
            Some(digits) if (1..=19).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| ChunkError::Length)?
            }
            _ => return Err(ChunkError::Head("x-amz-decoded-content-length is missing or no length".into())),
        };
        let checksums = Checksum::announced(only(headers, &X_AMZ_TRAILER)?.unwrap_or_default())?;
        if !mode.has_trailer() && !checksums.is_empty() {
            return Err(ChunkError::Head(format!("x-amz-trailer announces what `{}` has no room for", mode.as_str())));
        }
        if mode == ChunkMode::SignedTrailer && checksums.is_empty() {
            return Err(ChunkError::Head("x-amz-trailer does not say which checksum comes behind the body".into()));
        }
        Ok(Some(Self { mode, length, checksums }))
    }

    /// The same content in chunks with signatures, and its checksums.
    pub fn signed(&self) -> Self {
        let mode = if self.checksums.is_empty() { ChunkMode::Signed } else { ChunkMode::SignedTrailer };
        Self { mode, ..self.clone() }
    }

    /// How long the body is whose chunks are [`CHUNK`] long. Nothing where no body can be so long.
    pub fn encoded_length(&self) -> Option<u64> {
        let signature = |name: &str| if self.mode.is_signed() { (name.len() + SIGNATURE) as u64 } else { 0 };
        let frame = |size: u64| hex_digits(size) + signature(CHUNK_SIGNATURE) + 2;
        let chunk = CHUNK as u64;
        let (full, rest) = (self.length / chunk, self.length % chunk);
        let full = full.checked_mul(frame(chunk) + chunk + 2)?;
        let rest = if rest == 0 { 0 } else { frame(rest) + rest + 2 };
        let lines = self.checksums.iter().map(|checksum| checksum.line_length() as u64).sum::<u64>();
        let lines = lines + if self.mode == ChunkMode::SignedTrailer { signature(TRAILER_SIGNATURE) + 3 } else { 0 };
        full.checked_add(rest)?.checked_add(frame(0) + lines + 2)
    }
}

/// Without `aws-chunked`, and without the header where nothing else is left.
pub fn strip_coding(headers: &mut HeaderMap) {
    if codings(headers).any(is_aws_chunked) {
        let kept: Vec<&[u8]> = codings(headers).filter(|coding| !is_aws_chunked(coding)).collect();
        let kept = http::HeaderValue::from_bytes(&kept.join(&b", "[..])).ok().filter(|value| !value.is_empty());
        headers.remove(header::CONTENT_ENCODING);
        headers.extend(kept.map(|value| (header::CONTENT_ENCODING, value)));
    }
}

fn codings(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.flat_map(|value| value.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii)
}

fn is_aws_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(AWS_CHUNKED.as_bytes())
}

/// The only value of a header, if it is there.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ChunkError> {
    let mut values = headers.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    value.map(|value| Some(value.trim())).ok_or_else(|| ChunkError::Head(format!("`{name}` is not one text")))
}

fn hex_digits(number: u64) -> u64 {
    u64::from((u64::BITS - number.leading_zeros()).div_ceil(4).max(1))
}

/// The coding's name in `Content-Encoding`.
pub const AWS_CHUNKED: &str = "aws-chunked";
/// How much content our chunks hold. S3 wants 8 KiB at least; the larger they are the less they cost, and the more memory
/// a body takes that is on its way.
pub const CHUNK: usize = 64 * 1024;
const CHUNK_SIGNATURE: &str = ";chunk-signature=";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// The digits of a signature.
const SIGNATURE: usize = 64;
const SIGV4A: &str = ": chunks that are signed by SigV4a can't be read; set the client to leave payloads unsigned";
const UNDECLARED: &str = "the body is in aws-chunked encoding, but x-amz-content-sha256 does not say how; expected \
     STREAMING-UNSIGNED-PAYLOAD-TRAILER or STREAMING-AWS4-HMAC-SHA256-PAYLOAD, with or without -TRAILER";

//! How a body goes on: as it is, or framed anew in chunks that are signed.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http_body::Body as _;
use serde::Deserialize;

use crate::inject::InjectError;
use crate::sigv4::chunked::{AWS_CHUNKED, Announced, Chain, ChunkError, ChunkMode, Recoded};
use crate::sigv4::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DECODED_CONTENT_LENGTH};
use crate::sigv4::{HexDigest, Payload};
use crate::web::Body;

/// What of a body is signed for S3.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum PayloadSetting {
    /// Small bodies, and what the client has signed of its own: its digest, or its chunks.
    #[default]
    AsSent,
    /// Every one: where there is no digest, in chunks.
    Signed,
}

/// The way that a body takes.
#[derive(Debug)]
pub(super) enum Road {
    /// As it is.
    Straight(Payload),
    /// Taken out of its chunks, if it is in some, and into chunks that we sign.
    Anew { from: Option<Announced>, to: Announced },
}

impl Road {
    /// S3 takes bodies in each of its modes.
    pub(super) fn of_s3(headers: &HeaderMap, body: &Body, setting: PayloadSetting) -> Result<Self, InjectError> {
        match ChunkMode::declared(headers).map_err(unsignable)? {
            Some(ChunkMode::Unsigned) if setting == PayloadSetting::AsSent => {
                return Ok(Self::Straight(Payload::Chunked(ChunkMode::Unsigned)));
            }
            // the signatures in it are made with keys of the client's, and nobody else can make them
            Some(_) => {
                let from = Announced::read(headers).map_err(unsignable)?;
                let to = from.as_ref().map(Announced::signed).ok_or(InjectError::Missing("how the body is framed"))?;
                return Ok(Self::Anew { from, to });
            }
            None => {}
        }
        if let Some(payload) = at_hand(body) {
            // S3 compares what the client has counted: what is lost on the way to us is not made good by our signature
            return Ok(Self::Straight(declared(headers).map_or(payload, Payload::Hash)));
        }
        match (declared(headers), setting, body.size_hint().exact()) {
            (Some(digest), ..) => Ok(Self::Straight(Payload::Hash(digest))),
            (None, PayloadSetting::AsSent, _) => Ok(Self::Straight(Payload::Unsigned)),
            (None, PayloadSetting::Signed, Some(length)) => {
                let to = Announced { mode: ChunkMode::Signed, length, checksums: Vec::new() };
                Ok(Self::Anew { from: None, to })
            }
            (None, PayloadSetting::Signed, None) => Err(InjectError::Unsignable(LENGTHLESS.to_owned())),
        }
    }

    /// For a signer that signs no chunks: these go on without, where checksums speak for the content.
    pub(super) fn without_signatures(self) -> Result<Self, InjectError> {
        match self {
            Self::Anew { from: Some(from), .. } if !from.checksums.is_empty() => {
                let to = Announced { mode: ChunkMode::Unsigned, ..from.clone() };
                Ok(Self::Anew { from: Some(from), to })
            }
            Self::Anew { .. } => Err(InjectError::Unsignable(NO_CHUNKS.to_owned())),
            straight => Ok(straight),
        }
    }

    /// Every other service wants a digest.
    pub(super) fn of_others(headers: &HeaderMap, body: &Body) -> Result<Self, InjectError> {
        if ChunkMode::declared(headers).map_err(unsignable)?.is_some() {
            return Err(InjectError::Unsignable("only S3 takes bodies in aws-chunked encoding".to_owned()));
        }
        at_hand(body).map(Self::Straight).ok_or(InjectError::Missing("the whole body"))
    }

    /// What the signature says of the body.
    pub(super) fn payload(&self) -> Payload {
        match self {
            Self::Straight(payload) => *payload,
            Self::Anew { to, .. } => Payload::Chunked(to.mode),
        }
    }

    /// Sets what is said of chunks, among it their length: S3 takes no body without one.
    pub(super) fn announce(&self, headers: &mut HeaderMap) -> Result<(), InjectError> {
        let Self::Anew { from, to } = self else { return Ok(()) };
        let length = to.encoded_length().ok_or_else(|| unsignable(ChunkError::Length))?;
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(X_AMZ_DECODED_CONTENT_LENGTH, to.length.into());
        if from.is_none() {
            let mut coding = AWS_CHUNKED.as_bytes().to_vec();
            for other in headers.get_all(CONTENT_ENCODING) {
                coding.extend_from_slice(b",");
                coding.extend_from_slice(other.as_bytes());
            }
            // of values of headers and a comma
            if let Ok(coding) = HeaderValue::from_bytes(&coding) {
                headers.insert(CONTENT_ENCODING, coding);
            }
        }
        Ok(())
    }

    /// The body on its way.
    pub(super) fn take(self, body: Body, chain: Option<Chain>) -> Result<Body, InjectError> {
        match self {
            Self::Straight(_) => Ok(body),
            Self::Anew { from, to } => {
                Recoded::new(body, from.as_ref(), &to, chain).map(Body::boxed).map_err(unsignable)
            }
        }
    }
}

fn at_hand(body: &Body) -> Option<Payload> {
    match body {
        Body::Full(Some(bytes)) => Some(Payload::of(bytes)),
        body => {
            (body.is_end_stream() || body.size_hint().exact() == Some(0)).then_some(Payload::Hash(HexDigest::EMPTY))
        }
    }
}

/// The only digest that the client declares.
fn declared(headers: &HeaderMap) -> Option<HexDigest> {
    let mut values = headers.get_all(X_AMZ_CONTENT_SHA256).iter();
    let declared = values.next().filter(|_| values.next().is_none())?;
    declared.to_str().ok()?.parse().ok()
}

fn unsignable(error: ChunkError) -> InjectError {
    InjectError::Unsignable(error.to_string())
}

/// S3 bodies up to this length are read whole before they are sent: their digest costs little, and what is at hand can be
/// sent again where a connection was closed under us.
pub(super) const SMALL: usize = 32 * 1024;
const NO_CHUNKS: &str = "the body is in chunks that the client signed, which SigV4a can't do here; set the client to send \
     checksums, or to leave payloads unsigned";
const LENGTHLESS: &str = "the body has no length, and can't be signed as it comes; expected a Content-Length, or chunks \
     of aws-chunked with x-amz-decoded-content-length";

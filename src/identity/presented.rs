//! What callers present, besides who they are by it.

use std::fmt;

use crate::sigv4::chunked::Check;
use crate::sigv4::{HexDigest, Scope};

/// Why a presented credential was rejected; for the log, never for the caller.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// What was presented: this much the caller is told.
    pub presented: Presented,
    /// A sentence without any secret.
    pub reason: String,
}

/// What callers present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presented {
    /// A token in `Authorization: Bearer`.
    Bearer,
    /// A certificate, on the connection.
    Certificate,
    /// A signature of AWS's kind.
    Signature,
}

/// What a caller's signature says besides who they are.
#[derive(Debug)]
pub struct Signed {
    /// What the request is signed for: it must go nowhere else.
    pub scope: Scope,
    /// What the body must be, where the signature says so.
    pub check: Option<Check>,
}

/// The digest of a request's body, in its extensions where the body was read to judge the signature.
#[derive(Clone, Copy, Debug)]
pub struct BodyDigest(pub HexDigest);

impl Presented {
    /// That it was rejected, and why.
    pub fn rejected(self, reason: impl fmt::Display) -> Rejection {
        Rejection { presented: self, reason: reason.to_string() }
    }
}

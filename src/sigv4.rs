//! AWS Signature Version 4: canonicalise, sign, verify.
//!
//! After the [IAM User Guide](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html):
//! a request becomes one canonical text, its digest joins a time and a [`Scope`] in the *string to sign*, and an HMAC
//! chain over the secret, the date, the region and the service signs that; SigV4a has an ECDSA key in its place. [`Signer`] writes it on a request,
//! [`Presented`] reads it off one, [`check`] is for who knows the secret.
//!
//! Two rules for paths: S3 takes the path as it is, encoded once; every other service normalises it and encodes what was
//! sent once more.

mod canonical;
pub mod chunked;
mod claimed;
mod digest;
mod key;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod published;
mod scope;
mod sign;
mod v4a;
mod verify;

pub use digest::HexDigest;
pub use scope::{Scope, ScopeError};
pub use sign::{Keys, Payload, SignError, Signer};
pub use v4a::{ALGORITHM_V4A, RegionSet, RegionSetError, check_v4a};
pub use verify::{Covered, Presented, Reading, VerifyError, check};

/// The algorithm of SigV4.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The payload of S3 requests whose body nobody hashed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The payload of S3 requests whose body is `aws-chunked` without signatures and ends in checksum trailers.
pub const STREAMING_UNSIGNED_PAYLOAD_TRAILER: &str = chunked::ChunkMode::Unsigned.as_str();

/// The headers of a signature besides `Authorization`.
pub mod header {
    use http::HeaderName;

    /// When it was signed: `20260101T120000Z`.
    pub const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
    /// The session token of temporary credentials.
    pub const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
    /// Where a signature of SigV4a counts.
    pub const X_AMZ_REGION_SET: HeaderName = HeaderName::from_static("x-amz-region-set");
    /// How long the content of a body in chunks is.
    pub const X_AMZ_DECODED_CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
    /// Which checksums come behind a body in chunks.
    pub const X_AMZ_TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
    /// The body's digest, or the word for a mode without one.
    pub const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
}

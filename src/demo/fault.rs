//! S3's error answers.

use http::StatusCode;

use super::place::NoPlace;
use super::store::{Full, NotEmpty};
use super::verdict::Unproven;
use crate::sigv4::VerifyError;
use crate::web::xml::Xml;
use crate::web::{CollectError, Response, chain};

/// A refusal in S3's shape.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct S3Fault {
    status: StatusCode,
    code: String,
    message: String,
}

impl S3Fault {
    pub(super) fn no_such_bucket() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist")
    }

    pub(super) fn no_such_key() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "The specified method is not allowed against this resource.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn argument(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
    }

    /// The body is not the one that was signed.
    pub(super) fn other_body() -> Self {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        Self::new(StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch", message)
    }

    pub(super) fn answer(&self) -> Response {
        let xml = Xml::document("Error", "", |xml| {
            xml.text("Code", &self.code);
            xml.text("Message", &self.message);
        });
        xml.answer(self.status)
    }

    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }
}

/// What is not believed is forbidden, whatever is wrong with it (A30).
impl From<VerifyError> for S3Fault {
    fn from(error: VerifyError) -> Self {
        let code = match &error {
            VerifyError::MissingAuthenticationToken => "AccessDenied",
            other => other.code(),
        };
        Self::new(StatusCode::FORBIDDEN, code, format!("This app takes signed requests only: {error}."))
    }
}

impl From<Unproven> for S3Fault {
    fn from(error: Unproven) -> Self {
        match &error {
            Unproven::Refused(code) => Self::new(StatusCode::FORBIDDEN, code, "The signature is not accepted."),
            Unproven::Unavailable(_) | Unproven::NoVerdict(_) => {
                let chain = chain(&error);
                tracing::warn!(problem = chain, "a signature can't be judged now");
                let message = "The signature can't be verified now. Please try again.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
            }
        }
    }
}

impl From<NoPlace> for S3Fault {
    fn from(error: NoPlace) -> Self {
        let code = match error {
            NoPlace::Bucket => "InvalidBucketName",
            NoPlace::Key => "InvalidURI",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<CollectError> for S3Fault {
    fn from(error: CollectError) -> Self {
        let code = match error {
            CollectError::TooLarge { .. } => "EntityTooLarge",
            CollectError::Broken(_) => "IncompleteBody",
        };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<Full> for S3Fault {
    fn from(full: Full) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "QuotaExceeded", full.to_string())
    }
}

impl From<NotEmpty> for S3Fault {
    fn from(_: NotEmpty) -> Self {
        Self::new(StatusCode::CONFLICT, "BucketNotEmpty", "The bucket you tried to delete is not empty")
    }
}

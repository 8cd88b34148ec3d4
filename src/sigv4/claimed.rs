//! The parts of a signature as they were sent: in the headers, or in the query of a presigned request.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderName};
use http::request;

use super::ALGORITHM;
use super::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};
use super::verify::VerifyError;

/// Where the signature stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Header,
    Presigned { expires: Duration },
}

impl Form {
    pub(super) fn check_time(self, signed_at: SystemTime, now: SystemTime, skew: Duration) -> Result<(), VerifyError> {
        if signed_at > now + skew {
            return Err(VerifyError::RequestTimeTooSkewed);
        }
        match self {
            Self::Header if now > signed_at + skew => Err(VerifyError::RequestTimeTooSkewed),
            Self::Presigned { expires } if now > signed_at + expires => Err(VerifyError::RequestExpired),
            _ => Ok(()),
        }
    }
}

/// The parts of a signature as they were sent.
pub(super) struct Claimed {
    pub(super) form: Form,
    pub(super) credential: String,
    pub(super) date: String,
    pub(super) signed_headers: String,
    pub(super) signature: String,
    pub(super) session_token: Option<String>,
    pub(super) content_sha256: Option<String>,
}

impl Claimed {
    /// Both forms in one request, or any part of them twice, is two signatures: which one counts is anybody's guess.
    pub(super) fn read(parts: &request::Parts) -> Result<Self, VerifyError> {
        let mut query = Fields::default();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if let Some(known) = QUERY_FIELDS.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
                if name != *known {
                    return Err(VerifyError::Incomplete("a parameter of the signature is not in AWS's case"));
                }
                query.add(known, value.into_owned())?;
            }
        }
        let mut headers = Fields::default();
        for name in [header::AUTHORIZATION, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN, X_AMZ_CONTENT_SHA256] {
            for value in parts.headers.get_all(&name) {
                let value =
                    value.to_str().map_err(|_| VerifyError::Incomplete("a header of the signature is not text"))?;
                headers.add(field_of(&name), value.to_owned())?;
            }
        }
        let content_sha256 = headers.take("X-Amz-Content-Sha256"); // a header of either form
        match (headers.0.is_empty(), query.0.is_empty()) {
            (true, true) => Err(VerifyError::MissingAuthenticationToken),
            (false, true) => Self::from_headers(headers, content_sha256),
            (true, false) => Self::from_query(query, content_sha256),
            (false, false) => Err(VerifyError::Incomplete("it stands in the headers and in the query")),
        }
    }

    fn from_headers(mut headers: Fields, content_sha256: Option<String>) -> Result<Self, VerifyError> {
        let Some(line) = headers.take("Authorization") else { return Err(VerifyError::MissingAuthenticationToken) };
        let Some(list) = line.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' ')) else {
            return Err(VerifyError::Incomplete("the algorithm is not AWS4-HMAC-SHA256"));
        };
        let mut fields = Fields::default();
        for field in list.split(',') {
            let (name, value) = field.trim().split_once('=').ok_or(VerifyError::Incomplete("a part has no value"))?;
            let known = ["Credential", "SignedHeaders", "Signature"].into_iter().find(|known| *known == name);
            let known = known.ok_or(VerifyError::Incomplete("the Authorization header has an unknown part"))?;
            fields.add(known, value.to_owned())?;
        }
        Ok(Self {
            form: Form::Header,
            credential: fields.need("Credential")?,
            date: headers.need("X-Amz-Date")?,
            signed_headers: fields.need("SignedHeaders")?,
            signature: fields.need("Signature")?,
            session_token: headers.take("X-Amz-Security-Token"),
            content_sha256,
        })
    }

    fn from_query(mut query: Fields, content_sha256: Option<String>) -> Result<Self, VerifyError> {
        if let Some(digest) = content_sha256 {
            query.add("X-Amz-Content-Sha256", digest)?;
        }
        if query.need("X-Amz-Algorithm")? != ALGORITHM {
            return Err(VerifyError::Incomplete("the algorithm is not AWS4-HMAC-SHA256"));
        }
        let expires = query.need("X-Amz-Expires")?;
        let expires = Some(&expires)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|seconds| (1..=WEEK).contains(seconds))
            .ok_or(VerifyError::Incomplete("X-Amz-Expires is not 1 to 604800 seconds"))?;
        Ok(Self {
            form: Form::Presigned { expires: Duration::from_secs(expires) },
            credential: query.need("X-Amz-Credential")?,
            date: query.need("X-Amz-Date")?,
            signed_headers: query.need("X-Amz-SignedHeaders")?,
            signature: query.need("X-Amz-Signature")?,
            session_token: query.take("X-Amz-Security-Token"),
            content_sha256: query.take("X-Amz-Content-Sha256"),
        })
    }
}

/// Named texts, each at most once.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn add(&mut self, name: &'static str, value: String) -> Result<(), VerifyError> {
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(VerifyError::Incomplete("a part of the signature is given twice"));
        }
        self.0.push((name, value));
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn need(&mut self, name: &'static str) -> Result<String, VerifyError> {
        self.take(name).ok_or(VerifyError::Incomplete("a part of the signature is missing"))
    }
}

/// The name in [`Fields`] of a header of the signature.
fn field_of(name: &HeaderName) -> &'static str {
    match name.as_str() {
        "x-amz-date" => "X-Amz-Date",
        "x-amz-security-token" => "X-Amz-Security-Token",
        "x-amz-content-sha256" => "X-Amz-Content-Sha256",
        _ => "Authorization",
    }
}

const QUERY_FIELDS: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

/// The longest life of a presigned request, in seconds.
const WEEK: u64 = 604_800;

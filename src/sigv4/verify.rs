//! Reading a signature off a request, and judging it.
//!
//! Two parties can do this together: who received the request makes the string to sign ([`Presented::read`]), who
//! knows the secret says whether the signature is right ([`check`]), and the secret never leaves. Everything that a
//! lenient reader could take two ways is refused (A30).

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderName};
use http::request;

use super::canonical::{Canonical, PathRule};
use super::chunked::{Chain, ChunkMode};
use super::claimed::{Claimed, Form};
use super::digest::HexDigest;
use super::scope::{Scope, Timestamp};
use super::{ALGORITHM, UNSIGNED_PAYLOAD, key};
use crate::arn::ServiceName;
use crate::secret::Secret;

/// A signature as it was presented: well-formed, in time, over all that must be signed, and not yet checked.
#[derive(Clone, Debug)]
pub struct Presented {
    access_key_id: String,
    scope: Scope,
    signed_at: SystemTime,
    signed_headers: Vec<String>,
    session_token: Option<Secret>,
    string_to_sign: String,
    signature: HexDigest,
    time: Timestamp,
    covered: Covered,
}

/// What a signature says of the body.
#[derive(Clone, Debug)]
pub enum Covered {
    /// It has this digest.
    Digest(HexDigest),
    /// Its chunks are signed, each after the one before, and the first after this.
    Chunks(ChunkMode),
    /// Nothing.
    Nothing,
}

/// What a reader takes.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The service the request came to; none where each that the credential may be scoped to is right, and the caller
    /// sees to it that the request goes to no other.
    pub service: Option<&'a ServiceName>,
    /// The body's digest; none where the body has not come: then it must be [what is covered](Presented::covered).
    pub body: Option<&'a HexDigest>,
    /// How far two clocks may be apart.
    pub skew: Duration,
    /// Whether bodies in signed chunks are taken.
    pub signed_chunks: bool,
}

impl Presented {
    /// Reads the signature in the `Authorization` header or, for presigned requests, in the query.
    ///
    /// `service` is the one the request came to: a signature for another one counts for nothing. `body_hash` is the
    /// digest of the body that was received.
    ///
    /// # Errors
    /// See [`VerifyError`]; [`VerifyError::SignatureDoesNotMatch`] is for who [checks](check).
    pub fn read(
        parts: &request::Parts,
        service: &ServiceName,
        body_hash: &HexDigest,
        now: SystemTime,
    ) -> Result<Self, VerifyError> {
        let reading = Reading { service: Some(service), body: Some(body_hash), skew: SKEW, signed_chunks: false };
        Self::read_as(parts, &reading, now)
    }

    /// As [`Presented::read`], for a reader who says what is taken.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn read_as(parts: &request::Parts, reading: &Reading<'_>, now: SystemTime) -> Result<Self, VerifyError> {
        let claimed = Claimed::read(parts)?;
        let (access_key_id, scope) = credential(&claimed.credential)?;
        let service = scope.service();
        if reading.service.is_some_and(|wanted| wanted != service) {
            return Err(VerifyError::Incomplete("the credential is scoped to another service"));
        }
        let (time, signed_at) = Timestamp::parse(&claimed.date)
            .ok_or(VerifyError::Incomplete("X-Amz-Date is no date like 20260101T120000Z"))?;
        if time.date() != scope.date() {
            return Err(VerifyError::Incomplete("X-Amz-Date is not on the day of the credential's scope"));
        }
        claimed.form.check_time(signed_at, now, reading.skew)?;
        let signature = claimed
            .signature
            .parse()
            .map_err(|_| VerifyError::Incomplete("the signature is not 64 lower-case hex digits"))?;
        let (payload, covered) = payload(&claimed, service, reading)?;
        let headers = signed_headers(parts, &claimed.signed_headers)?;
        let digest = Canonical {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &headers,
            signed_headers: &claimed.signed_headers,
            payload,
        }
        .digest(if service.is_s3() { PathRule::Once } else { PathRule::NormalizedTwice });
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            signed_at,
            signed_headers: claimed.signed_headers.split(';').map(str::to_owned).collect(),
            session_token: claimed.session_token.map(Secret::new),
            string_to_sign: format!("{ALGORITHM}\n{}\n{scope}\n{}", time.as_str(), digest.as_str()),
            scope,
            signature,
            time,
            covered,
        })
    }

    /// Whose signature it claims to be.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// When and where it counts.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// When it was signed, by the signer's clock.
    pub fn signed_at(&self) -> SystemTime {
        self.signed_at
    }

    /// The names of the headers it covers.
    pub fn signed_headers(&self) -> &[String] {
        &self.signed_headers
    }

    /// The session token that came along; it is covered by the signature.
    pub fn session_token(&self) -> Option<&Secret> {
        self.session_token.as_ref()
    }

    /// What is signed.
    pub fn string_to_sign(&self) -> &str {
        &self.string_to_sign
    }

    /// The signature, 64 hex digits.
    pub fn signature(&self) -> &str {
        self.signature.as_str()
    }

    /// What it says of the body.
    pub fn covered(&self) -> &Covered {
        &self.covered
    }

    /// Whether the digest of the body must be known before the signature can be judged, as the head does not tell it.
    pub fn wants_body(parts: &request::Parts) -> bool {
        let Ok(claimed) = Claimed::read(parts) else { return false };
        claimed.content_sha256.is_none()
            && credential(&claimed.credential).is_ok_and(|(_, scope)| !scope.service().is_s3())
    }

    /// What signs, and so checks, the chunks of the body.
    pub fn chain(&self, secret: &Secret) -> Chain {
        let (region, service) = (self.scope.region().as_str(), self.scope.service().as_str());
        let key = key::derive(secret, self.scope.date(), region, service);
        let end = format!("/{region}/{service}/aws4_request");
        Chain::after(self.signature, key.into(), self.time.as_str(), [self.scope.date(), &end])
    }

    /// Checks it with the secret of [`Presented::access_key_id`].
    ///
    /// # Errors
    /// [`VerifyError::SignatureDoesNotMatch`].
    pub fn verify(&self, secret: &Secret) -> Result<(), VerifyError> {
        if check(secret, &self.scope, &self.string_to_sign, self.signature()) {
            Ok(())
        } else {
            Err(VerifyError::SignatureDoesNotMatch)
        }
    }
}

/// Whether `signature` is that of `string_to_sign` by `secret`, compared in constant time. A string to sign that isn't
/// of this scope, or isn't one at all, has no right signature.
pub fn check(secret: &Secret, scope: &Scope, string_to_sign: &str, signature: &str) -> bool {
    let mut lines = string_to_sign.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (algorithm, time, scope_line, digest) = (next(), next(), next(), next());
    let well_formed = algorithm == ALGORITHM
        && Timestamp::parse(time).is_some_and(|(time, _)| time.date() == scope.date())
        && scope_line.parse().as_ref() == Ok(scope)
        && digest.parse::<HexDigest>().is_ok()
        && lines.next().is_none();
    if !well_formed {
        return false;
    }
    let key = key::derive(secret, scope.date(), scope.region().as_str(), scope.service().as_str());
    HexDigest::signed_with(&key, string_to_sign.as_bytes()).matches(signature)
}

/// Why a request is not believed. [`VerifyError::code`] names it as AWS does.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// It is not signed at all.
    #[error("the request is not signed")]
    MissingAuthenticationToken,
    /// It is signed in a way that can't be right, whoever signed it.
    #[error("the signature is incomplete or contradictory: {0}")]
    Incomplete(&'static str),
    /// A header that matters is not covered.
    #[error("the header `{0}` is sent, but not signed")]
    HeaderNotSigned(String),
    /// Signed too long before or after now.
    #[error("the request was signed too far from now: one of the clocks is wrong")]
    RequestTimeTooSkewed,
    /// Presigned, and its time is over.
    #[error("the presigned request has expired")]
    RequestExpired,
    /// The body is not the one that was signed.
    #[error("x-amz-content-sha256 is not the digest of the body")]
    ContentSha256Mismatch,
    /// The body is left unsigned in a way this service doesn't take.
    #[error("x-amz-content-sha256 has a value this service doesn't take")]
    PayloadMode,
    /// The secret makes another signature.
    #[error("the signature does not match")]
    SignatureDoesNotMatch,
}

impl VerifyError {
    /// The error code that AWS's services answer with.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::Incomplete(_) => "IncompleteSignature",
            Self::HeaderNotSigned(_) | Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            Self::RequestExpired => "RequestExpired",
            Self::ContentSha256Mismatch => "XAmzContentSHA256Mismatch",
            Self::PayloadMode => "InvalidRequest",
        }
    }
}

fn credential(text: &str) -> Result<(&str, Scope), VerifyError> {
    let (access_key_id, scope) = text.split_once('/').ok_or(VerifyError::Incomplete("the credential has no scope"))?;
    let scope = scope.parse().map_err(|_| VerifyError::Incomplete("the credential's scope is not of AWS's form"))?;
    // IAM's accessKeyIdType is \w{16,128}; S3 services with ids of their own are less strict about the length
    let ok = (1..=128).contains(&access_key_id.len())
        && access_key_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if ok { Ok((access_key_id, scope)) } else { Err(VerifyError::Incomplete("the access key id is not of AWS's form")) }
}

/// What stands for the body in the canonical request. What was declared must be so, now or when the body has come.
fn payload<'a>(
    claimed: &'a Claimed,
    service: &ServiceName,
    reading: &'a Reading<'_>,
) -> Result<(&'a str, Covered), VerifyError> {
    let is_s3 = service.is_s3();
    let hashed = |digest: &'a HexDigest| Ok((digest.as_str(), Covered::Digest(*digest)));
    let Some(declared) = claimed.content_sha256.as_deref() else {
        return match (claimed.form, reading.body) {
            (Form::Presigned { .. }, _) if is_s3 => Ok((UNSIGNED_PAYLOAD, Covered::Nothing)),
            (Form::Header, _) if is_s3 => Err(VerifyError::Incomplete("x-amz-content-sha256 is missing")),
            (_, Some(body)) => hashed(body),
            (_, None) => Err(VerifyError::Incomplete("nothing tells the digest of the body")),
        };
    };
    if is_s3 && declared == UNSIGNED_PAYLOAD {
        return Ok((UNSIGNED_PAYLOAD, Covered::Nothing));
    }
    if is_s3 && claimed.form == Form::Header {
        match ChunkMode::parse(declared) {
            Some(ChunkMode::Unsigned) => return Ok((ChunkMode::Unsigned.as_str(), Covered::Nothing)),
            Some(mode) if reading.signed_chunks => return Ok((mode.as_str(), Covered::Chunks(mode))),
            _ => {}
        }
    }
    let digest: HexDigest = declared.parse().map_err(|_| VerifyError::PayloadMode)?;
    match reading.body {
        Some(body) if body.as_str() != declared => Err(VerifyError::ContentSha256Mismatch),
        _ => Ok((declared, Covered::Digest(digest))),
    }
}

/// The headers that `list` names, for the canonical request. All that AWS wants signed must be among them.
fn signed_headers<'a>(parts: &'a request::Parts, list: &'a str) -> Result<Vec<(&'a str, &'a [u8])>, VerifyError> {
    let mut headers = Vec::new();
    let mut names = HashSet::new();
    let mut previous = "";
    for name in list.split(';') {
        if name <= previous || name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(VerifyError::Incomplete("SignedHeaders is not a sorted list of lower-case names"));
        }
        previous = name;
        names.insert(name);
        let count = headers.len();
        headers.extend(parts.headers.get_all(name).iter().map(|value| (name, value.as_bytes())));
        if name == "host" && count == headers.len() {
            headers.extend(parts.uri.authority().map(|host| (name, host.as_str().as_bytes())));
        }
        match headers.len() - count {
            0 => return Err(VerifyError::Incomplete("SignedHeaders names a header that is not sent")),
            1 => {}
            _ if name == "host" => return Err(VerifyError::Incomplete("there is more than one Host")),
            _ => {}
        }
    }
    let must = |name: &&HeaderName| *name == header::HOST || name.as_str().starts_with("x-amz-");
    let unsigned = parts.headers.keys().filter(must).map(HeaderName::as_str).find(|name| !names.contains(name));
    match unsigned {
        Some(name) => Err(VerifyError::HeaderNotSigned(name.to_owned())),
        None if !names.contains("host") => Err(VerifyError::HeaderNotSigned("host".to_owned())),
        None => Ok(headers),
    }
}

/// How far two clocks may be apart; AWS's number.
const SKEW: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests;

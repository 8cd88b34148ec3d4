//! Reading a signature off a request, and judging it.
//!
//! Two parties can do this together: who received the request makes the string to sign ([`Presented::read`]), who
//! knows the secret says whether the signature is right ([`check`]), and the secret never leaves. Everything that a
//! lenient reader could take two ways is refused (A30).

use std::collections::HashSet;
use std::time::SystemTime;

use http::header::{self, HeaderName};
use http::request;

use super::canonical::{Canonical, PathRule};
use super::claimed::{Claimed, Form};
use super::digest::HexDigest;
use super::scope::{Scope, Timestamp};
use super::{ALGORITHM, STREAMING_UNSIGNED_PAYLOAD_TRAILER, UNSIGNED_PAYLOAD, key};
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
        let claimed = Claimed::read(parts)?;
        let (access_key_id, scope) = credential(&claimed.credential)?;
        if scope.service() != service {
            return Err(VerifyError::Incomplete("the credential is scoped to another service"));
        }
        let (time, signed_at) = Timestamp::parse(&claimed.date)
            .ok_or(VerifyError::Incomplete("X-Amz-Date is no date like 20260101T120000Z"))?;
        if time.date() != scope.date() {
            return Err(VerifyError::Incomplete("X-Amz-Date is not on the day of the credential's scope"));
        }
        claimed.form.check_time(signed_at, now)?;
        let signature = claimed
            .signature
            .parse()
            .map_err(|_| VerifyError::Incomplete("the signature is not 64 lower-case hex digits"))?;
        let payload = payload(&claimed, service, body_hash)?;
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
    /// Signed more than 15 minutes from now, before or after.
    #[error("the request was signed more than 15 minutes from now")]
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

/// What stands for the body in the canonical request. What was declared must be so.
fn payload<'a>(claimed: &'a Claimed, service: &ServiceName, body_hash: &'a HexDigest) -> Result<&'a str, VerifyError> {
    match (claimed.content_sha256.as_deref(), claimed.form) {
        (None, Form::Presigned { .. }) if service.is_s3() => Ok(UNSIGNED_PAYLOAD),
        (None, Form::Header) if service.is_s3() => Err(VerifyError::Incomplete("x-amz-content-sha256 is missing")),
        (None, _) => Ok(body_hash.as_str()),
        (Some(UNSIGNED_PAYLOAD), _) if service.is_s3() => Ok(UNSIGNED_PAYLOAD),
        (Some(STREAMING_UNSIGNED_PAYLOAD_TRAILER), Form::Header) if service.is_s3() => {
            Ok(STREAMING_UNSIGNED_PAYLOAD_TRAILER)
        }
        (Some(declared), _) if declared.parse::<HexDigest>().is_err() => Err(VerifyError::PayloadMode),
        (Some(declared), _) if declared == body_hash.as_str() => Ok(body_hash.as_str()),
        (Some(_), _) => Err(VerifyError::ContentSha256Mismatch),
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

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::super::chunked::ChunkMode;
    use super::super::{Keys, Payload, Signer};
    use super::*;
    use crate::clock::from_epoch_seconds;

    const NOW: u64 = 1_780_000_000;
    const BODY: &[u8] = b"hello";

    fn signed(service: &str, payload: &Payload) -> request::Parts {
        let mut parts = Request::put("/bucket/key?x=1").header("host", "h.example").body(()).unwrap().into_parts().0;
        parts.headers.insert("x-amz-meta-a", HeaderValue::from_static("1"));
        let (secret, token) = (Secret::new("secret"), HeaderValue::from_static("token"));
        let keys = Keys { access_key_id: "AKIDEXAMPLE", secret: &secret, session_token: Some(&token) };
        let signer = Signer::new(service.parse().unwrap(), "eu-west-1".parse().unwrap());
        signer.sign(&mut parts, payload, &keys, from_epoch_seconds(NOW)).unwrap();
        parts
    }

    fn judge(service: &str, parts: &request::Parts, now: u64) -> Result<(), VerifyError> {
        Presented::read(parts, &service.parse().unwrap(), &HexDigest::of(BODY), from_epoch_seconds(now))?
            .verify(&Secret::new("secret"))
    }

    fn set(parts: &mut request::Parts, name: &'static str, value: &str) {
        parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn add(parts: &mut request::Parts, name: &'static str, value: &'static str) {
        parts.headers.append(name, HeaderValue::from_static(value));
    }

    fn rewrite(parts: &mut request::Parts, from: &str, to: &str) {
        let line = parts.headers["authorization"].to_str().unwrap().replace(from, to);
        set(parts, "authorization", &line);
    }

    #[test]
    fn a30_signatures_count_for_15_minutes_either_way() {
        let parts = signed("s3", &Payload::of(BODY));
        for (now, verdict) in [
            (NOW, Ok(())),
            (NOW - 900, Ok(())),
            (NOW + 900, Ok(())),
            (NOW - 960, Err(VerifyError::RequestTimeTooSkewed)),
            (NOW + 960, Err(VerifyError::RequestTimeTooSkewed)),
        ] {
            assert_eq!(judge("s3", &parts, now), verdict, "{now}");
        }
    }

    #[test]
    fn a30_no_payload_mode_forgives_a_forged_signature() {
        for payload in [Payload::of(BODY), Payload::Unsigned, Payload::Chunked(ChunkMode::Unsigned)] {
            let mut parts = signed("s3", &payload);
            assert_eq!(judge("s3", &parts, NOW), Ok(()), "{payload:?}");
            let forged = HexDigest::of(b"forged");
            let at = parts.headers["authorization"].to_str().unwrap().rfind('=').unwrap() + 1;
            let line = format!("{}{}", &parts.headers["authorization"].to_str().unwrap()[..at], forged.as_str());
            set(&mut parts, "authorization", &line);
            assert_eq!(judge("s3", &parts, NOW), Err(VerifyError::SignatureDoesNotMatch), "{payload:?}");
        }
    }

    #[test]
    fn a30_payload_modes_are_exactly_those_the_service_takes() {
        for (declared, verdict) in [
            (HexDigest::of(BODY).as_str(), VerifyError::SignatureDoesNotMatch), // other than what was signed
            (HexDigest::EMPTY.as_str(), VerifyError::ContentSha256Mismatch),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", VerifyError::PayloadMode),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", VerifyError::PayloadMode),
            ("unsigned-payload", VerifyError::PayloadMode),
            ("", VerifyError::PayloadMode),
        ] {
            let mut parts = signed("s3", &Payload::Unsigned);
            set(&mut parts, "x-amz-content-sha256", declared);
            assert_eq!(judge("s3", &parts, NOW), Err(verdict), "{declared}");
        }
        let mut parts = signed("sts", &Payload::of(BODY));
        assert_eq!(judge("sts", &parts, NOW), Ok(()));
        set(&mut parts, "x-amz-content-sha256", UNSIGNED_PAYLOAD);
        assert_eq!(judge("sts", &parts, NOW), Err(VerifyError::PayloadMode));
        let mut parts = signed("s3", &Payload::of(BODY));
        parts.headers.remove("x-amz-content-sha256");
        rewrite(&mut parts, "x-amz-content-sha256;", "");
        assert_eq!(judge("s3", &parts, NOW).unwrap_err().code(), "IncompleteSignature");
    }

    #[test]
    fn a30_what_could_be_read_two_ways_is_refused() {
        type Change = fn(&mut request::Parts);
        let query = |parts: &mut request::Parts, query: &str| {
            parts.uri = format!("/bucket/key?x=1&{query}").parse().unwrap();
        };
        let cases: [(&str, Change); 17] = [
            ("another Authorization", |p| add(p, "authorization", "x")),
            ("another date", |p| add(p, "x-amz-date", "20260101T000000Z")),
            ("another token", |p| add(p, "x-amz-security-token", "x")),
            ("another host", |p| add(p, "host", "evil")),
            ("a part twice", |p| rewrite(p, "Signature=", "Signature=00, Signature=")),
            ("a part too many", |p| rewrite(p, "Signature=", "Extra=1, Signature=")),
            ("a part in another case", |p| rewrite(p, "SignedHeaders", "signedheaders")),
            ("no credential", |p| rewrite(p, "Credential=", "Credentia=")),
            ("no scope", |p| rewrite(p, "AKIDEXAMPLE/", "AKIDEXAMPLE;")),
            ("an empty key id", |p| rewrite(p, "AKIDEXAMPLE/", "/")),
            ("another day", |p| rewrite(p, "/20260528/", "/20260529/")),
            ("another service", |p| rewrite(p, "/s3/", "/sts/")),
            ("another algorithm", |p| rewrite(p, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")),
            ("unsorted headers", |p| rewrite(p, "host;x-amz-content-sha256;", "x-amz-content-sha256;host;")),
            ("a header twice", |p| rewrite(p, "host;", "host;host;")),
            ("a header in capitals", |p| rewrite(p, "host;", "Host;")),
            ("a header that isn't there", |p| rewrite(p, "host;", "host;te;")),
        ];
        for (name, change) in cases {
            let mut parts = signed("s3", &Payload::of(BODY));
            change(&mut parts);
            assert_eq!(judge("s3", &parts, NOW).unwrap_err().code(), "IncompleteSignature", "{name}");
        }
        for both in ["X-Amz-Signature=0", "X-Amz-Credential=x", "x-amz-security-token=x", "X-Amz-Date=1&X-Amz-Date=2"] {
            let mut parts = signed("s3", &Payload::of(BODY));
            query(&mut parts, both);
            assert_eq!(judge("s3", &parts, NOW).unwrap_err().code(), "IncompleteSignature", "{both}");
        }
    }

    #[test]
    fn a30_every_header_that_matters_is_signed() {
        let mut parts = signed("s3", &Payload::of(BODY));
        set(&mut parts, "x-amz-acl", "public-read");
        assert_eq!(judge("s3", &parts, NOW), Err(VerifyError::HeaderNotSigned("x-amz-acl".to_owned())));
        for name in ["host;", "x-amz-meta-a;"] {
            let mut parts = signed("s3", &Payload::of(BODY));
            rewrite(&mut parts, name, "");
            let refused = VerifyError::HeaderNotSigned(name.trim_end_matches(';').to_owned());
            assert_eq!(judge("s3", &parts, NOW), Err(refused));
        }
    }

    #[test]
    fn without_a_signature_there_is_none() {
        let parts = |build: http::request::Builder| build.body(()).unwrap().into_parts().0;
        for unsigned in [
            parts(Request::get("/?x=1").header("host", "h")),
            parts(Request::get("/").header("host", "h").header("x-amz-date", "20260101T000000Z")),
            parts(Request::get("/?AWSAccessKeyId=x&Signature=y&Expires=1").header("host", "h")), // SigV2
        ] {
            assert_eq!(judge("s3", &unsigned, NOW), Err(VerifyError::MissingAuthenticationToken));
        }
        let bearer = parts(Request::get("/").header("host", "h").header("authorization", "Bearer x"));
        assert_eq!(judge("s3", &bearer, NOW).unwrap_err().code(), "IncompleteSignature");
    }

    #[test]
    fn presigned_requests_live_at_most_a_week() {
        for expires in ["0", "604801", "-1", "+5", "", "1e3", "99999999999999999999"] {
            let uri = format!(
                "/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260528%2Feu-west-1%2Fs3%2Faws4_request\
                 &X-Amz-Date=20260528T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature={}&X-Amz-Expires={expires}",
                HexDigest::EMPTY.as_str()
            );
            let parts = Request::get(uri).header("host", "h").body(()).unwrap().into_parts().0;
            let refused = VerifyError::Incomplete("X-Amz-Expires is not 1 to 604800 seconds");
            assert_eq!(judge("s3", &parts, NOW), Err(refused), "{expires}");
        }
    }

    #[test]
    fn a30_a_string_to_sign_of_another_shape_has_no_signature() {
        let secret = Secret::new("secret");
        let scope: Scope = "20260528/eu-west-1/s3/aws4_request".parse().unwrap();
        let key = key::derive(&secret, "20260528", "eu-west-1", "s3");
        let verdict = |text: &str| check(&secret, &scope, text, HexDigest::signed_with(&key, text.as_bytes()).as_str());
        let good = format!("AWS4-HMAC-SHA256\n20260528T000000Z\n{scope}\n{}", HexDigest::EMPTY.as_str());
        assert!(verdict(&good));
        for bad in [
            good.replace("s3", "sts"),
            good.replace("0528T", "0529T"),
            good.replace("HMAC-SHA256", "HMAC-SHA256-PAYLOAD"),
            good.replace("e3b0", "E3B0"),
            format!("{good}\n"),
            "aws4_request".to_owned(),
            String::new(),
        ] {
            assert!(!verdict(&bad), "{bad}");
        }
    }
}

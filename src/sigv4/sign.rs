//! Signing a request.

use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, request};

use super::canonical::{Canonical, PathRule};
use super::chunked::{Chain, ChunkMode};
use super::digest::HexDigest;
use super::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_REGION_SET, X_AMZ_SECURITY_TOKEN};
use super::key::KeyCache;
use super::scope::Timestamp;
use super::v4a::{ALGORITHM_V4A, PairCache, RegionSet};
use super::{ALGORITHM, UNSIGNED_PAYLOAD};
use crate::arn::{Region, ServiceName};
use crate::secret::Secret;

/// Signs requests for one service in one region. The same input gives the same bytes.
#[derive(Debug)]
pub struct Signer {
    service: ServiceName,
    region: Region,
    rule: PathRule,
    /// What follows the date in every scope.
    scope_end: String,
    /// Headers that hops after us change, besides those that are known to be changed.
    left_out: Vec<HeaderName>,
    keys: KeyCache,
    /// For SigV4a: where its signatures count, and its keys.
    asymmetric: Option<(RegionSet, PairCache)>,
}

/// What to sign with.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// The public half.
    pub access_key_id: &'a str,
    /// The secret half.
    pub secret: &'a Secret,
    /// The token that goes with temporary keys.
    pub session_token: Option<&'a HeaderValue>,
}

/// What is said of the body.
#[derive(Clone, Copy, Debug)]
pub enum Payload {
    /// It has this SHA-256.
    Hash(HexDigest),
    /// Nothing; S3 only.
    Unsigned,
    /// It is in chunks; S3 only.
    Chunked(ChunkMode),
}

impl Payload {
    /// The hash of `body`.
    pub fn of(body: &[u8]) -> Self {
        Self::Hash(HexDigest::of(body))
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Hash(digest) => digest.as_str(),
            Self::Unsigned => UNSIGNED_PAYLOAD,
            Self::Chunked(mode) => mode.as_str(),
        }
    }

    fn header_value(&self) -> Option<HeaderValue> {
        match self {
            Self::Hash(digest) => HeaderValue::from_str(digest.as_str()).ok(),
            Self::Unsigned => Some(HeaderValue::from_static(UNSIGNED_PAYLOAD)),
            Self::Chunked(mode) => Some(HeaderValue::from_static(mode.as_str())),
        }
    }
}

/// Why a request can't be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignError {
    /// Neither a `Host` header nor an authority says whom it is for.
    #[error("the request names no host")]
    NoHost,
    /// Only S3 takes requests whose body nobody hashed.
    #[error("only S3 takes unsigned payloads")]
    UnsignedPayload,
    /// The chunks of a body can't be signed by SigV4a.
    #[error("chunks can't be signed by SigV4a")]
    Chunks,
    /// No key for SigV4a can be made.
    #[error("no key for SigV4a can be made of the secret")]
    Key,
    /// The access key id is not the text of a header.
    #[error("the access key id can't be sent in a header")]
    AccessKeyId,
}

impl Signer {
    /// A signer for `service` in `region`.
    pub fn new(service: ServiceName, region: Region) -> Self {
        let rule = if service.is_s3() { PathRule::Once } else { PathRule::NormalizedTwice };
        let scope_end = format!("/{region}/{service}/aws4_request");
        Self { service, region, rule, scope_end, left_out: Vec::new(), keys: KeyCache::default(), asymmetric: None }
    }

    /// The same by SigV4a, whose signatures count in each of these regions.
    pub fn asymmetric(self, regions: RegionSet) -> Self {
        let scope_end = format!("/{}/aws4_request", self.service);
        Self { scope_end, asymmetric: Some((regions, PairCache::default())), ..self }
    }

    /// Whether it signs the chunks of a body: SigV4a has a way of its own for these, which we do not speak.
    pub fn signs_chunks(&self) -> bool {
        self.asymmetric.is_none()
    }

    /// The same, which leaves these headers out of signatures. They still pass.
    pub fn leaving_out(self, headers: Vec<HeaderName>) -> Self {
        Self { left_out: headers, ..self }
    }

    /// The service it signs for.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The region it signs for.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Signs the request as it stands: whatever is changed afterwards breaks the signature. Sets `authorization`,
    /// `x-amz-date`, for temporary keys `x-amz-security-token`, for S3 `x-amz-content-sha256`, and leaves none of
    /// these with another value. What comes back signs the chunks of a body that goes in signed chunks.
    ///
    /// Every header is signed but those that change on the way: connection headers, traces, what proxies rewrite, and
    /// what [`Signer::leaving_out`] names.
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn sign(
        &self,
        parts: &mut request::Parts,
        payload: &Payload,
        keys: &Keys<'_>,
        now: SystemTime,
    ) -> Result<Option<Chain>, SignError> {
        if !self.service.is_s3() && !matches!(payload, Payload::Hash(_)) {
            return Err(SignError::UnsignedPayload);
        }
        if matches!(payload, Payload::Chunked(mode) if mode.is_signed()) && !self.signs_chunks() {
            return Err(SignError::Chunks);
        }
        let time = Timestamp::at(now);
        self.stamp(&mut parts.headers, &time, payload, keys);
        let (line, chain) = self.authorization(parts, &time, payload, keys)?;
        let mut value = HeaderValue::try_from(line).map_err(|_| SignError::AccessKeyId)?;
        value.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, value);
        Ok(chain)
    }

    /// Sets what is signed along.
    fn stamp(&self, headers: &mut HeaderMap, time: &Timestamp, payload: &Payload, keys: &Keys<'_>) {
        let payload = payload.header_value().filter(|_| self.service.is_s3());
        let date = HeaderValue::from_str(time.as_str()).ok();
        let token = keys.session_token.map(|token| {
            let mut token = token.clone();
            token.set_sensitive(true);
            token
        });
        if let Some((regions, _)) = &self.asymmetric {
            headers.insert(X_AMZ_REGION_SET, regions.value().clone());
        }
        for (name, value) in [(X_AMZ_DATE, date), (X_AMZ_SECURITY_TOKEN, token), (X_AMZ_CONTENT_SHA256, payload)] {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
    }

    fn authorization(
        &self,
        parts: &request::Parts,
        time: &Timestamp,
        payload: &Payload,
        keys: &Keys<'_>,
    ) -> Result<(String, Option<Chain>), SignError> {
        let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(parts.headers.len() + 1);
        headers.extend(
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).filter(|(name, _)| {
                !changes_on_the_way(name) && !self.left_out.iter().any(|left| left.as_str() == *name)
            }),
        );
        if !parts.headers.contains_key(header::HOST) {
            headers.push((header::HOST.as_str(), host_of(&parts.uri).ok_or(SignError::NoHost)?.as_bytes()));
        }
        headers.sort_by_key(|(name, _)| *name); // stable: the values of one name keep their order

        let names: usize = headers.iter().map(|(name, _)| name.len() + 1).sum();
        let mut line = String::with_capacity(names + keys.access_key_id.len() + self.scope_end.len() + 160);
        let algorithm = if self.asymmetric.is_some() { ALGORITHM_V4A } else { ALGORITHM };
        line.extend([algorithm, " Credential=", keys.access_key_id, "/", time.date(), &self.scope_end]);
        line.push_str(", SignedHeaders=");
        let names_start = line.len();
        let mut previous = "";
        for (name, _) in &headers {
            if *name != previous {
                if !previous.is_empty() {
                    line.push(';');
                }
                line.push_str(name);
                previous = name;
            }
        }
        let digest = Canonical {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &headers,
            signed_headers: line.get(names_start..).unwrap_or_default(),
            payload: payload.as_str(),
        }
        .digest(self.rule);

        let mut to_sign = String::with_capacity(self.scope_end.len() + 128);
        to_sign.extend([algorithm, "\n", time.as_str(), "\n", time.date(), &self.scope_end, "\n", digest.as_str()]);
        if let Some((_, pairs)) = &self.asymmetric {
            line.push_str(", Signature=");
            line.push_str(&pairs.sign(keys.access_key_id, keys.secret, &to_sign).ok_or(SignError::Key)?);
            return Ok((line, None));
        }
        let (region, service) = (self.region.as_str(), self.service.as_str());
        let key = self.keys.key(keys.access_key_id, keys.secret, time.date(), region, service);
        line.push_str(", Signature=");
        let signature = HexDigest::signed_with(&key, to_sign.as_bytes());
        line.push_str(signature.as_str());
        let goes_on = matches!(payload, Payload::Chunked(mode) if mode.is_signed());
        let chain = goes_on.then(|| Chain::after(signature, key, time.as_str(), [time.date(), &self.scope_end]));
        Ok((line, chain))
    }
}

/// The host as the HTTP client will write it where no `Host` header is set: without the scheme's own port.
fn host_of(uri: &Uri) -> Option<&str> {
    let authority = uri.authority()?;
    match (uri.scheme_str(), authority.port_u16()) {
        (Some("http"), Some(80)) | (Some("https"), Some(443)) => Some(authority.host()),
        _ => Some(authority.as_str()),
    }
}

/// Whether the header is left out of the signature.
///
/// It is, where it holds the signature, belongs to one connection (RFC 9110 §7.6.1, `Expect`), or is rewritten by
/// load balancers, tracers and proxies between us and the service, which would break the signature.
fn changes_on_the_way(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "user-agent"
            | "connection"
            | "expect"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "forwarded"
            | "via"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-amzn-trace-id"
            | "traceparent"
            | "tracestate"
    )
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::clock::from_epoch_seconds;

    fn signer(service: &str) -> Signer {
        Signer::new(service.parse().unwrap(), "eu-west-1".parse().unwrap())
    }

    fn signed(
        service: &str,
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
        payload: &Payload,
        token: Option<&'static str>,
    ) -> Result<request::Parts, SignError> {
        let (mut parts, ()) = build(Request::builder()).body(()).unwrap().into_parts();
        let (secret, token) = (Secret::new("wJalrXUtnFEMI"), token.map(HeaderValue::from_static));
        let keys = Keys { access_key_id: "AKIDEXAMPLE", secret: &secret, session_token: token.as_ref() };
        signer(service).sign(&mut parts, payload, &keys, from_epoch_seconds(1_440_938_160)).map(|_| parts)
    }

    #[test]
    fn a_signature_is_sensitive_and_repeatable() {
        let sign = || {
            signed("s3", |b| b.uri("/k").header("host", "b.example"), &Payload::Unsigned, Some("token"))
                .unwrap()
                .headers
        };
        let headers = sign();
        assert!(headers["authorization"].is_sensitive() && headers["x-amz-security-token"].is_sensitive());
        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
        assert_eq!(headers, sign());
    }

    #[test]
    fn whatever_a_client_left_is_replaced_or_gone() {
        let leave = |b: http::request::Builder| {
            ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"]
                .into_iter()
                .flat_map(|name| [(name, "theirs"), (name, "again")])
                .fold(b.uri("/").header("host", "h"), |b, (name, value)| b.header(name, value))
        };
        let headers = signed("sts", leave, &Payload::of(b""), None).unwrap().headers;
        assert_eq!(headers.get_all("authorization").iter().count(), 1);
        assert_eq!(headers.get_all("x-amz-date").iter().count(), 1);
        assert!(!headers.contains_key("x-amz-security-token") && !headers.contains_key("x-amz-content-sha256"));
    }

    #[test]
    fn what_changes_on_the_way_is_not_signed() {
        let headers = signed(
            "s3",
            |b| {
                b.uri("/")
                    .header("host", "h")
                    .header("via", "1.1 x")
                    .header("user-agent", "x")
                    .header("x-amz-meta-a", "1")
            },
            &Payload::Unsigned,
            None,
        );
        let authorization = headers.unwrap().headers["authorization"].to_str().unwrap().to_owned();
        assert!(
            authorization.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a,"),
            "{authorization}"
        );
    }

    #[test]
    fn the_authority_stands_in_for_an_absent_host() {
        let by_header =
            signed("s3", |b| b.uri("https://h.example/k").header("host", "h.example"), &Payload::Unsigned, None);
        let by_uri = signed("s3", |b| b.uri("https://h.example:443/k"), &Payload::Unsigned, None);
        assert_eq!(by_header.unwrap().headers["authorization"], by_uri.unwrap().headers["authorization"]);
        assert_eq!(signed("s3", |b| b.uri("/k"), &Payload::Unsigned, None).unwrap_err(), SignError::NoHost);
    }

    #[test]
    fn only_s3_leaves_a_payload_unsigned() {
        for payload in [Payload::Unsigned, Payload::Chunked(ChunkMode::Unsigned)] {
            let refused = signed("execute-api", |b| b.uri("/").header("host", "h"), &payload, None);
            assert_eq!(refused.unwrap_err(), SignError::UnsignedPayload);
        }
    }
}

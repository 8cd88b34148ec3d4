//! `kind = "sigv4"`: signs the request with the person's own AWS credentials.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::{Uri, uri};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{BodyNeed, Given, InjectError, Injector, Materials, Needs, Vouched};
use crate::arn::{Region, ServiceName, SignedFor};
use crate::built_in::{BuiltIn, SettingsError};
use crate::sigv4::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};
use crate::sigv4::{HexDigest, Keys, Payload, STREAMING_UNSIGNED_PAYLOAD_TRAILER, SignError, Signer};
use crate::web::{Body, ByteCount, Request};

mod signers;

use signers::Signers;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, Materials> = BuiltIn {
    kind: "sigv4",
    summary: "Signs requests with the signed-in person's own AWS credentials (Signature Version 4).",
    example: include_str!("../../config/examples/inject/sigv4.toml"),
    build: |settings, materials| Ok(Arc::new(Sigv4::new(settings.parse()?, materials.upstream.as_deref())?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sigv4Settings {
    service: Option<ServiceName>,
    region: Option<Region>,
    body_limit: Option<ByteCount>,
    #[serde(default)]
    unsigned_headers: Vec<String>,
}

/// Names of headers that AWS does not want to be signed: it wants `host` and every `x-amz-*` that is there.
fn unsigned_headers(names: &[String]) -> Result<Vec<HeaderName>, SettingsError> {
    let read = names.iter().map(|text| {
        let name: HeaderName = text.parse().map_err(|_| format!("`{text}` is no name of a header"))?;
        if name == header::HOST || name.as_str().starts_with("x-amz-") {
            return Err(format!("`{name}` must be signed, or the service refuses the request"));
        }
        Ok(name)
    });
    let with_key = |(i, name): (usize, Result<_, String>)| {
        name.map_err(|problem| SettingsError::at(format!("unsigned_headers[{i}]"), problem))
    };
    read.enumerate().map(with_key).collect()
}

#[derive(Debug)]
struct Sigv4 {
    signers: Signers,
    /// How much of a body is hashed.
    limit: usize,
    /// The headers of a signature: none of the client's passes, in any spelling (A29).
    replaced: Vouched,
}

impl Sigv4 {
    /// `upstream` is what the upstream is called; absent where that is the host that was asked for.
    fn new(settings: Sigv4Settings, upstream: Option<&str>) -> Result<Self, SettingsError> {
        if settings.service.as_ref().is_some_and(ServiceName::is_s3) && settings.body_limit.is_some() {
            let problem = "is of no effect for s3, whose bodies stream through unsigned; expected no `body_limit`";
            return Err(SettingsError::at("body_limit", problem));
        }
        let limit = match settings.body_limit {
            Some(ByteCount(count)) => usize::try_from(count).ok().filter(|bytes| *bytes > 0).ok_or_else(|| {
                SettingsError::at("body_limit", "expected a number of bytes, or a text like \"8MiB\"")
            })?,
            None => BODY_LIMIT,
        };
        let left_out = unsigned_headers(&settings.unsigned_headers)?;
        let signers = match (settings.service, settings.region) {
            (Some(service), Some(region)) => {
                Signers::Named(Box::new(Signer::new(service, region).leaving_out(left_out)))
            }
            (None, None) => {
                let host = upstream.map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
                if let Some(host) = host.filter(|host| SignedFor::host(host).is_none()) {
                    let problem = format!("is missing, and `{host}` is no host that says it; expected one such as s3");
                    return Err(SettingsError::at("service", problem));
                }
                Signers::by_host(left_out)
            }
            (Some(_), None) => return Err(SettingsError::at("region", "is missing beside `service`")),
            (None, Some(_)) => return Err(SettingsError::at("service", "is missing beside `region`")),
        };
        Ok(Self { signers, limit, replaced: Vouched::new(&REPLACED) })
    }

    /// How the body is spoken for.
    fn payload(is_s3: bool, headers: &HeaderMap, body: &Body) -> Result<Payload, InjectError> {
        let framing = Framing::read(headers)?;
        match (framing, is_s3) {
            (Framing::ChunksUnsigned, true) => return Ok(Payload::StreamingUnsignedTrailer),
            (Framing::ChunksUnsigned, false) => return Err(unsignable("only S3 takes bodies in aws-chunked encoding")),
            (Framing::Plain, _) => {}
        }
        match body {
            Body::Full(Some(bytes)) => Ok(Payload::of(bytes)),
            body if body.is_end_stream() || body.size_hint().exact() == Some(0) => Ok(Payload::Hash(HexDigest::EMPTY)),
            _ if is_s3 => Ok(Payload::Unsigned),
            _ => Err(InjectError::Missing("the whole body")),
        }
    }
}

impl Injector for Sigv4 {
    fn needs(&self) -> Needs {
        let body = match &self.signers {
            Signers::Named(_) => self.body_at(""),
            Signers::ByHost(_) => BodyNeed::Whole { limit: self.limit },
        };
        Needs { credentials: true, body, ..Needs::NOTHING }
    }

    /// S3 takes unsigned payloads, so its bodies stream; every other service wants their digest.
    fn body_at(&self, host: &str) -> BodyNeed {
        if self.signers.is_s3(host) { BodyNeed::Nothing } else { BodyNeed::Whole { limit: self.limit } }
    }

    /// None: a signature proves itself, and the client's `x-amz-content-sha256` must be seen before it goes.
    fn sets(&self) -> &[HeaderName] {
        &[]
    }

    fn inject(&self, request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        let credentials = given.credentials.ok_or(InjectError::Missing("credentials"))?;
        let (mut parts, body) = request.into_parts();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let signer = self.signers.of(host).ok_or_else(|| unsignable(NO_SERVICE))?;
        let payload = Self::payload(signer.service().is_s3(), &parts.headers, &body)?;
        self.replaced.strip(&mut parts.headers);
        if let Some(uri) = without_presigning(&parts.uri) {
            parts.uri = uri;
        }
        let keys = Keys {
            access_key_id: &credentials.access_key_id,
            secret: &credentials.secret_access_key,
            session_token: Some(&credentials.session_token),
        };
        signer.sign(&mut parts, &payload, &keys, given.now).map_err(|e| match e {
            SignError::NoHost => InjectError::Missing("the upstream's host"),
            SignError::AccessKeyId => InjectError::Missing("an access key id that fits into a header"),
            SignError::UnsignedPayload => InjectError::Missing("the body's digest"),
        })?;
        Ok(Request::from_parts(parts, body))
    }
}

/// What the bytes of the body are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// The content itself.
    Plain,
    /// Chunks of it, with lengths before and checksums after, but without signatures.
    ChunksUnsigned,
}

impl Framing {
    /// By what the client declares. Chunks with the client's signatures in them can't be passed on under our signature;
    /// signed as plain bytes they would be stored with their framing, and nobody would notice.
    fn read(headers: &HeaderMap) -> Result<Self, InjectError> {
        let mut framing = Self::Plain;
        for (index, declared) in headers.get_all(X_AMZ_CONTENT_SHA256).iter().enumerate() {
            let declared = declared.to_str().unwrap_or_default().trim();
            if declared == STREAMING_UNSIGNED_PAYLOAD_TRAILER && index == 0 {
                framing = Self::ChunksUnsigned;
            } else if starts_with_ignoring_case(declared, "STREAMING-") || framing != Self::Plain {
                return Err(unsignable(SIGNED_CHUNKS));
            }
        }
        let is_chunked = headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&b| b == b','))
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked"));
        if is_chunked && framing == Self::Plain {
            return Err(unsignable(UNDECLARED_CHUNKS));
        }
        Ok(framing)
    }
}

/// The same target without the parameters of a presigned request, where it has any. The rest keeps its bytes.
fn without_presigning(target: &Uri) -> Option<Uri> {
    let query = target.query()?;
    if !query.split('&').any(is_presigning) {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_presigning(pair)).collect();
    let path = target.path();
    let path_and_query = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let mut parts = target.clone().into_parts();
    // A part of what was a path and query is one.
    parts.path_and_query = uri::PathAndQuery::try_from(path_and_query).ok();
    Uri::from_parts(parts).ok()
}

fn is_presigning(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    if !name.contains('%') && !starts_with_ignoring_case(name, "x-amz-") {
        return false;
    }
    let name = percent_decode_str(name).decode_utf8_lossy();
    PRESIGNING.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

fn unsignable(why: &str) -> InjectError {
    InjectError::Unsignable(why.to_owned())
}

const SIGNED_CHUNKS: &str = "the body is sent in chunks that the client signed itself (x-amz-content-sha256: \
     STREAMING-…), and nobody else can sign these again; reach this address over https, where most clients leave \
     payloads unsigned, or set payload_signing_enabled = false (AWS CLI, boto3) or chunkedEncodingEnabled(false) \
     (Java)";
const UNDECLARED_CHUNKS: &str = "the body is in aws-chunked encoding, but x-amz-content-sha256 is not \
     STREAMING-UNSIGNED-PAYLOAD-TRAILER; set the client to unsigned payloads, or to send no aws-chunked bodies";

const NO_SERVICE: &str = "no AWS service is known by this host; name `service` and `region` in the route's `inject`";

/// 8 MiB.
const BODY_LIMIT: usize = 8 << 20;

const REPLACED: [HeaderName; 5] = [
    header::AUTHORIZATION,
    X_AMZ_DATE,
    X_AMZ_SECURITY_TOKEN,
    X_AMZ_CONTENT_SHA256,
    HeaderName::from_static("x-amz-region-set"),
];

const PRESIGNING: [&str; 9] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
    "X-Amz-Region-Set",
];

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use http::HeaderValue;
    use http_body_util::StreamBody;

    use super::*;
    use crate::clock::from_epoch_seconds;
    use crate::credentials::Credentials;
    use crate::secret::Secret;
    use crate::sigv4::Presented;

    const NOW: u64 = 1_780_000_000;

    fn build(text: &str) -> Result<Sigv4, SettingsError> {
        Sigv4::new(crate::built_in::parse_table(text.parse().unwrap())?, Some("https://app.example"))
    }

    fn injector(service: &str) -> Sigv4 {
        build(&format!("service = \"{service}\"\nregion = \"eu-west-1\"")).unwrap()
    }

    fn credentials() -> Arc<Credentials> {
        Arc::new(Credentials {
            access_key_id: "ASIAOURS".into(),
            secret_access_key: Secret::new("secret"),
            session_token: HeaderValue::from_static("our-token"),
            expires: SystemTime::UNIX_EPOCH,
            issued: SystemTime::UNIX_EPOCH,
            role_session: "".into(),
            request_id: "".into(),
        })
    }

    fn request(target: &str, headers: &[(&'static str, &'static str)], body: Body) -> Request {
        let mut request = http::Request::put(target).header("host", "bucket.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).unwrap()
    }

    fn inject(service: &str, request: Request) -> Result<Request, InjectError> {
        let credentials = credentials();
        let given = Given { credentials: Some(&credentials), ..Given::nothing(from_epoch_seconds(NOW)) };
        injector(service).inject(request, &given)
    }

    /// The service's view: whose request it is, if the signature is right for this body.
    fn believed(service: &str, request: Request, body: &[u8]) -> Option<String> {
        let (parts, _) = request.into_parts();
        let now = from_epoch_seconds(NOW);
        let presented = Presented::read(&parts, &service.parse().unwrap(), &HexDigest::of(body), now).ok()?;
        presented.verify(&Secret::new("secret")).ok()?;
        assert_eq!(presented.session_token().map(Secret::expose), Some("our-token"));
        Some(presented.access_key_id().to_owned())
    }

    fn stream() -> Body {
        Body::boxed(StreamBody::new(futures_util::stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(
            Bytes::from_static(b"streamed"),
        ))])))
    }

    #[test]
    fn a29_what_a_client_signed_is_replaced_and_the_rest_is_signed() {
        let sent = [
            ("authorization", "AWS4-HMAC-SHA256 Credential=THEIRS/20260528/eu-west-1/s3/aws4_request"),
            ("authorization", "Bearer x"),
            ("x-amz-date", "20000101T000000Z"),
            ("x_amz_date", "20000101T000000Z"),
            ("x-amz-security-token", "their-token"),
            ("x.amz.security_token", "their-token"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-content_sha256", "theirs"),
            ("x-amz-region-set", "*"),
            ("x-amz-meta-colour", "blue"),
            ("x-amz-target", "Service.Call"),
        ];
        let target = "/bucket//a%20key?X-Amz-Signature=00&list=%2f&x-amz-credential=THEIRS&X%2DAmz-Expires=5&b";
        for (service, body, bytes) in [
            ("s3", Body::Empty, b"".as_slice()),
            ("s3", stream(), b"whatever"),
            ("execute-api", Body::full("hello"), b"hello"),
            ("execute-api", Body::Empty, b""),
        ] {
            let signed = inject(service, request(target, &sent, body)).unwrap();
            assert_eq!(signed.uri(), "/bucket//a%20key?list=%2f&b");
            let headers = signed.headers();
            assert!(!format!("{headers:?}").to_lowercase().contains("their"), "{headers:?}");
            assert!(!headers.keys().any(|name| name.as_str().contains(['_', '.'])), "{headers:?}");
            assert!(!headers.contains_key("x-amz-region-set"));
            assert_eq!(
                (&headers["x-amz-meta-colour"], &headers["x-amz-target"]),
                (&"blue".parse().unwrap(), &"Service.Call".parse().unwrap())
            );
            let line = headers["authorization"].to_str().unwrap();
            assert!(line.contains(";x-amz-meta-colour;") && line.contains(";x-amz-target,"), "{line}");
            assert_eq!(believed(service, signed, bytes).as_deref(), Some("ASIAOURS"), "{service}");
        }
    }

    #[test]
    fn what_hops_after_us_change_passes_unsigned() {
        let settings = "service = \"s3\"\nregion = \"eu-west-1\"\nunsigned_headers = [\"X-Hop\", \"accept\"]";
        let (credentials, sent) = (credentials(), [("x-hop", "1"), ("accept", "*/*"), ("x-app", "1")]);
        let given = Given { credentials: Some(&credentials), ..Given::nothing(from_epoch_seconds(NOW)) };
        let mut signed = build(settings).unwrap().inject(request("/k", &sent, Body::Empty), &given).unwrap();
        let line = signed.headers()["authorization"].to_str().unwrap();
        assert!(line.contains(";x-app,") && !line.contains("x-hop") && !line.contains("accept"), "{line}");
        signed.headers_mut().insert("x-hop", HeaderValue::from_static("2"));
        assert_eq!(signed.headers()["accept"], "*/*");
        assert_eq!(believed("s3", signed, b"").as_deref(), Some("ASIAOURS"));
    }

    #[test]
    fn s3_bodies_stream_unsigned_and_no_body_is_hashed() {
        for (body, declared) in [
            (stream(), "UNSIGNED-PAYLOAD"),
            (Body::Empty, HexDigest::EMPTY.as_str()),
            (Body::full("x"), HexDigest::of(b"x").as_str()),
        ] {
            let signed = inject("s3", request("/k", &[], body)).unwrap();
            assert_eq!(signed.headers()["x-amz-content-sha256"], declared);
        }
        assert_eq!(injector("s3").needs(), Needs { credentials: true, ..Needs::NOTHING });
    }

    #[test]
    fn other_services_need_the_whole_body() {
        assert_eq!(injector("sts").needs().body, BodyNeed::Whole { limit: 8 << 20 });
        let refused = inject("sts", request("/", &[], stream()));
        assert!(matches!(refused, Err(InjectError::Missing("the whole body"))));
    }

    #[test]
    fn unsigned_chunks_keep_their_mode() {
        let sent = [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-decoded-content-length", "8"),
        ];
        let signed = inject("s3", request("/k", &sent, stream())).unwrap();
        for (name, value) in sent {
            assert_eq!(signed.headers()[name], value);
        }
        assert_eq!(believed("s3", signed, b"chunks").as_deref(), Some("ASIAOURS"));
    }

    #[test]
    fn bodies_that_would_be_stored_with_their_framing_are_refused() {
        const MODE: &str = "x-amz-content-sha256";
        let cases: [(&str, &[(&str, &str)]); 9] = [
            ("s3", &[(MODE, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]),
            ("s3", &[(MODE, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")]),
            ("s3", &[(MODE, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")]),
            ("s3", &[(MODE, "streaming-unsigned-payload-trailer")]),
            ("s3", &[(MODE, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), (MODE, "UNSIGNED-PAYLOAD")]),
            ("s3", &[(MODE, "UNSIGNED-PAYLOAD"), (MODE, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]),
            ("s3", &[("content-encoding", "gzip, AWS-chunked")]),
            ("s3", &[("content-encoding", "aws-chunked"), (MODE, "UNSIGNED-PAYLOAD")]),
            ("execute-api", &[(MODE, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]),
        ];
        for (service, sent) in cases {
            let mut request = http::Request::put("/k").header("host", "h");
            for (name, value) in sent {
                request = request.header(*name, *value);
            }
            let refused = inject(service, request.body(Body::full("x")).unwrap());
            assert!(matches!(refused, Err(InjectError::Unsignable(_))), "{sent:?}");
        }
        assert!(inject("s3", request("/k", &[("content-encoding", "gzip")], stream())).is_ok());
    }

    #[test]
    fn targets_without_presigning_keep_their_bytes() {
        for target in ["/a//b/../c%2f?x=%41&&y=+&=", "/", "/?", "/?X-Amz", "/?x-amz-acl&X-Amz-Target=1", "/?%zz=1"] {
            assert!(without_presigning(&target.parse().unwrap()).is_none(), "{target}");
        }
        for (target, left) in [
            ("/k?X-AMZ-SIGNATURE=1", "/k"),
            ("/k?a&x-amz-date=1&b=%2F", "/k?a&b=%2F"),
            ("https://h.example/k?%58-amz-Algorithm&a", "https://h.example/k?a"),
        ] {
            assert_eq!(without_presigning(&target.parse().unwrap()).unwrap(), left, "{target}");
        }
    }

    #[test]
    fn settings_are_read_or_named() {
        let with = |line: &str| build(&format!("service = \"sts\"\nregion = \"eu-west-1\"\n{line}"));
        for (line, limit) in
            [("body_limit = 1000", 1000), ("body_limit = \"16 KiB\"", 16384), ("body_limit = \"1GiB\"", 1 << 30)]
        {
            assert_eq!(with(line).unwrap().needs().body, BodyNeed::Whole { limit }, "{line}");
        }
        for bad in [
            "body_limit = 0",
            "body_limit = \"8\"",
            "body_limit = \"8MB\"",
            "body_limit = \"99999999999GiB\"",
            "body_limit = -1",
        ] {
            assert_eq!(with(bad).unwrap_err().key, "body_limit", "{bad}");
        }
        let s3 = build("service = \"s3\"\nregion = \"eu-west-1\"\nbody_limit = \"8MiB\"");
        assert_eq!(s3.unwrap_err().key, "body_limit");
        assert_eq!(with("regions = []").unwrap_err().key, "regions");
        for bad in ["Host", "X-Amz-Target", "not a name"] {
            let refused = with(&format!("unsigned_headers = ['via', '{bad}']")).unwrap_err();
            assert_eq!(refused.key, "unsigned_headers[1]", "{bad}");
        }
        assert_eq!(build("service = \"S3\"\nregion = \"eu-west-1\"").unwrap_err().key, "service");
        assert!(build("region = \"eu-west-1\"").is_err());
    }
}

//! `kind = "sigv4"`: signs the request with the person's own AWS credentials.

use std::sync::Arc;

use http::header::{self, HeaderName};
use serde::Deserialize;

mod payload;
mod presigned;
mod signers;

use super::{BodyNeed, Given, InjectError, Injector, Materials, Needs, Vouched};
use crate::arn::{Region, ServiceName, SignedFor};
use crate::built_in::{BuiltIn, SettingsError};
use crate::sigv4::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};
use crate::sigv4::{Keys, Scope, SignError, Signer};
use crate::web::{ByteCount, Request};
use payload::{PayloadSetting, Road, SMALL};
pub use presigned::without_presigning;
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
    payload: Option<PayloadSetting>,
    #[serde(default)]
    algorithm: Algorithm,
    region_set: Option<Vec<String>>,
    #[serde(default)]
    unsigned_headers: Vec<String>,
}

/// What signs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    /// HMAC, for one region.
    #[default]
    Sigv4,
    /// ECDSA, for a set of regions.
    Sigv4a,
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
    payload: PayloadSetting,
    /// The headers of a signature: none of the client's passes, in any spelling (A29).
    replaced: Vouched,
}

impl Sigv4 {
    /// `upstream` is what the upstream is called; absent where that is the host that was asked for.
    fn new(settings: Sigv4Settings, upstream: Option<&str>) -> Result<Self, SettingsError> {
        let is_s3 = settings.service.as_ref().map(ServiceName::is_s3);
        if is_s3 == Some(true) && settings.body_limit.is_some() {
            let problem = "is of no effect for s3, whose bodies stream through; expected no `body_limit`";
            return Err(SettingsError::at("body_limit", problem));
        }
        if is_s3 == Some(false) && settings.payload.is_some() {
            let problem = "is for s3, as every other service wants a digest of the body; expected no `payload`";
            return Err(SettingsError::at("payload", problem));
        }
        if settings.algorithm == Algorithm::Sigv4 && settings.region_set.is_some() {
            let problem = "is of SigV4a; expected none, or algorithm = \"sigv4a\"";
            return Err(SettingsError::at("region_set", problem));
        }
        if settings.algorithm == Algorithm::Sigv4a && settings.payload == Some(PayloadSetting::Signed) {
            let problem = "can't be \"signed\" by SigV4a, as that has no chunks here; expected \"as_sent\"";
            return Err(SettingsError::at("payload", problem));
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
                let regions = settings.region_set.unwrap_or_else(|| vec![region.to_string()]).join(",");
                let mut signer = Signer::new(service, region).leaving_out(left_out);
                if settings.algorithm == Algorithm::Sigv4a {
                    let regions = regions.parse().map_err(|error| SettingsError::at("region_set", error))?;
                    signer = signer.asymmetric(regions);
                }
                Signers::Named(Box::new(signer))
            }
            (None, None) => {
                let host = upstream.map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
                if let Some(host) = host.filter(|host| SignedFor::host(host).is_none()) {
                    let problem = format!("is missing, and `{host}` is no host that says it; expected one such as s3");
                    return Err(SettingsError::at("service", problem));
                }
                if settings.algorithm == Algorithm::Sigv4a {
                    let problem =
                        "can't be \"sigv4a\" where the host says what to sign for; expected `service` and `region`";
                    return Err(SettingsError::at("algorithm", problem));
                }
                Signers::by_host(left_out)
            }
            (Some(_), None) => return Err(SettingsError::at("region", "is missing beside `service`")),
            (None, Some(_)) => return Err(SettingsError::at("service", "is missing beside `region`")),
        };
        let payload = settings.payload.unwrap_or_default();
        Ok(Self { signers, limit, payload, replaced: Vouched::new(&REPLACED) })
    }
}

/// Refuses what the client has signed for another service or region: there it may be harmless, and here not (A30).
fn signs_for(signer: &Signer, scope: &Scope) -> Result<(), InjectError> {
    let (service, region) = (signer.service(), signer.region());
    if scope.service() == service && scope.region() == region {
        return Ok(());
    }
    Err(InjectError::Unsignable(format!(
        "the request is signed for {} in {}, and this address is {service} in {region}: set the client's region",
        scope.service(),
        scope.region()
    )))
}

impl Injector for Sigv4 {
    fn needs(&self) -> Needs {
        let body = match &self.signers {
            Signers::Named(_) => self.body_at(""),
            Signers::ByHost(_) => BodyNeed::Whole { limit: self.limit },
        };
        Needs { credentials: true, body, ..Needs::NOTHING }
    }

    /// S3 takes unsigned payloads, so its bodies stream but for small ones; every other service wants their digest.
    fn body_at(&self, host: &str) -> BodyNeed {
        match self.signers.is_s3(host) {
            true => BodyNeed::Small { limit: SMALL },
            false => BodyNeed::Whole { limit: self.limit },
        }
    }

    /// None: a signature proves itself, and the client's `x-amz-content-sha256` must be seen before it goes.
    fn sets(&self) -> &[HeaderName] {
        &[]
    }

    fn inject(&self, request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        let credentials = given.credentials.ok_or(InjectError::Missing("credentials"))?;
        let (mut parts, body) = request.into_parts();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let signer = self.signers.of(host).ok_or_else(|| InjectError::Unsignable(NO_SERVICE.to_owned()))?;
        if let Some(scope) = parts.extensions.remove::<Scope>() {
            signs_for(&signer, &scope)?;
        }
        let road = match signer.service().is_s3() {
            true if signer.signs_chunks() => Road::of_s3(&parts.headers, &body, self.payload)?,
            true => Road::of_s3(&parts.headers, &body, self.payload)?.without_signatures()?,
            false => Road::of_others(&parts.headers, &body)?,
        };
        self.replaced.strip(&mut parts.headers);
        if let Some(uri) = without_presigning(&parts.uri) {
            parts.uri = uri;
        }
        road.announce(&mut parts.headers)?;
        let keys = Keys {
            access_key_id: &credentials.access_key_id,
            secret: &credentials.secret_access_key,
            session_token: Some(&credentials.session_token),
        };
        let chain = signer.sign(&mut parts, &road.payload(), &keys, given.now).map_err(|e| match e {
            SignError::NoHost => InjectError::Missing("the upstream's host"),
            SignError::AccessKeyId => InjectError::Missing("an access key id that fits into a header"),
            SignError::Key => InjectError::Missing("keys that SigV4a can use"),
            SignError::UnsignedPayload | SignError::Chunks => InjectError::Missing("the body's digest"),
        })?;
        Ok(Request::from_parts(parts, road.take(body, chain)?))
    }
}

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
    use crate::sigv4::chunked::{Announced, Decoder, Piece};
    use crate::sigv4::{HexDigest, Presented};
    use crate::web::Body;

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
    fn s3_gets_the_digest_of_what_is_small_and_the_clients_own() {
        let theirs = HexDigest::of(b"theirs");
        let theirs: &'static str = theirs.as_str().to_owned().leak();
        for (sent, body, declared) in [
            ("UNSIGNED-PAYLOAD", stream(), "UNSIGNED-PAYLOAD"),
            ("", stream(), "UNSIGNED-PAYLOAD"),
            (theirs, stream(), theirs),
            (theirs, Body::full("x"), theirs),
            ("UNSIGNED-PAYLOAD", Body::Empty, HexDigest::EMPTY.as_str()),
            ("UNSIGNED-PAYLOAD", Body::full("x"), HexDigest::of(b"x").as_str()),
        ] {
            let signed = inject("s3", request("/k", &[("x-amz-content-sha256", sent)], body)).unwrap();
            assert_eq!(signed.headers()["x-amz-content-sha256"], declared);
        }
        let small = BodyNeed::Small { limit: SMALL };
        assert_eq!(injector("s3").needs(), Needs { credentials: true, body: small, ..Needs::NOTHING });
    }

    #[tokio::test]
    async fn chunks_of_the_clients_are_signed_anew() {
        let signature = HexDigest::EMPTY;
        let signature = signature.as_str();
        let chunks = format!(
            "5;chunk-signature={signature}\r\nhello\r\n3;chunk-signature={signature}\r\n, w\r\n\
             0;chunk-signature={signature}\r\nx-amz-checksum-crc32:NhCmhg==\r\n\
             x-amz-trailer-signature:{signature}\r\n\r\n"
        );
        let sent = [
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            ("content-encoding", "aws-chunked"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-decoded-content-length", "8"),
            ("content-length", "999"),
        ];
        let signed = inject("s3", request("/k", &sent, Body::full(chunks))).unwrap();
        let headers = signed.headers().clone();
        for (name, value) in &sent[..4] {
            assert_eq!(headers[*name], *value);
        }
        let from = Announced::read(&headers).unwrap().unwrap();
        assert_eq!(believed_length(&headers), from.encoded_length().unwrap());
        let body = signed.into_body().collect(1 << 20).await.unwrap();
        assert_eq!(body.len() as u64, believed_length(&headers));
        assert!(!body.windows(64).any(|text| text == signature.as_bytes()), "none of the client's signatures");
        let (mut decoder, mut input, mut content) = (Decoder::new(&from), body, Vec::new());
        while let Some(piece) = decoder.next(&mut input).unwrap() {
            if let Piece::Data(data) = piece {
                content.extend_from_slice(&data);
            }
        }
        assert_eq!((content.as_slice(), decoder.finish()), (&b"hello, w"[..], Ok(())));
    }

    #[tokio::test]
    async fn where_all_is_to_be_signed_plain_bodies_go_in_chunks() {
        let settings = "service = \"s3\"\nregion = \"eu-west-1\"\npayload = \"signed\"";
        let credentials = credentials();
        let given = Given { credentials: Some(&credentials), ..Given::nothing(from_epoch_seconds(NOW)) };
        let inject = |request: Request| build(settings).unwrap().inject(request, &given);
        let refused = inject(request("/k", &[], stream()));
        assert!(matches!(refused, Err(InjectError::Unsignable(_))), "it has no length");
        let sized = Body::boxed(http_body_util::Full::new(Bytes::from_static(b"streamed")));
        let signed = inject(request("/k", &[("content-encoding", "gzip"), ("content-length", "8")], sized)).unwrap();
        let headers = signed.headers().clone();
        assert_eq!(headers["x-amz-content-sha256"], "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        assert_eq!(headers["content-encoding"], "aws-chunked,gzip");
        assert_eq!(headers["x-amz-decoded-content-length"], "8");
        let body = signed.into_body().collect(1 << 20).await.unwrap();
        assert_eq!(body.len() as u64, believed_length(&headers));
        assert!(body.starts_with(b"8;chunk-signature=") && body.ends_with(b"\r\n\r\n"));
        // checksums without signatures are signed along
        let sent = [
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-decoded-content-length", "0"),
        ];
        let signed = inject(request("/k", &sent, "0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n".into())).unwrap();
        assert_eq!(signed.headers()["x-amz-content-sha256"], "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
        let body = signed.into_body().collect(1 << 20).await.unwrap();
        assert!(body.windows(24).any(|text| text == b"x-amz-trailer-signature:"));
    }

    fn believed_length(headers: &http::HeaderMap) -> u64 {
        headers["content-length"].to_str().unwrap().parse().unwrap()
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
            ("s3", &[(MODE, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]), // without a length
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
    fn sigv4a_signs_for_a_set_of_regions() {
        let with = |more: &str| build(&format!("service = \"s3\"\nregion = \"eu-west-1\"\n{more}"));
        let credentials = credentials();
        let given = Given { credentials: Some(&credentials), ..Given::nothing(from_epoch_seconds(NOW)) };
        for (more, set) in [("", "eu-west-1"), ("region_set = [\"eu-*\", \"us-east-1\"]", "eu-*,us-east-1")] {
            let injector = with(&format!("algorithm = \"sigv4a\"\n{more}")).unwrap();
            let sent = [("x-amz-region-set", "*"), ("authorization", "theirs")];
            let signed = injector.inject(request("/k", &sent, Body::Empty), &given).unwrap();
            let line = signed.headers()["authorization"].to_str().unwrap();
            let scope = "/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-region-set;";
            assert!(line.starts_with("AWS4-ECDSA-P256-SHA256 Credential=ASIAOURS/20260528/s3/"), "{line}");
            assert!(line.contains(scope), "{line}");
            assert_eq!(signed.headers().get_all("x-amz-region-set").iter().collect::<Vec<_>>(), [set]);
            // chunks go on without signatures, where checksums speak for the content
            let sent = [
                ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
                ("x-amz-decoded-content-length", "8"),
            ];
            let signed = injector.inject(request("/k", &sent, stream()), &given).unwrap();
            assert_eq!(signed.headers()["x-amz-content-sha256"], "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
            let sent = [("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), sent[2]];
            let refused = injector.inject(request("/k", &sent, stream()), &given);
            assert!(matches!(refused, Err(InjectError::Unsignable(_))));
        }
        for (more, key) in [
            ("region_set = [\"*\"]", "region_set"),
            ("algorithm = \"sigv4a\"\nregion_set = [\"EU\"]", "region_set"),
            ("algorithm = \"sigv4a\"\nregion_set = []", "region_set"),
            ("algorithm = \"sigv4a\"\npayload = \"signed\"", "payload"),
            ("algorithm = \"sigv5\"", "algorithm"),
        ] {
            assert_eq!(with(more).unwrap_err().key, key, "{more}");
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
        assert_eq!(with("payload = \"signed\"").unwrap_err().key, "payload");
        assert_eq!(with("regions = []").unwrap_err().key, "regions");
        for bad in ["Host", "X-Amz-Target", "not a name"] {
            let refused = with(&format!("unsigned_headers = ['via', '{bad}']")).unwrap_err();
            assert_eq!(refused.key, "unsigned_headers[1]", "{bad}");
        }
        assert_eq!(build("service = \"S3\"\nregion = \"eu-west-1\"").unwrap_err().key, "service");
        assert!(build("region = \"eu-west-1\"").is_err());
    }
}

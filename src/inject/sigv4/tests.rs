//! What is signed, and what is refused, at a route.

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

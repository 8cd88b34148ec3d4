//! What a signature must be to be believed, and what becomes of all else.

use http::{HeaderValue, Request};

use super::*;
use crate::clock::from_epoch_seconds;
use crate::sigv4::chunked::ChunkMode;
use crate::sigv4::{Keys, Payload, Signer};

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

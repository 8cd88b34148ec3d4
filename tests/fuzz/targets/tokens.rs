//! Tokens and signatures: what nobody signed is believed by nobody (A18, A30).

use std::sync::LazyLock;
use std::time::Duration;

use claviger::arn::ServiceName;
use claviger::clock::from_epoch_seconds;
use claviger::jose::{Expected, KeySet, Signer, unverified, verify};
use claviger::secret::Secret;
use claviger::sigv4::{self, HexDigest, Keys, Payload, Presented};
use http::{HeaderName, HeaderValue, Request, request};
use serde_json::json;

const NOW: u64 = 1_800_000_000;

struct House {
    keys: KeySet,
    good: String,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let (signer, _) = Signer::generate().expect("a key");
    let keys = KeySet::parse(json!({ "keys": [signer.public_jwk()] }).to_string().as_bytes()).expect("a key set");
    let claims = json!({ "iss": "https://idp.test", "aud": "claviger", "sub": "alice", "exp": NOW + 60, "iat": NOW });
    let good = signer.sign("JWT", &claims).expect("a token").expose().to_owned();
    House { keys, good }
});

/// `<a byte> …`: a token of whoever wrote it, or a good one with something done to it.
pub fn jwt(data: &[u8]) {
    let Some((deed, rest)) = data.split_first() else { return };
    let good = &HOUSE.good;
    let text = String::from_utf8_lossy(rest).into_owned();
    let parts: Vec<&str> = good.split('.').collect();
    let token = match deed % 5 {
        0 => text,
        1 => format!("{}.{text}.{}", parts[0], parts[2]),
        2 => format!("{text}.{}.{}", parts[1], parts[2]),
        3 => format!("{}.{}.{text}", parts[0], parts[1]),
        _ => format!("{good}{text}"),
    };
    let expected = Expected {
        issuer: "https://idp.test",
        audiences: &["claviger"],
        now: from_epoch_seconds(NOW),
        leeway: Duration::from_secs(10),
    };
    let _ = unverified(&token);
    let believed = verify(&token, &HOUSE.keys, &expected).is_ok();
    assert!(!believed || token == *good, "{token:?} is believed");
    assert!(verify(good, &HOUSE.keys, &expected).is_ok(), "the good one is good");
    let _ = KeySet::parse(rest);
}

pub fn jwt_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "\0eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lkcC50ZXN0In0.",
        "\0eyJhbGciOiJIUzI1NiJ9.eyJleHAiOiI5OTk5OTk5OTk5In0.AAAA",
        "\u{1}eyJpc3MiOiJodHRwczovL2lkcC50ZXN0IiwiYXVkIjoiY2xhdmlnZXIiLCJleHAiOjFlMzA5fQ",
        "\u{2}eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdfQ",
        "\u{3}AAAA",
        "\u{4}.",
        "\0{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}",
    ])
}

/// A request as lines: `METHOD target`, then headers. By itself nobody signed it; signed by us and changed, nobody did
/// either.
pub fn sigv4(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let Some((method, target)) = lines.next().and_then(|line| line.split_once(' ')) else { return };
    // as the server admits them: in origin form
    if !target.starts_with('/') {
        return;
    }
    let Ok(mut request) = Request::builder().method(method).uri(target).body(()) else { return };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value.trim())) {
            request.headers_mut().append(name, value);
        }
    }
    let (mut parts, ()) = request.into_parts();
    let (service, secret, now) = (service(), Secret::new("a secret key"), from_epoch_seconds(NOW));
    let body = HexDigest::of(b"");
    if let Ok(presented) = read(&parts, now) {
        assert!(presented.verify(&secret).is_err(), "nobody signed {text:?}");
    }
    let signer = sigv4::Signer::new(service.clone(), "eu-west-1".parse().expect("a region"));
    let keys = Keys { access_key_id: "AKIAIOSFODNN7EXAMPLE", secret: &secret, session_token: None };
    parts.headers.insert("host", HeaderValue::from_static("a.test"));
    if signer.sign(&mut parts, &Payload::of(b""), &keys, now).is_err() {
        return;
    }
    // a query may present a signature of its own beside ours, and is refused for it
    let Ok(presented) = Presented::read(&parts, &service, &body, now) else { return };
    assert!(presented.verify(&secret).is_ok(), "we signed {text:?}");
    assert!(presented.verify(&Secret::new("another key")).is_err());
    let mut changed = parts.clone();
    changed.headers.insert("host", HeaderValue::from_static("b.test"));
    let believed = read(&changed, now).is_ok_and(|presented| presented.verify(&secret).is_ok());
    assert!(!believed, "another host is believed of {text:?}");
    if let Ok(uri) = format!("{}x", parts.uri).parse() {
        changed = parts.clone();
        changed.uri = uri;
        let believed = read(&changed, now).is_ok_and(|presented| presented.verify(&secret).is_ok());
        assert!(!believed, "another target is believed of {text:?}");
    }
}

fn read(parts: &request::Parts, now: std::time::SystemTime) -> Result<Presented, sigv4::VerifyError> {
    Presented::read(parts, &service(), &HexDigest::of(b""), now)
}

fn service() -> ServiceName {
    "s3".parse().expect("a service")
}

pub fn sigv4_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "GET /a%20b?x=y&list-type=2\nx-amz-meta-a: b\nx-amz-meta-a: c",
        "PUT //a/../b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00",
        "GET /\nauthorization: AWS4-HMAC-SHA256 Credential=AKIA/20270115/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00\nx-amz-date: 20270115T080000Z\nhost: a",
        "GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20270115%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20270115T080000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00\nhost: a",
    ])
}

//! What goes upstream is signed with the person's own keys, and with nothing of what the client brought (A29).

use claviger::sigv4::HexDigest;
use http::Method;

use crate::support::client::{self, raw};
use crate::support::hostile::{PRESIGNED, THEIRS};
use crate::support::wire::Wire;
use crate::support::world::{Plan, World};

/// An object store and an API, each signed for.
const ROUTES: &str = r#"
[route.store]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
source_identity = "{subject.id}"
tolerate = ["empty-segment", "encoded-slash"]
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.api]
host = "*"
path = "/api"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1", body_limit = "1KiB" }
"#;

#[tokio::test]
async fn a29_what_the_client_signed_is_replaced_and_what_it_says_is_signed() {
    let world = Plan::with_routes(ROUTES).start().await;
    let mut alice = world.browser_of("alice").await;
    let kept = [("x-amz-meta-colour", "blue"), ("x-amz-target", "Service.Call"), ("x-amz-acl", "private")];
    let sent: Vec<(&str, &str)> = THEIRS.iter().chain(&kept).copied().collect();
    for (path, service, role) in [("/bucket//a%20b", "s3", "finance"), ("/api/items/7", "execute-api", "anyone")] {
        for (method, body) in [(Method::GET, ""), (Method::PUT, "hello"), (Method::DELETE, "")] {
            for (query, left) in [("", ""), ("?list-type=2&prefix=%2f", "?list-type=2&prefix=%2f")] {
                let target =
                    if query.is_empty() { format!("{path}?{PRESIGNED}") } else { format!("{path}{query}&{PRESIGNED}") };
                let answer = alice.fetch(method.clone(), &world.url(&target), &sent, body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let seen = world.upstream.last();
                assert_eq!((&seen.target, seen.body.as_slice()), (&format!("{path}{left}"), body.as_bytes()));
                let told = format!("{:?}", seen.headers).to_lowercase();
                assert!(["theirs", "20000101", "bearer"].iter().all(|text| !told.contains(text)), "{told}");
                for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
                    assert_eq!(seen.all(name).len(), 1, "{name}");
                }
                for (name, value) in kept {
                    assert_eq!(seen.all(name), [value]);
                    assert!(seen.signed_headers().contains(&name), "{name} is not signed");
                }
                assert_eq!(seen.all("host"), [world.upstream_at.to_string()]);
                let caller = world.signer(&seen, service).await;
                assert_eq!((role_of(&caller), &caller["subject"]), (role, &"idp/sub-alice".into()));
            }
        }
    }
    let caller = world.signer(&world.upstream.seen()[1], "s3").await;
    assert_eq!((&caller["tags"]["department"], &caller["source_identity"]), (&"finance".into(), &"sub-alice".into()));
}

/// Two people, two roles, and neither is ever signed as the other.
#[tokio::test]
async fn a27_everybody_signs_as_themselves() {
    let world = Plan::with_routes(ROUTES).start().await;
    let (mut alice, mut bob) = (world.browser_of("alice").await, world.browser_of("bob").await);
    for _ in 0..3 {
        for (browser, department, subject) in
            [(&mut alice, "finance", "idp/sub-alice"), (&mut bob, "engineering", "idp/sub-bob")]
        {
            assert_eq!(browser.fetch(Method::GET, &world.url("/x"), &[], "").await.status, 200);
            let caller = world.signer(&world.upstream.last(), "s3").await;
            assert_eq!((role_of(&caller), &caller["subject"]), (department, &subject.into()));
        }
    }
}

/// A presigned URL is nobody's login.
#[tokio::test]
async fn a29_a_signature_of_the_clients_own_opens_nothing() {
    let world = Plan::with_routes(ROUTES).start().await;
    let sent = client::headers(THEIRS);
    for target in ["/bucket/key".to_owned(), format!("/bucket/key?{PRESIGNED}")] {
        let answer = client::send(world.at, Method::GET, &target, &sent, "").await;
        assert_eq!(answer.status, 401);
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn large_s3_bodies_stream_unsigned_and_all_others_get_the_digest() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let at_once = "Content-Length: 5\r\n\r\nhello";
    let digest = HexDigest::of(b"hello");
    let large = format!("Content-Length: 40000\r\n\r\n{}", "x".repeat(40_000));
    for (path, service, body, declared, length) in [
        ("/bucket/key", "s3", at_once, digest.as_str(), vec!["5"]),
        ("/bucket/key", "s3", &large, "UNSIGNED-PAYLOAD", vec!["40000"]),
        ("/bucket/key", "s3", chunked, "UNSIGNED-PAYLOAD", vec![]),
        ("/api/x", "execute-api", at_once, digest.as_str(), vec!["5"]),
        ("/api/x", "execute-api", chunked, digest.as_str(), vec!["5"]), // read whole, so its length is known
        ("/bucket/key", "s3", "Content-Length: 0\r\n\r\n", HexDigest::EMPTY.as_str(), vec!["0"]),
    ] {
        let answer = put(&world, &alice, path, body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.upstream.last();
        if service == "s3" {
            assert_eq!(seen.all("x-amz-content-sha256"), [declared]);
        }
        assert_eq!((seen.all("content-length"), seen.body.is_empty()), (length, body.starts_with("Content-Length: 0")));
        world.signer(&seen, service).await;
    }
}

#[tokio::test]
async fn a_body_past_the_limit_is_413_before_anything_is_sent() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    let before = world.upstream.seen().len();
    let (fits, exceeds) = ("x".repeat(1024), "x".repeat(1025));
    for (body, status) in [
        (format!("Content-Length: 1024\r\n\r\n{fits}"), 200),
        (format!("Transfer-Encoding: chunked\r\n\r\n400\r\n{fits}\r\n0\r\n\r\n"), 200),
        (format!("Content-Length: 1025\r\n\r\n{exceeds}"), 413),
        (format!("Transfer-Encoding: chunked\r\n\r\n401\r\n{exceeds}\r\n0\r\n\r\n"), 413),
        ("Content-Length: 99999999999\r\n\r\n".to_owned(), 413),
    ] {
        let answer = put(&world, &alice, "/api/x", &body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        if status == 413 {
            assert!(answer.contains("larger than 1024 bytes"), "it says why: {answer}");
        }
    }
    assert_eq!(world.upstream.seen().len(), before + 2);

    // whoever waits to be asked is not asked (RFC 9110 §10.1.1)
    let mut wire = Wire::to(world.at).await;
    let lines = format!("Host: {}\r\nCookie: {alice}\r\nExpect: 100-continue\r\n", world.at);
    wire.send(format!("PUT /api/x HTTP/1.1\r\n{lines}Content-Length: 1025\r\n\r\n")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 413"));
    let mut wire = Wire::to(world.at).await;
    wire.send(format!("PUT /api/x HTTP/1.1\r\n{lines}Content-Length: 5\r\n\r\n")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100"));
    wire.send("hello").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.upstream.last().all("expect"), [""; 0]);
}

/// What would be stored with its framing inside, or can't be signed anew.
#[tokio::test]
async fn bodies_in_chunks_that_nobody_can_read_are_refused_with_the_reason() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    let before = world.upstream.seen().len();
    let encoded = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    let with = |mode: &str| {
        format!(
            "Content-Encoding: aws-chunked\r\nX-Amz-Decoded-Content-Length: 5\r\n{mode}Content-Length: {}\r\n\r\n{encoded}",
            encoded.len()
        )
    };
    for (mode, hint) in [
        ("X-Amz-Content-Sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD\r\n", "SigV4a"),
        ("X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\r\n", "x-amz-trailer"),
        ("", "aws-chunked"),
        (
            "Connection: x-amz-content-sha256\r\nX-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n",
            "aws-chunked",
        ),
    ] {
        let answer = put(&world, &alice, "/bucket/key", &with(mode)).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"unsignable\""), "{mode}: {answer}");
        assert!(answer.contains(hint), "it says what to do: {answer}");
    }
    // and what is no chunk, with the reason
    let answer =
        put(&world, &alice, "/bucket/key", &with("X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(world.upstream.seen().len(), before);

    let unsigned =
        "X-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\n";
    let answer = put(&world, &alice, "/bucket/key", &with(unsigned)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = world.upstream.last();
    assert_eq!(seen.all("x-amz-content-sha256"), ["STREAMING-UNSIGNED-PAYLOAD-TRAILER"]);
    assert_eq!((seen.all("x-amz-trailer"), seen.body.as_slice()), (vec!["x-amz-checksum-crc32"], encoded.as_bytes()));
    world.signer(&seen, "s3").await;
}

/// Over plain http SDKs sign each chunk with whatever keys they have: these signatures go, content and checksum stay, and
/// the length is known although the client's was not.
#[tokio::test]
async fn a29_chunks_that_a_client_signed_are_signed_anew() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    let theirs = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let content = "x".repeat(70_000);
    let chunks = format!(
        "{:x};chunk-signature={theirs}\r\n{content}\r\n0;chunk-signature={theirs}\r\nx-amz-checksum-crc32:NhCmhg==\r\n\
         x-amz-trailer-signature:{theirs}\r\n\r\n",
        content.len()
    );
    let lines = "Content-Encoding: aws-chunked\r\nX-Amz-Decoded-Content-Length: 70000\r\n\
                 X-Amz-Trailer: x-amz-checksum-crc32\r\n\
                 X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\r\n";
    for framed in [
        format!("Content-Length: {}\r\n\r\n{chunks}", chunks.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunks}\r\n0\r\n\r\n", chunks.len()),
    ] {
        let answer = put(&world, &alice, "/bucket/key", &format!("{lines}{framed}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.upstream.last();
        assert_eq!(seen.all("x-amz-content-sha256"), ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"]);
        assert_eq!(
            (seen.all("content-length"), seen.all("transfer-encoding")),
            (vec![&*seen.body.len().to_string()], vec![])
        );
        let body = String::from_utf8(seen.body.clone()).unwrap();
        assert!(
            body.starts_with("10000;chunk-signature=") && !body.contains(theirs),
            "in chunks of 64 KiB, none theirs"
        );
        assert!(body.contains("\r\nx-amz-checksum-crc32:NhCmhg==\r\nx-amz-trailer-signature:"), "checksums are kept");
        assert_eq!(body.matches('x').count(), content.len() + 2, "all of the content");
    }
    // what the framing does not hold is cut: the upstream never has the whole
    let before = world.upstream.seen().len();
    let cut = chunks.replacen("\r\n0;", "\r\n1;", 1);
    let answer =
        put(&world, &alice, "/bucket/key", &format!("{lines}Content-Length: {}\r\n\r\n{cut}", cut.len())).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("body_malformed"), "{answer}");
    assert!(world.upstream.seen()[before..].iter().all(|seen| seen.broken));
}

/// A PUT with these lines and this body; the whole answer.
async fn put(world: &World, cookie: &str, path: &str, rest: &str) -> String {
    let lines = format!("Host: {}\r\nCookie: {cookie}\r\nConnection: close\r\n", world.at);
    raw(world.at, format!("PUT {path} HTTP/1.1\r\n{lines}{rest}")).await
}

fn role_of(caller: &serde_json::Value) -> &str {
    caller["role"].as_str().unwrap().strip_prefix("arn:aws:iam::123456789012:role/").unwrap()
}

//! The app as its callers see it, with the real authority behind it.

use std::time::Duration;

use aws_sdk_sts::config::Credentials;
use http::request;
use serde_json::{Value, json};

use super::*;
use crate::authority::testing::{Site, VERDICT_TOKEN, element, trusting};
use crate::sigv4::chunked::ChunkMode;
use crate::sigv4::{Keys, Payload as Signed, Signer, UNSIGNED_PAYLOAD};

struct App {
    site: Site,
    demo: Arc<Demo>,
    credentials: Credentials,
}

impl App {
    async fn start() -> Self {
        let actions = json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]);
        let site = Site::start(&[("reports", trusting(&actions, &json!({})), 3600)]);
        let claims = json!({
            "https://aws.amazon.com/tags": {"principal_tags": {"Department": ["finance"]}},
            "https://aws.amazon.com/source_identity": "alice@corp",
        });
        let credentials = site.credentials("reports", &claims).await;
        let clock = Arc::clone(&site.clock) as Arc<dyn Clock>;
        let demo = Demo::new(&site.url, Secret::new(VERDICT_TOKEN), Arc::clone(&site.fetch), clock, Vec::new());
        Self { site, demo, credentials }
    }

    /// A signed request.
    fn signed(&self, request: request::Builder, body: &'static str) -> http::Request<Bytes> {
        self.signed_as(&self.credentials, request, body, &Signed::Hash(HexDigest::of(body.as_bytes())))
    }

    fn signed_as(
        &self,
        credentials: &Credentials,
        request: request::Builder,
        body: &'static str,
        payload: &Signed,
    ) -> http::Request<Bytes> {
        let request = request.header(header::HOST, "demo.example.com").body(Bytes::from_static(body.as_bytes()));
        let (mut head, body) = request.unwrap().into_parts();
        let token = credentials.session_token().map(|token| HeaderValue::from_str(token).unwrap());
        let secret = Secret::new(credentials.secret_access_key());
        let keys = Keys { access_key_id: credentials.access_key_id(), secret: &secret, session_token: token.as_ref() };
        let signer = Signer::new(s3(), "eu-west-1".parse().unwrap());
        signer.sign(&mut head, payload, &keys, self.site.clock.now()).unwrap();
        http::Request::from_parts(head, body)
    }

    async fn send(&self, request: http::Request<Bytes>) -> (StatusCode, http::HeaderMap, String) {
        let (head, body) = self.demo.handle(&connection(), request.map(Body::full)).await.into_parts();
        let body = body.collect(1 << 24).await.unwrap();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Sends what must be forbidden, with this code.
    async fn forbidden(&self, name: &str, request: http::Request<Bytes>, code: &str) {
        let (status, _, answer) = self.send(request).await;
        assert_eq!((status, element(&answer, "Code")), (StatusCode::FORBIDDEN, code), "{name}");
    }
}

fn connection() -> Connection {
    Connection::new("main".into(), ([127, 0, 0, 1], 1).into(), false)
}

#[tokio::test]
async fn a_signed_caller_sees_who_they_are() {
    let app = App::start().await;
    let request = http::Request::get("/whoami").header("x-forwarded-user", "mallory").header("x-user", "mallory");
    let (status, _, answer) = app.send(app.signed(request, "")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let who: Value = serde_json::from_str(&answer).unwrap();
    let expires = crate::clock::rfc3339(app.site.clock.now() + Duration::from_secs(3600));
    let expected = json!({
        "signature": "verified",
        "user": "alice",
        "login": null,
        "call": "AssumeRoleWithWebIdentity",
        "arn": "arn:aws:sts::123456789012:assumed-role/reports/alice",
        "role": "arn:aws:iam::123456789012:role/reports",
        "session_name": "alice",
        "tags": {"Department": "finance"},
        "source_identity": "alice@corp",
        "subject": "alice",
        "provider": app.site.provider_arn,
        "access_key_id": app.credentials.access_key_id(),
        "expires": expires,
    });
    assert_eq!(who, expected);

    let request = http::Request::get("/").header(header::ACCEPT, "text/html,*/*;q=0.8");
    let (status, headers, page) = app.send(app.signed(request, "")).await;
    assert_eq!((status, &headers[header::CONTENT_TYPE] == "text/html; charset=utf-8"), (StatusCode::OK, true));
    for shown in
        ["Signature verified", "alice@corp", "Department = finance", "/.claviger/logout", "assumed-role/reports"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains(app.credentials.secret_access_key()));
}

#[tokio::test]
async fn objects_are_put_listed_fetched_and_deleted() {
    let app = App::start().await;
    let put = http::Request::put("/notes/a%20b/hello.txt").header("x-amz-meta-colour", "blue");
    let (status, headers, _) = app.send(app.signed(put.header(header::CONTENT_TYPE, "text/html"), "hello")).await;
    assert_eq!(status, StatusCode::OK);
    let etag = headers[header::ETAG].clone();

    let (status, headers, body) = app.send(app.signed(http::Request::get("/notes/a%20b/hello.txt"), "")).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "hello"));
    assert_eq!((&headers["x-amz-meta-colour"], &headers[header::ETAG]), (&HeaderValue::from_static("blue"), &etag));
    assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox")); // A11

    let (_, headers, body) = app.send(app.signed(http::Request::head("/notes/a%20b/hello.txt"), "")).await;
    assert_eq!((headers[header::CONTENT_LENGTH].to_str().unwrap(), body.as_str()), ("5", ""));

    let (_, _, list) = app.send(app.signed(http::Request::get("/notes?list-type=2&encoding-type=url"), "")).await;
    assert_eq!((element(&list, "Key"), element(&list, "Size")), ("a%20b/hello.txt", "5"));
    let page = http::Request::get("/notes/").header(header::ACCEPT, "text/html");
    let (_, _, page) = app.send(app.signed(page, "")).await;
    assert!(page.contains("href=\"/notes/a%20b/hello.txt\""), "{page}");

    let (status, _, answer) = app.send(app.signed(http::Request::delete("/notes"), "")).await;
    assert_eq!((status, element(&answer, "Code")), (StatusCode::CONFLICT, "BucketNotEmpty"));
    let (status, ..) = app.send(app.signed(http::Request::delete("/notes/a%20b/hello.txt"), "")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _, answer) = app.send(app.signed(http::Request::get("/notes/a%20b/hello.txt"), "")).await;
    assert_eq!((status, element(&answer, "Code")), (StatusCode::NOT_FOUND, "NoSuchKey"));
    assert_eq!(app.send(app.signed(http::Request::delete("/notes"), "")).await.0, StatusCode::NO_CONTENT);
    let (status, _, answer) = app.send(app.signed(http::Request::get("/notes"), "")).await;
    assert_eq!((status, element(&answer, "Code")), (StatusCode::NOT_FOUND, "NoSuchBucket"));
    assert_eq!(app.send(app.signed(http::Request::post("/notes"), "")).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn bodies_without_a_digest_are_taken_as_s3_takes_them() {
    let app = App::start().await;
    let put = |path: &str, body, payload| app.signed_as(&app.credentials, http::Request::put(path), body, payload);
    assert_eq!(app.send(put("/notes/plain", "hello", &Signed::Unsigned)).await.0, StatusCode::OK);
    let chunks = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    assert_eq!(app.send(put("/notes/chunks", chunks, &Signed::Chunked(ChunkMode::Unsigned))).await.0, StatusCode::OK);
    assert_eq!(app.send(app.signed(http::Request::get("/notes/chunks"), "")).await.2, "hello");
    let broken = app.send(put("/notes/chunks", "hello", &Signed::Chunked(ChunkMode::Unsigned))).await;
    assert_eq!(broken.0, StatusCode::BAD_REQUEST);

    let mut other = app.signed(http::Request::put("/notes/other"), "hello");
    *other.body_mut() = Bytes::from_static(b"jello");
    let (status, _, answer) = app.send(other).await;
    assert_eq!((status, element(&answer, "Code")), (StatusCode::BAD_REQUEST, "XAmzContentSHA256Mismatch"));
    assert_eq!(app.send(app.signed(http::Request::get("/notes/other"), "")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nobody_gets_in_without_a_signature() {
    let app = App::start().await;
    for path in ["/", "/whoami", "/notes", "/notes/x", "/NOT-A-PLACE", "/verdict"] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::POST] {
            let request = http::Request::builder().method(method).uri(path).header(header::HOST, "demo.example.com");
            let request = request.header("x-forwarded-user", "alice").header(header::ACCEPT, "text/html");
            app.forbidden(path, request.body(Bytes::new()).unwrap(), "AccessDenied").await;
        }
    }
}

/// A30: whatever is changed after signing.
#[tokio::test]
async fn a_changed_request_is_forbidden() {
    let app = App::start().await;
    let signed = || app.signed(http::Request::put("/notes/x?a=1").header("x-amz-meta-a", "1"), "hello");
    let line = signed().headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let (start, signature) = line.rsplit_once('=').unwrap();
    for at in 0..signature.len() {
        let other = if &signature[at..=at] == "0" { "1" } else { "0" };
        let forged = format!("{start}={}{other}{}", &signature[..at], &signature[at + 1..]);
        let mut request = signed();
        request.headers_mut().insert(header::AUTHORIZATION, forged.parse().unwrap());
        app.forbidden("signature", request, "SignatureDoesNotMatch").await;
    }
    for uri in ["/notes/y?a=1", "/notes/x?a=2", "/notes/x", "/notes/x?a=1&a=1", "/notes/./x?a=1"] {
        let mut request = signed();
        *request.uri_mut() = uri.parse().unwrap();
        app.forbidden(uri, request, "SignatureDoesNotMatch").await;
    }
    for (name, value) in [("x-amz-meta-a", "2"), ("host", "evil.example.com"), ("x-amz-meta-b", "1")] {
        let mut request = signed();
        request.headers_mut().insert(name, value.parse().unwrap());
        app.forbidden(name, request, "SignatureDoesNotMatch").await;
    }
    let mut request = signed();
    *request.method_mut() = Method::DELETE;
    app.forbidden("method", request, "SignatureDoesNotMatch").await;
}

/// A30, CVE-2026-40344, CVE-2026-41145: a real key and a forged signature, for each way to declare the body.
#[tokio::test]
async fn no_payload_mode_goes_around_the_signature() {
    let app = App::start().await;
    let digest = HexDigest::of(b"hello").as_str().to_owned();
    for mode in [
        digest.as_str(),
        UNSIGNED_PAYLOAD,
        STREAMING_UNSIGNED_PAYLOAD_TRAILER,
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
        "",
    ] {
        let mut request = app.signed(http::Request::put("/notes/x"), "other");
        request.headers_mut().insert(X_AMZ_CONTENT_SHA256, mode.parse().unwrap());
        *request.body_mut() = Bytes::from_static(b"hello");
        let (status, ..) = app.send(request).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{mode}");
    }
    assert_eq!(app.send(app.signed(http::Request::get("/notes/x"), "")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn keys_that_are_no_good_are_forbidden() {
    let app = App::start().await;
    let credentials = |id: &str, secret: &str, token: Option<&str>| {
        Credentials::new(id, secret, token.map(str::to_owned), None, "test")
    };
    let (id, secret) = (app.credentials.access_key_id(), app.credentials.secret_access_key());
    let token = app.credentials.session_token().unwrap();
    let payload = Signed::Hash(HexDigest::EMPTY);
    for (name, credentials, code) in [
        ("unknown key", credentials("AKIAIOSFODNN7UNKNOWN", secret, None), "InvalidAccessKeyId"),
        ("no token", credentials(id, secret, None), "InvalidToken"),
        ("a token cut short", credentials(id, secret, Some(&token[..token.len() - 1])), "InvalidToken"),
        ("another secret", credentials(id, "wrong", Some(token)), "SignatureDoesNotMatch"),
    ] {
        let request = app.signed_as(&credentials, http::Request::get("/"), "", &payload);
        app.forbidden(name, request, code).await;
    }
    let old = app.signed(http::Request::get("/"), "");
    app.site.clock.advance(Duration::from_secs(16 * 60));
    app.forbidden("signed 16 minutes ago", old, "RequestTimeTooSkewed").await;
    app.site.clock.advance(Duration::from_secs(44 * 60));
    app.forbidden("session over", app.signed(http::Request::get("/"), ""), "ExpiredToken").await;
}

#[tokio::test]
async fn what_cannot_be_judged_is_not_let_in() {
    let app = App::start().await;
    let clock = || Arc::clone(&app.site.clock) as Arc<dyn Clock>;
    // nobody listens at port 1 of loopback, and the other token may not ask
    for (authority, token) in [("http://127.0.0.1:1/", VERDICT_TOKEN), (app.site.url.as_str(), "wrong")] {
        let url = authority.parse().unwrap();
        let demo = Demo::new(&url, Secret::new(token), Arc::clone(&app.site.fetch), clock(), Vec::new());
        let request = app.signed(http::Request::get("/"), "").map(Body::full);
        assert_eq!(demo.handle(&connection(), request).await.status(), StatusCode::SERVICE_UNAVAILABLE, "{authority}");
    }
}

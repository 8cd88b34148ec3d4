//! What passes as it came, both ways.

use http::Method;

use crate::support::client::{self, headers, raw};
use crate::support::routes::{APP, PUBLIC};
use crate::support::wire::{Behind, Wire};
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[route.authorized]
host = "*"
path = "/authorized"
upstream = "{upstream}"
allow = "anyone"
pass_authorization = true

[route.renamed]
host = "*"
path = "/renamed"
upstream = "{upstream}"
allow = "anyone"
preserve_host = false

[route.api]
host = "*"
path = "/api"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]
cors_preflight = true
"#;

fn plan() -> Plan {
    Plan::with_routes(&[APP, PUBLIC, ROUTES].concat())
}

#[tokio::test]
async fn authorization_and_host_pass_as_the_route_says() {
    let world = plan().start().await;
    let sent = headers(&[("authorization", "Bearer mine"), ("host", "apps.test:81"), ("cookie", "a=1; b=2")]);
    let upstream = world.upstream_at.to_string();
    for (path, authorization, host) in [
        ("/public", vec![], "apps.test:81"),
        ("/authorized", vec!["Bearer mine"], "apps.test:81"),
        ("/renamed", vec![], &upstream),
    ] {
        assert_eq!(client::send(world.at, Method::GET, path, &sent, "").await.status, 200);
        let seen = world.upstream.last();
        assert_eq!((seen.all("authorization"), seen.all("host")), (authorization, vec![host]), "{path}");
        assert_eq!((seen.all("x-forwarded-host"), seen.all("cookie")), (vec!["apps.test:81"], vec!["a=1; b=2"]));
    }
    // CVE-2022-29226: a bearer token that nobody knows is no login
    assert_eq!(client::send(world.at, Method::GET, "/app", &sent, "").await.status, 401);
}

#[tokio::test]
async fn a_preflight_passes_only_where_the_route_says_so_and_with_nothing_on_it() {
    let world = plan().start().await;
    let alice = world.ticket("alice").await;
    let preflight = [("origin", "http://other.test"), ("access-control-request-method", "PUT")];
    let forged = [("x-forwarded-user", "admin"), ("x_forwarded_groups", "admin"), ("authorization", "Bearer x")];
    let before = world.upstream.seen().len();
    for (method, path, sent, status) in [
        (Method::OPTIONS, "/api/x", &preflight[..], 200),
        (Method::OPTIONS, "/app/x", &preflight, 401),
        (Method::OPTIONS, "/api/x", &preflight[..1], 401),
        (Method::OPTIONS, "/api/x", &preflight[1..], 401),
        (Method::OPTIONS, "/api/x", &[], 401),
        (Method::GET, "/api/x", &preflight, 401),
        (Method::PUT, "/api/x", &preflight, 401),
    ] {
        let mut sent = headers(sent);
        sent.extend(headers(&forged));
        assert_eq!(client::send(world.at, method.clone(), path, &sent, "").await.status, status, "{method} {path}");
    }
    // with a login too: a preflight is nobody's
    let mut sent = headers(&preflight);
    sent.extend(headers(&forged));
    sent.insert("cookie", alice.parse().unwrap());
    assert_eq!(client::send(world.at, Method::OPTIONS, "/api/x", &sent, "").await.status, 200);

    let seen = &world.upstream.seen()[before..];
    assert_eq!(seen.len(), 2);
    for seen in seen {
        for name in ["x-forwarded-user", "x-forwarded-groups", "x_forwarded_groups", "authorization", "cookie"] {
            assert_eq!(seen.all(name), [""; 0], "{name}");
        }
        assert_eq!((seen.all("origin"), seen.method.as_str()), (vec!["http://other.test"], "OPTIONS"));
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let upstream = Behind::new(async |mut wire: Wire| {
        let head = wire.head().await;
        assert!(head.contains("te: trailers\r\n"), "gRPC asks for it: {head}");
        wire.up_to(b"0\r\nx-sum: 1\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n2\r\nok\r\n0\r\n";
        wire.send(format!("{answer}grpc-status: 0\r\n\r\n")).await;
    })
    .await;
    let routes = format!("[route.public]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"anyone\"", upstream.url());
    let world = Plan::with_routes(&routes).start().await;
    let answer = chunked(&world, "/", "TE: trailers\r\nTrailer: x-sum\r\n", "x-sum: 1\r\n").await;
    assert!(answer.ends_with("\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n"), "{answer}");
}

/// Some servers merge trailers into the headers (RFC 9110 §6.5.1).
#[tokio::test]
async fn a1_trailers_cannot_say_what_only_we_say() {
    let world = plan().start().await;
    let alice = world.ticket("alice").await;
    let names = "X-Forwarded-User, x_forwarded_user, X-Forwarded-For, x.forwarded.for, Cookie, Authorization, X-Sum";
    let trailers: String = names.split(", ").map(|name| format!("{name}: admin\r\n")).collect();
    for announced in [format!("Trailer: {names}\r\n"), format!("Trailer: {}\r\n", names.replace(", ", "\r\nTrailer: "))]
    {
        let lines = format!("Cookie: {alice}\r\nTE: trailers\r\n{announced}");
        let answer = chunked(&world, "/app", &lines, &trailers).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.upstream.last();
        let came: Vec<&str> = seen.trailers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(
            (came, seen.all("trailer"), seen.all("x-forwarded-user")),
            (vec!["x-sum"], vec!["x-sum"], vec!["sub-alice"])
        );
    }
}

/// Answers without a body leave the connection in step, and their headers speak of the body there would be.
#[tokio::test]
async fn answers_without_a_body_pass_as_such() {
    let upstream = Behind::new(async |mut wire: Wire| {
        loop {
            let head = wire.head().await;
            let answer = match head.split(' ').next().unwrap() {
                "" => return,
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n",
                _ if head.contains("/204") => "HTTP/1.1 204 No Content\r\nETag: \"e\"\r\n\r\n",
                _ if head.contains("/304") => {
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"e\"\r\n\r\nok",
            };
            wire.send(answer).await;
        }
    })
    .await;
    let routes = format!("[route.public]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"anyone\"", upstream.url());
    let world = Plan::with_routes(&routes).start().await;
    let mut wire = Wire::to(world.at).await;
    for (request, status, length, body) in [
        ("HEAD /", "200", Some("1234"), 0),
        ("GET /204", "204", None, 0),
        ("GET /304", "304", Some("1234"), 0),
        ("GET /", "200", Some("2"), 2),
        ("HEAD /204", "200", Some("1234"), 0),
        ("OPTIONS /", "200", Some("2"), 2),
    ] {
        wire.send(format!("{request} HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
        let head = wire.head().await.to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status}")) && head.contains("etag: \"e\""), "{request}: {head}");
        let told = head.split("content-length: ").nth(1).map(|rest| rest.split('\r').next().unwrap());
        // a 304 may leave its length out (RFC 9110 §15.4.5), but not say another
        assert!(told == length || status == "304" && told.is_none(), "{request}: {head}");
        assert!(!head.contains("transfer-encoding"), "{request}: {head}");
        assert_eq!(wire.bytes(body).await.len(), body);
    }
}

/// Bodies stream: claviger never holds one, however large and however slowly it is read.
#[tokio::test]
async fn large_bodies_stream_both_ways() {
    const SIZE: usize = 32 << 20;
    let world = plan().start().await;
    let alice = world.ticket("alice").await;
    for path in ["/app", "/api"] {
        let sent = headers(&[("cookie", &alice)]);
        client::send(world.at, Method::GET, path, &sent, "").await;
        let before = peak_memory(world.claviger.id());

        let body: Vec<u8> = (0..SIZE).map(|n| n.to_le_bytes()[n % 3]).collect();
        let answer = client::send(world.at, Method::PUT, path, &sent, body.clone()).await;
        assert_eq!(answer.status, 200);
        assert!(world.upstream.last().body == body, "it arrives as it was sent");
        let answer = client::send(world.at, Method::GET, &format!("{path}?answer-bytes={SIZE}"), &sent, "").await;
        assert_eq!(answer.body.len(), SIZE);

        // one who asks and does not read: the upstream has to wait, whatever else goes on
        let mut slow = Wire::to(world.at).await;
        let lines = format!("Host: {}\r\nCookie: {alice}\r\nConnection: close\r\n", world.at);
        slow.send(format!("GET {path}?answer-bytes={SIZE} HTTP/1.1\r\n{lines}\r\n")).await;
        slow.head().await;
        for _ in 0..20 {
            assert_eq!(client::send(world.at, Method::GET, path, &sent, "").await.status, 200);
        }
        assert_eq!(slow.rest().await.len(), SIZE);
        let grown = peak_memory(world.claviger.id()).saturating_sub(before);
        assert!(grown < 8 << 10, "{path}: {grown} KiB more at the peak");
    }
}

/// The most memory that a process has had at once, in KiB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// A POST of two chunks with these trailers; the whole answer.
async fn chunked(world: &World, path: &str, lines: &str, trailers: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}", world.at);
    raw(world.at, format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n{trailers}\r\n")).await
}

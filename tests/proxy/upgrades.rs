//! Other protocols over a connection: a tunnel after the upstream's own 101, for as long as the login lasts (A4).

use http::Method;

use crate::reload::{edit, reload};
use crate::support::client::{self, raw};
use crate::support::wire::{Behind, Wire};
use crate::support::world::{Plan, World, until};

/// A public path and one that needs a login, on the same upstream.
fn routes(upstream: &Behind) -> String {
    format!(
        r#"
[route.public]
host = "*"
upstream = "{url}"
path = "/public"
allow = "anyone"

[route.app]
host = "*"
upstream = "{url}"
allow = "signed-in"
inject = {{ kind = "headers" }}
"#,
        url = upstream.url()
    )
}

/// Upgrades whoever asks for it and echoes then; answers anyone else, and `/stream` without an end.
async fn echoing() -> Behind {
    Behind::new(async |mut wire: Wire| {
        loop {
            let head = wire.head().await.to_lowercase();
            if head.is_empty() {
                return;
            }
            if head.contains("\r\nupgrade:") {
                wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n").await;
                wire.send("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello").await;
                loop {
                    let bytes = wire.some().await;
                    if bytes.is_empty() {
                        return;
                    }
                    wire.send(bytes).await;
                }
            }
            if head.starts_with("get /stream") {
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
            } else {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

/// CVE-2026-71324.
#[tokio::test]
async fn a4_connect_is_405_and_what_follows_it_is_nothing() {
    let upstream = echoing().await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    for target in ["a.test:443", "127.0.0.1:80", &upstream.at.to_string(), "/public", "*"] {
        let hidden = "GET /public HTTP/1.1\r\nHost: a.test\r\n\r\n";
        for more in [hidden, "\x16\x03\x01"] {
            let answer = raw(world.at, format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{more}")).await;
            let refused = answer.starts_with("HTTP/1.1 405") || answer.starts_with("HTTP/1.1 400");
            assert!(refused && answer.matches("HTTP/1.1").count() == 1, "{target}: {answer}");
        }
    }
    let answer = raw(world.at, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert_eq!(upstream.heads(), [""; 0]);
}

/// RUSTSEC-2026-0033: the upstream answers an upgrade with 200, and a second request follows it at once.
#[tokio::test]
async fn a4_what_is_pipelined_behind_a_refused_upgrade_is_judged_by_itself() {
    let upstream = Behind::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    let hidden = format!("GET /private HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.at);
    for protocol in ["websocket", "x", "h2c"] {
        let answer = raw(world.at, format!("{}{hidden}", ask(&world, "/public", "", protocol))).await;
        let statuses: Vec<&str> = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "401"], "{answer}");
    }
    assert!(upstream.heads().iter().all(|head| head.starts_with("GET /public ")), "{:?}", upstream.heads());
    assert_eq!(upstream.heads().len(), 3);
}

/// A tunnel that speaks HTTP would carry requests that nobody decided on (h2c smuggling).
#[tokio::test]
async fn a4_no_tunnel_speaks_http() {
    let upstream = echoing().await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    for protocol in ["h2c", "H2C", "h2", "websocket, h2c", "h2c,websocket", " h2c ", "HTTP/2.0", "TLS/1.2, HTTP/1.1"] {
        for connection in ["Upgrade", "Upgrade, HTTP2-Settings"] {
            let answer = raw(
                world.at,
                format!(
                    "GET /public HTTP/1.1\r\nHost: {}\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\
                     Connection: {connection}\r\nConnection: close\r\n\r\n",
                    world.at
                ),
            )
            .await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{protocol}: {answer}");
        }
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 16);
    let told = |head: &String| ["upgrade:", "http2-settings:", "connection:"].iter().any(|name| head.contains(name));
    assert!(!heads.iter().any(told), "{heads:?}");
}

/// An upgrade is a request like others first: it needs a login.
#[tokio::test]
async fn a4_an_upgrade_without_a_login_reaches_nothing() {
    let upstream = echoing().await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    let mut wire = Wire::to(world.at).await;
    wire.send(ask(&world, "/ws", "", "websocket")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 401"));
    assert_eq!(upstream.heads(), [""; 0]);
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_until_either_side_closes() {
    let upstream = echoing().await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    let alice = world.ticket("alice").await;
    let mut tunnel = open(&world, &alice).await;
    let heads = upstream.heads();
    let head = heads.last().unwrap();
    for line in
        ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "x-forwarded-user: sub-alice"]
    {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert!(!head.contains("claviger-"), "our ticket stays here (A28): {head}");
    for round in 0..32_u8 {
        let piece = vec![round; 32 * 1024];
        tunnel.send(&piece).await;
        assert!(tunnel.bytes(piece.len()).await == piece);
    }
    // what looks like a request in a tunnel is none
    tunnel.send("GET /private HTTP/1.1\r\n\r\n").await;
    assert_eq!(tunnel.head().await, "GET /private HTTP/1.1\r\n\r\n");
    assert_eq!(upstream.heads().len(), heads.len());

    // the upstream closes
    let closing = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbye").await;
    })
    .await;
    let world = Plan::with_routes(&routes(&closing)).start().await;
    let answer = raw(world.at, ask(&world, "/public", "", "x")).await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("\r\n\r\nbye"), "{answer}");
}

/// The end of a login is the end of what was opened with it, also of an answer that is still coming.
#[tokio::test]
async fn a_logout_cuts_what_is_open() {
    let upstream = echoing().await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    let mut alice = world.browser_of("alice").await;
    let (name, value) = alice.cookie("127.0.0.1", "claviger-").unwrap();
    let ticket = format!("{name}={value}");
    let tunnel = open(&world, &ticket).await;
    let stream = stream(&world, &ticket).await;
    let others = world.ticket("bob").await;
    let mut others = open(&world, &others).await;

    let page = alice.open("/.claviger/logout").await;
    alice.submit(&page, &[]).await;
    assert_eq!(tunnel.rest().await, "");
    let rest = stream.rest().await;
    assert!(!rest.contains("\r\n0\r\n"), "it must not look like the whole answer: {rest}");

    // CVE-2026-34454: and the ticket is worth nothing
    let asked = upstream.heads().len();
    let sent = client::headers(&[("cookie", &ticket)]);
    assert_eq!(client::send(world.at, Method::GET, "/", &sent, "").await.status, 401);
    assert_eq!(upstream.heads().len(), asked);
    others.send("still here").await;
    assert_eq!(others.bytes(10).await, b"still here");
}

/// Not only by a logout: a new login replaces the old one.
#[tokio::test]
async fn a_sessions_end_cuts_what_is_open() {
    let upstream = echoing().await;
    let world = Plan::with_routes(&routes(&upstream)).start().await;
    let mut bob = world.browser_of("bob").await;
    let (name, value) = bob.cookie("127.0.0.1", "claviger-").unwrap();
    let ticket = format!("{name}={value}");
    let (tunnel, stream) = (open(&world, &ticket).await, stream(&world, &ticket).await);

    let page = bob.open("/.claviger/login").await;
    if page.text().contains("<form") {
        bob.submit(&page, &[("username", "bob"), ("password", "password")]).await;
    }
    assert_ne!(bob.cookie("127.0.0.1", "claviger-").unwrap().1, value);
    assert_eq!(tunnel.rest().await, "");
    assert!(!stream.rest().await.contains("\r\n0\r\n"));
}

/// A14: nobody is vouched for there whose end would come some day.
#[tokio::test]
async fn a14_a_tunnel_on_which_nothing_goes_is_cut() {
    let upstream = echoing().await;
    let routes = routes(&upstream).replacen("allow =", "timeouts = { idle = \"300ms\" }\nallow =", 1);
    let world = Plan::with_routes(&routes).start().await;
    let (quiet, mut busy) = (open_at(&world, "/public", "").await, open_at(&world, "/public", "").await);
    let mut long = open(&world, &world.ticket("alice").await).await;
    let mut cut = std::pin::pin!(quiet.rest());
    let rest = loop {
        busy.send("x").await;
        tokio::select! {
            biased;
            rest = &mut cut => break rest,
            echo = busy.bytes(1) => assert_eq!(echo, b"x"),
        }
    };
    assert_eq!(rest, "");
    assert_eq!(busy.bytes(1).await, b"x", "something goes on it");
    long.send("y").await;
    assert_eq!(long.bytes(1).await, b"y", "another route grants more");
}

/// What is open has as much time as requests under way.
#[tokio::test]
async fn a_drain_lets_a_tunnel_go_on_and_cuts_it_at_its_end() {
    let upstream = echoing().await;
    let mut world = Plan::with_routes(&routes(&upstream)).start().await;
    edit(&world, "drain = \"10s\"", "drain = \"3s\"");
    reload(&world).await;
    let alice = world.ticket("alice").await;
    let mut tunnels = [open_at(&world, "/public", "").await, open(&world, &alice).await];
    world.claviger.terminate();
    let at = world.claviger.address("admin").await;
    let draining = async || client::send(at, Method::GET, "/readyz", &client::headers(&[]), "").await.status;
    until(draining, |status| *status == 503).await;
    for tunnel in &mut tunnels {
        tunnel.send("still here").await;
        assert_eq!(tunnel.bytes(10).await, b"still here");
    }
    for tunnel in tunnels {
        assert_eq!(tunnel.rest().await, "");
    }
    assert!(world.claviger.wait().success());
    let is_over = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|text| text.starts_with("the grace is over")) && event["connections"] == 2
    };
    world.claviger.event(is_over).await;
}

/// A request for another protocol.
fn ask(world: &World, path: &str, cookie: &str, protocol: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: {protocol}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        world.at
    )
}

/// A tunnel past its 101 and the upstream's first words.
async fn open(world: &World, cookie: &str) -> Wire {
    open_at(world, "/ws", cookie).await
}

async fn open_at(world: &World, path: &str, cookie: &str) -> Wire {
    let mut wire = Wire::to(world.at).await;
    wire.send(ask(world, path, cookie, "websocket")).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert_eq!(wire.bytes(5).await, b"hello");
    wire
}

/// An answer of which the first piece has come and the last never will.
async fn stream(world: &World, cookie: &str) -> Wire {
    let mut wire = Wire::to(world.at).await;
    wire.send(format!("GET /stream HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", world.at)).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(wire.up_to(b"hello\r\n").await, "5\r\nhello\r\n");
    wire
}

//! Ways round the proxy that somebody once found, each closed.

use http::Method;

use crate::support::client::{self, raw};
use crate::support::routes::{APP, PUBLIC};
use crate::support::wire::{Behind, Wire};
use crate::support::world::Plan;

const ROUTES: &str = r#"
[listen.trusting]
address = "127.0.0.1:0"
trusted_proxies = ["127.0.0.0/8"]

[route.crossed]
host = "*"
path = "/crossed"
upstream = "{upstream}"
allow = "signed-in"
cors_preflight = true

[route.inside]
host = "*"
path = "/inside"
upstream = "{upstream}"
allow = [{ who = "anyone", sources = ["127.0.0.0/8"] }]

[route.signed]
host = "*"
path = "/signed"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

fn plan(more: &str) -> Plan {
    Plan::with_routes(&[APP, PUBLIC, ROUTES, more].concat())
}

/// An address that can't be read is nobody's: the balancer's own network must not be what counts then.
#[tokio::test]
async fn a6_a_believed_peer_that_names_no_address_opens_nothing() {
    let world = plan("").start().await;
    let balanced = world.claviger.address("trusting").await;
    let ask = async |line: &[u8]| {
        let start = b"GET /inside HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Forwarded-For: ";
        raw(balanced, [&start[..], line, b"\r\n\r\n"].concat()).await
    };
    assert!(ask(b"127.0.0.9").await.starts_with("HTTP/1.1 200"));
    let seen = world.upstream.seen().len();
    for line in [&b"203.0.113.9, unknown"[..], b"\xe9", b"203.0.113.9\xa0", b"203.0.113.9\r\nX-Forwarded-For: \xe9"] {
        let answer = ask(line).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{line:?}: {answer}");
    }
    assert!(!ask(b"203.0.113.9").await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.upstream.seen().len(), seen);
}

/// What a balancer passes on unread is still the client's word.
#[tokio::test]
async fn a6_the_host_is_the_one_that_was_routed_by() {
    let world = plan("").start().await;
    let balanced = world.claviger.address("trusting").await;
    let sent =
        client::headers(&[("host", "a.test"), ("x-forwarded-host", "evil.test"), ("x-forwarded-for", "1.2.3.4")]);
    assert_eq!(client::send(balanced, Method::GET, "/public", &sent, "").await.status, 200);
    assert_eq!(world.upstream.last().all("x-forwarded-host"), ["a.test"]);
}

/// What is said behind a body is not overwritten by what we say before it.
#[tokio::test]
async fn a1_no_trailer_says_who_asks() {
    let world = plan("").start().await;
    let forged = [
        "X-Forwarded-User",
        "x_forwarded_user",
        "X.Forwarded.Groups",
        "X-Forwarded-For",
        "X-Real-IP",
        "Cookie",
        "Authorization",
        "X-Request-Id",
    ];
    let named = format!("Trailer: {}, X-Checksum\r\n", forged.join(", "));
    let lines: String = forged.iter().map(|name| format!("{name}: admin\r\n")).collect();
    for (announced, expected) in [(named.as_str(), vec!["x-checksum"]), ("", vec![])] {
        let answer = raw(
            world.at,
            format!(
                "POST /public HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{announced}\r\n\
                 2\r\nhi\r\n0\r\n{lines}X-Checksum: 1\r\n\r\n"
            ),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.upstream.last();
        assert_eq!(seen.body, b"hi");
        assert_eq!(seen.trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), expected);
        let told = seen.all("trailer").join(", ").to_lowercase();
        assert!(forged.iter().all(|name| !told.contains(&name.to_lowercase())), "{told}");
    }
}

/// A preflight needs no login, so it must be able to do nothing.
#[tokio::test]
async fn a4_a_preflight_opens_no_tunnel_and_brings_no_body() {
    let world = plan("").start().await;
    let answer = raw(
        world.at,
        "OPTIONS /crossed HTTP/1.1\r\nHost: a.test\r\nOrigin: http://b.test\r\nAccess-Control-Request-Method: PUT\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = world.upstream.last();
    assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("OPTIONS", &b""[..]));
    assert!(seen.all("upgrade").is_empty() && seen.all("connection").is_empty(), "{seen:?}");
}

/// The end of a login is the end of what is still being sent with it.
#[tokio::test]
async fn a_logout_cuts_uploads_and_waiting_requests() {
    let upstream = Behind::new(async |mut wire: Wire| {
        while !wire.head().await.contains("/wait") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        wire.rest().await;
    })
    .await;
    let world = Plan::with_routes(&[APP, PUBLIC].concat().replace("{upstream}", &upstream.url())).start().await;
    let mut alice = world.browser_of("alice").await;
    let (name, value) = alice.cookie("127.0.0.1", "claviger-").unwrap();
    let start = format!("/wait HTTP/1.1\r\nHost: {}\r\nCookie: {name}={value}\r\n", world.at);
    let mut upload = Wire::to(world.at).await;
    upload.send(format!("PUT {start}Content-Length: 1000000\r\n\r\nhi")).await;
    let mut waiting = Wire::to(world.at).await;
    waiting.send(format!("GET {start}\r\n")).await;
    upstream.until(|heads| heads.iter().filter(|head| head.contains("/wait")).count() == 2).await;
    let page = alice.open("/.claviger/logout").await;
    alice.submit(&page, &[]).await;
    for mut wire in [upload, waiting] {
        let answer = wire.head().await;
        assert!(answer.starts_with("HTTP/1.1 401") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

/// RFC 9111 §3.5 keeps shared caches off `Authorization`, not off cookies.
#[tokio::test]
async fn a12_what_is_one_persons_is_kept_by_no_shared_cache() {
    let upstream = Behind::answering("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 2\r\n\r\nok").await;
    let silent = Plan::with_routes(&[APP, PUBLIC].concat().replace("{upstream}", &upstream.url())).start().await;
    let own = client::headers(&[("cookie", &silent.ticket("alice").await)]);
    let private = client::send(silent.at, Method::GET, "/", &own, "").await;
    assert_eq!((private.header("cache-control"), private.header("etag")), ("private", "\"1\""));
    let public = client::send(silent.at, Method::GET, "/public", &client::headers(&[]), "").await;
    assert_eq!(public.header("cache-control"), "");

    let world = plan("").start().await; // whose upstream says `no-store`
    let own = client::headers(&[("cookie", &world.ticket("alice").await)]);
    let answer = client::send(world.at, Method::GET, "/", &own, "").await;
    assert_eq!(answer.header("cache-control"), "no-store", "the app's own word stays");
}

/// What is ours is ours in every spelling.
#[tokio::test]
async fn a5_our_own_paths_reach_no_upstream() {
    let all = "[route.all]\nhost = \"all.test\"\nupstream = \"{upstream}\"\nallow = \"anyone\"\n";
    let world = plan(all).start().await;
    let sent = client::headers(&[("host", "all.test")]);
    for path in ["/%2eclaviger/login", "/%2Eclaviger", "/.%63laviger/logout", "/%2e%63laviger/"] {
        let answer = client::send(world.at, Method::GET, path, &sent, "").await;
        assert!(answer.status == 404, "{path}: {}", answer.status);
    }
    assert!(world.upstream.seen().is_empty());
}

/// A ticket comes along with what sibling hosts ask for, and with anybody's links: neither may use the person's role.
#[tokio::test]
async fn a12_another_site_gets_nothing_signed() {
    let world = plan("").start().await;
    let ticket = world.ticket("alice").await;
    let ask = async |method: Method, path: &str, more: &[(&str, &str)]| {
        let before = world.upstream.seen().len();
        let sent = client::headers(&[&[("cookie", ticket.as_str())], more].concat());
        let answer = client::send(world.at, method, path, &sent, "").await;
        let reached = world.upstream.seen().len() > before;
        assert_eq!(reached, answer.status == 200, "{more:?}");
        if !reached {
            assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (403, &"cross_site".into()), "{more:?}");
        }
        reached
    };
    let (navigate, cors) = (("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors"));
    let no_cors = ("sec-fetch-mode", "no-cors");
    for site in ["cross-site", "same-site"] {
        let site = ("sec-fetch-site", site);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert!(!ask(method.clone(), "/signed", &[site, navigate]).await);
            assert!(!ask(method, "/signed", &[site, cors]).await);
        }
        assert!(!ask(Method::GET, "/signed", &[site, no_cors]).await);
        assert!(!ask(Method::GET, "/signed", &[site, ("sec-fetch-mode", "websocket")]).await);
        assert!(!ask(Method::GET, "/signed?Action=TerminateInstances", &[site, navigate]).await);
        assert!(ask(Method::GET, "/signed", &[site, navigate]).await, "the way back from a login");
        assert!(ask(Method::POST, "/", &[site, no_cors]).await, "no role, so the app's own affair");
    }
    assert!(!ask(Method::POST, "/signed", &[("origin", "http://evil.test")]).await);
    for own in [&[("sec-fetch-site", "same-origin"), cors][..], &[("sec-fetch-site", "none"), navigate], &[]] {
        assert!(ask(Method::POST, "/signed?Action=SendMessage", own).await);
    }
}

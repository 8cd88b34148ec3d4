//! Ways round the proxy that somebody once found, each closed.

use http::Method;

use crate::support::client::{self, raw};
use crate::support::world::Plan;

const ROUTES: &str = r#"
[listen.balanced]
address = "127.0.0.1:0"
trusted_proxies = ["127.0.0.0/8"]

[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "headers" }

[route.public]
host = "*"
path = "/public"
upstream = "{upstream}"
allow = "anyone"

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
role = "arn:aws:iam::123456789012:role/anyone"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// An address that can't be read is nobody's: the balancer's own network must not be what counts then.
#[tokio::test]
async fn a6_a_believed_peer_that_names_no_address_opens_nothing() {
    let world = Plan::with_routes(ROUTES).start().await;
    let balanced = world.claviger.address("balanced").await;
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
    let world = Plan::with_routes(ROUTES).start().await;
    let balanced = world.claviger.address("balanced").await;
    let sent =
        client::headers(&[("host", "a.test"), ("x-forwarded-host", "evil.test"), ("x-forwarded-for", "1.2.3.4")]);
    assert_eq!(client::send(balanced, Method::GET, "/public", &sent, "").await.status, 200);
    assert_eq!(world.upstream.last().all("x-forwarded-host"), ["a.test"]);
}

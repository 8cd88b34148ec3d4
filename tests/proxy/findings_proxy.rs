//! Ways round the proxy that somebody once found, each closed.

use crate::support::client::raw;
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

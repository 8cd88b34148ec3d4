//! Whatever clients say of who they are, the upstream hears it from us or not at all (A1, A2).

use claviger::proxy::CLAIMS;

use crate::support::client::{self, raw};
use crate::support::routes::{APP, PUBLIC};
use crate::support::upstream::Seen;
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[route.custom]
host = "*"
path = "/custom"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "headers", set = { X-Team = "{claims.department}", Remote-Groups = "{claims.groups}" } }

[route.greeting]
host = "*"
path = "/greeting"
upstream = "{upstream}"
allow = "anyone"
inject = { kind = "headers" }

[route.signed]
host = "*"
path = "/signed"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]
"#;

fn plan() -> Plan {
    Plan::with_routes(&[APP, PUBLIC, ROUTES].concat())
}

/// Every header that a route here vouches for.
const VOUCHED: [&str; 6] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Groups",
    "X-Team",
    "Remote-Groups",
];

/// What the upstream shall see of a header, by its name.
type Expected<'a> = &'a dyn Fn(&str) -> String;

/// CVE-2025-64484, CVE-2026-39858, CVE-2024-45614, CVE-2026-30851.
#[tokio::test]
async fn a1_the_upstream_sees_our_value_once_or_none() {
    let world = plan().start().await;
    let (alice, mallory) = (world.ticket("alice").await, world.ticket("mallory").await);
    let usual = |user: &'static str, groups: &'static str| {
        move |name: &str| match name {
            "X-Forwarded-User" => format!("sub-{user}"),
            "X-Forwarded-Email" => format!("{user}@example.com"),
            "X-Forwarded-Preferred-Username" => user.to_owned(),
            "X-Forwarded-Groups" => groups.to_owned(),
            _ => String::new(),
        }
    };
    let custom = |name: &str| match name {
        "X-Team" => "finance".to_owned(),
        "Remote-Groups" => "staff,finance".to_owned(),
        _ => String::new(),
    };
    let nothing = |_: &str| String::new();
    let cases: [(&str, &str, Expected<'_>); 9] = [
        ("/", &alice, &usual("alice", "staff,finance")),
        ("/", &mallory, &usual("mallory", "")), // no groups, so no header: the client's own must not fill the gap
        ("/custom", &alice, &custom),
        ("/custom", &mallory, &nothing),
        ("/public", &alice, &nothing),
        ("/public", "", &nothing),
        ("/greeting", &mallory, &usual("mallory", "")),
        ("/greeting", "", &nothing),
        ("/signed", &alice, &usual("alice", "staff,finance")),
    ];
    for (path, cookie, expected) in cases {
        for name in VOUCHED {
            let seen = forge(&world, path, cookie, name).await;
            let expected = Some(expected(name)).filter(|value| !value.is_empty());
            assert_eq!(as_any_server_reads(&seen, name), expected.into_iter().collect::<Vec<_>>(), "{name} at {path}");
        }
    }
}

/// The same for what a request says of itself (CVE-2026-40575, CVE-2026-54763, CVE-2016-5385).
#[tokio::test]
async fn a1_what_a_request_claims_of_itself_is_said_by_us_or_not_at_all() {
    let world = plan().start().await;
    for name in CLAIMS.iter().map(|name| name.as_str()) {
        let values = as_any_server_reads(&forge(&world, "/public", "", name).await, name);
        match name {
            "x-forwarded-for" => assert_eq!(values, ["127.0.0.1"]),
            "x-forwarded-proto" => assert_eq!(values, ["http"]),
            "x-forwarded-host" => assert_eq!(values, [world.at.to_string()]),
            "x-request-id" => assert!(values.len() == 1 && values[0] != FORGED, "{values:?}"),
            _ => assert_eq!(values, [""; 0], "{name}"),
        }
    }
}

/// CVE-2025-48865, GHSA-w9mr-28mw-j8hg.
#[tokio::test]
async fn a2_connection_cannot_take_away_what_we_set() {
    let world = plan().start().await;
    let alice = world.ticket("alice").await;
    let ours = "X-Forwarded-User, X-Forwarded-Email, X-Forwarded-Preferred-Username, X-Forwarded-Groups, \
                X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Request-Id, Host, Content-Length, \
                Authorization, X-Amz-Date, X-Amz-Security-Token, X-Amz-Content-Sha256";
    for connection in [format!("close, {ours}"), ours.to_lowercase(), format!("{ours}\r\nConnection: {ours}")] {
        let answer = raw(
            world.at,
            format!(
                "POST /signed HTTP/1.1\r\nHost: {}\r\nCookie: {alice}\r\nConnection: {connection}\r\n\
                 Connection: close\r\nContent-Length: 2\r\n\r\nhi",
                world.at
            ),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.upstream.last();
        for (name, value) in [
            ("x-forwarded-user", "sub-alice"),
            ("x-forwarded-email", "alice@example.com"),
            ("x-forwarded-groups", "staff,finance"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", &world.at.to_string()),
            ("host", &world.upstream_at.to_string()),
            ("content-length", "2"),
        ] {
            assert_eq!(seen.all(name), [value], "{name}");
        }
        assert_eq!((seen.all("connection"), seen.body.as_slice()), (vec![], &b"hi"[..]));
        assert_eq!(world.signer(&seen, "s3").await["subject"], "idp/sub-alice");
    }
}

/// RFC 9110 §7.6.1.
#[tokio::test]
async fn a2_hop_by_hop_headers_end_here() {
    let world = plan().start().await;
    let lines = "Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
                 Proxy-Authorization: Basic eDp5\r\nTE: gzip\r\nUpgrade: websocket\r\nX-Kept: 1\r\n";
    let target = "/public?answer-header=connection%3Dx-secret&answer-header=x-secret%3D1&answer-header=x-kept%3D2\
                  &answer-header=proxy-authenticate%3DBasic&answer-header=keep-alive%3Dtimeout%3D5";
    let answer = raw(world.at, format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", world.at)).await;
    let seen = world.upstream.last();
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(seen.all(name), [""; 0], "{name}");
    }
    assert_eq!(seen.all("x-kept"), ["1"]);
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("\r\nx-kept: 2\r\n"), "{answer}");
    for name in ["x-secret", "proxy-authenticate", "keep-alive"] {
        assert!(!answer.contains(&format!("\r\n{name}:")), "{answer}");
    }
}

/// Garbage where a ticket should be is no login, and lets nothing through (CVE-2026-25748).
#[tokio::test]
async fn a9_a_cookie_that_is_no_ticket_is_no_login() {
    let world = plan().start().await;
    let (name, value) = world.browser_of("alice").await.cookie("127.0.0.1", "claviger-").unwrap();
    let seen = world.upstream.seen().len();
    let long = "A".repeat(4000);
    for wrong in ["", "x", "%00", "\"\"", &value[1..], &value[..value.len() - 1], &format!("{value}A"), &long] {
        let sent = client::headers(&[("cookie", &format!("{name}={wrong}"))]);
        let answer = client::send(world.at, http::Method::GET, "/", &sent, "").await;
        assert_eq!(answer.status, 401, "{wrong}");
    }
    assert_eq!(world.upstream.seen().len(), seen);
}

/// Sends `name` in every spelling, each twice; what the upstream sees of it.
async fn forge(world: &World, path: &str, cookie: &str, name: &str) -> Seen {
    let spellings = [
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        name.replace('-', "_"),
        name.to_lowercase().replacen('-', "_", 1),
        name.replace('-', "."),
        name.replacen('-', ".", 1).replace('-', "_"),
    ];
    let lines: String = spellings.iter().map(|spelling| format!("{spelling}: {FORGED}\r\n").repeat(2)).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: app=1; {cookie}\r\n{lines}Connection: close\r\n\r\n",
        world.at
    );
    let answer = raw(world.at, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{name} at {path}: {answer}");
    world.upstream.last()
}

/// All values of a header for a server that takes `-`, `_` and `.` for the same.
fn as_any_server_reads(seen: &Seen, name: &str) -> Vec<String> {
    let folded = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    let same = seen.headers.iter().filter(|(found, _)| folded(found.as_str()) == folded(name));
    same.map(|(_, value)| value.to_str().unwrap().to_owned()).collect()
}

const FORGED: &str = "admin";

//! The path that is decided on is the path that goes on (A5).

use crate::support::client::raw;
use crate::support::hostile;
use crate::support::routes::{APP, PUBLIC};
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[route.rules]
host = "*"
path = "/rules"
upstream = "{upstream}"
allow = [{ who = "anyone", paths = ["/rules/open/*"] }, { groups = ["finance"] }]

[route.rewritten]
host = "*"
path = "/app"
strip_prefix = "/app"
add_prefix = "/base"
upstream = "{upstream}"
allow = [{ who = "anyone", paths = ["/app/open/*"] }, { groups = ["finance"] }]

[route.objects]
host = "*"
path = "/bucket"
upstream = "{upstream}"
allow = [{ who = "anyone", paths = ["/bucket/open/*"] }, { groups = ["finance"] }]
tolerate = ["empty-segment", "encoded-slash", "encoded-backslash", "encoded-hash", "double-encoding", "parameter"]
"#;

fn plan() -> Plan {
    Plan::with_routes(&[APP, PUBLIC, ROUTES].concat())
}

/// Beside those that [`hostile::PATHS`] has, in the same words.
const CASES: &[(&str, Result<&str, u16>)] = &[
    // rules by path see the same
    ("/rules/open/x", Ok("/rules/open/x")),
    ("/rules/%6fpen/x", Ok("/rules/open/x")),
    ("/rules/open", Err(401)),
    ("/rules/opener/x", Err(401)),
    ("/rules/open/../x", Err(400)),
    ("/rules/open%2fx", Err(400)),
    // and a rewrite works on what was decided on
    ("/app/open/x?y", Ok("/base/open/x?y")),
    ("/%61pp/op%65n/x%2dy", Ok("/base/open/x-y")),
    ("/app", Err(401)),
    ("/apple/open/x", Err(401)),
    ("/app/open/../../public", Err(400)),
    ("/app%2fopen/x", Err(400)),
    // an upstream that takes keys to the letter gets them to the letter, but nothing that climbs
    ("/bucket/open/a//b%2Fc;d%2525", Ok("/bucket/open/a//b%2Fc;d%2525")),
    ("/bucket/open/..%2f..%2fadmin", Err(400)),
    ("/bucket/open/..;/closed", Err(400)),
];

#[tokio::test]
async fn a5_the_upstream_sees_the_path_that_was_decided_on() {
    let world = plan().start().await;
    let mut passed = 0;
    for (target, expected) in hostile::PATHS.iter().chain(CASES) {
        for target in [(*target).to_owned(), format!("http://{}{target}", world.at)] {
            let (status, seen) = ask(&world, target.as_bytes(), passed).await;
            match expected {
                Ok(path) => {
                    assert_eq!((status, seen.as_deref()), (200, Some(*path)), "{target}");
                    passed += 1;
                }
                Err(refused) => assert_eq!((status, seen), (*refused, None), "{target}"),
            }
        }
    }
}

/// Bytes that are no text are no path.
#[tokio::test]
async fn a5_a_path_is_text() {
    let world = plan().start().await;
    for target in
        [&b"/public/\xff"[..], b"/public/\xc0\xae\xc0\xae/admin", b"/public/\x01", b"/public/a\tb", b"/public/\x7f"]
    {
        assert_eq!(ask(&world, target, 0).await, (400, None), "{target:?}");
    }
}

/// For those who are logged in the same holds: a path is theirs or not, however it is spelled.
#[tokio::test]
async fn a5_a_login_opens_no_other_spelling() {
    let world = plan().start().await;
    let bob = world.ticket("bob").await;
    let before = world.upstream.seen().len();
    for (target, status) in [
        ("/rules/open/x", 200),
        ("/rules/closed", 403),
        ("/%72ules/closed", 403),
        ("/rules/open/../closed", 400),
        ("/app/closed", 403),
        ("/app/open/%2e%2e/closed", 400),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: {}\r\nCookie: {bob}\r\nConnection: close\r\n\r\n", world.at);
        let answer = raw(world.at, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
    }
    assert_eq!(world.upstream.seen().len(), before + 1);
}

/// The status, and the target that arrived if one did after `before`.
async fn ask(world: &World, target: &[u8], before: usize) -> (u16, Option<String>) {
    let lines = format!(" HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.at);
    let answer = raw(world.at, [b"GET ", target, lines.as_bytes()].concat()).await;
    let status = answer.get(9..12).unwrap_or_else(|| panic!("no answer to {target:?}")).parse().unwrap();
    let seen = world.upstream.seen().into_iter().nth(before).map(|seen| seen.target);
    (status, seen)
}

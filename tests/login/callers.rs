//! Who is sent to log in, and who is told that a login is needed.

use http::{Method, StatusCode};

use crate::support::client;
use crate::support::world::Plan;

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"

[route.shared]
host = "*"
path = "/shared"
upstream = "{upstream}"
allow = "signed-in"
cors_preflight = true
"#;

const NAVIGATES: (&str, &str) = ("sec-fetch-mode", "navigate");
const DOCUMENT: (&str, &str) = ("sec-fetch-dest", "document");
const HTML: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

type Headers = &'static [(&'static str, &'static str)];

/// Fetch Metadata decides where there is any, then `Accept`.
#[tokio::test]
async fn a_navigation_is_redirected_and_everybody_else_gets_401() {
    let world = Plan::with_routes(ROUTES).start().await;
    let cases: [(&str, Headers, bool); 13] = [
        ("GET", &[NAVIGATES, DOCUMENT, HTML], true),
        ("GET", &[NAVIGATES, DOCUMENT], true),
        ("GET", &[HTML], true),
        ("HEAD", &[HTML], true),
        ("GET", &[], false),
        ("GET", &[("accept", "*/*")], false),
        ("GET", &[("accept", "application/json")], false),
        ("GET", &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), HTML], false),
        ("GET", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), HTML], false),
        ("GET", &[NAVIGATES, ("sec-fetch-dest", "iframe"), HTML], false),
        ("GET", &[NAVIGATES, DOCUMENT, ("sec-purpose", "prefetch"), HTML], false),
        ("POST", &[NAVIGATES, DOCUMENT, HTML], false),
        ("GET", &[("authorization", "Bearer garbage")], false),
    ];
    for (method, sent, redirected) in cases {
        let sent_headers = client::headers(sent);
        let answer = client::send(world.at, method.parse().unwrap(), "/page", &sent_headers, "").await;
        let set = answer.headers.contains_key("set-cookie");
        if redirected {
            assert_eq!((answer.status, set), (StatusCode::SEE_OTHER, true), "{method} {sent:?}");
            assert!(answer.location().starts_with(&format!("http://{}/authorize?", world.provider_at)));
            assert_eq!(answer.header("cache-control"), "no-store", "nobody keeps a redirect with a state");
        } else {
            // a cookie for each of a page's pictures would soon be too many
            assert_eq!((answer.status, set), (StatusCode::UNAUTHORIZED, false), "{method} {sent:?}");
            assert_eq!(answer.json()["error"], "login_required", "{method} {sent:?}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "RFC 9110 §11.6.1");
        }
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_cors_preflight_passes_only_where_the_route_says_so() {
    let world = Plan::with_routes(ROUTES).start().await;
    let preflight = [("origin", "https://other.example"), ("access-control-request-method", "PUT")];
    for (method, path, sent, status) in [
        (Method::OPTIONS, "/shared/x", &preflight[..], StatusCode::OK),
        (Method::OPTIONS, "/page", &preflight[..], StatusCode::UNAUTHORIZED),
        // what is no preflight needs a login there, too
        (Method::OPTIONS, "/shared/x", &preflight[..1], StatusCode::UNAUTHORIZED),
        (Method::OPTIONS, "/shared/x", &preflight[1..], StatusCode::UNAUTHORIZED),
        (Method::GET, "/shared/x", &preflight[..], StatusCode::UNAUTHORIZED),
        (Method::PUT, "/shared/x", &preflight[..], StatusCode::UNAUTHORIZED),
    ] {
        let answer = client::send(world.at, method.clone(), path, &client::headers(sent), "").await;
        assert_eq!(answer.status, status, "{method} {path} {sent:?}");
    }
    assert_eq!(world.upstream.seen().len(), 1);
}

/// A browser that logs in again and again without ever showing its ticket is told why.
#[tokio::test]
async fn a_login_that_goes_round_in_circles_is_explained() {
    let world = Plan::with_routes(ROUTES).start().await;
    let mut browser = world.browser_of("alice").await;
    let ticket = (world.host().to_owned(), world.ticket_name());
    let mut explained = None;
    for _ in 0..5 {
        browser.cookies.remove(&ticket);
        let answer = browser.open(&world.url("/")).await;
        if world.ticket_in(&browser, world.host()).is_none() {
            explained = Some(answer);
            break;
        }
    }
    let page = explained.expect("it does not go on for ever");
    assert!(page.text().contains("cookie"), "{}", page.text());
    assert_eq!(world.metric("claviger_logins_total{outcome=\"loop\"}").await, 1.0);
}

//! A11: what comes from outside is text on our pages, and nothing else.

use claviger::users::User;
use http::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::callback;
use crate::support::browser::Browser;
use crate::support::client::{self, Answer};
use crate::support::world::{Plan, person};

/// Breaks out of attributes, scripts, styles, titles, comments and URLs; with its marks so that any of them is found.
const POLYGLOT: &str = "jaVasCript:/*-/*`/*\\`/*'/*\"/**/(/* */oNcliCk=alert() )//</stYle/</titLe/</teXtarEa/</scRipt/--!>\
                        <sVg/oNloAd=alert()//><img src=x onerror=alert(1)>{{7*7}}${7*7}";

const ROUTES: &str = r#"
[route.app]
host = "127.0.0.1"
upstream = "{upstream}"
allow = "signed-in"

[route.role]
host = "127.0.0.1"
path = "/role"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// Nothing of the polyglot is markup, and nothing would run if it were.
fn is_harmless(answer: &Answer, what: &str) {
    let text = answer.text();
    for mark in ["<sVg", "<img", "</scRipt", "</stYle", "</titLe", "/*'/*\"", "\"/**/"] {
        assert!(!text.contains(mark), "{what}: {mark} in {text}");
    }
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
    assert!(!policy.contains("script-src") && answer.header("x-content-type-options") == "nosniff", "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert!(!text.contains("<script"), "{what}: our pages have no scripts");
}

#[tokio::test]
async fn a11_what_a_url_says_is_escaped() {
    let world = Plan::with_routes(ROUTES).start().await;
    let url = |path: &str, query: &[(&str, &str)]| Url::parse_with_params(&world.url(path), query).unwrap();
    for (what, url, status) in [
        ("error", url("/.claviger/callback", &[("error", POLYGLOT), ("state", "x")]), 400),
        ("state", url("/.claviger/callback", &[("code", "x"), ("state", POLYGLOT)]), 400),
        ("ask", url("/.claviger/login", &[("ask", POLYGLOT)]), 400),
        ("source", url("/.claviger/login", &[("ask", "x"), ("source", POLYGLOT)]), 400),
        ("code", url("/.claviger/enter", &[("code", POLYGLOT)]), 400),
        ("path", url(&format!("/.claviger/{POLYGLOT}"), &[]), 404),
    ] {
        let answer = Browser::default().step(url.as_str()).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        is_harmless(&answer, what);
    }
    // the provider's own words, in an answer that is ours to read
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/"), "alice").await;
    let refusal = super::with_query(&back, |pairs| {
        pairs.retain(|(name, _)| name != "code");
        pairs.push(("error".into(), POLYGLOT.into()));
        pairs.push(("error_description".into(), POLYGLOT.into()));
        pairs.push(("error_uri".into(), POLYGLOT.into()));
    });
    let answer = browser.step(refusal.as_str()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("The identity provider declined"), "{}", answer.text());
    is_harmless(&answer, "error_description");
    // a target is kept for later, and is a header then
    let to = url("/.claviger/login", &[("to", POLYGLOT)]);
    assert!(Browser::default().step(to.as_str()).await.status.is_redirection());
    // in JSON, nothing is sniffed
    let answer = client::send(world.at, Method::GET, "/.claviger/%3CsVg", &client::headers(&[]), "").await;
    assert_eq!(
        (answer.header("content-type"), answer.header("x-content-type-options")),
        ("application/json", "nosniff")
    );
}

#[tokio::test]
async fn a11_what_a_provider_says_of_a_person_is_escaped() {
    let hostile = User {
        display_name: Some(POLYGLOT.to_owned()),
        ..person("trudy", json!({ "groups": [POLYGLOT], "department": POLYGLOT }))
    };
    let world = Plan::with_routes(ROUTES).people([hostile]).start().await;
    let mut browser = world.browser_of("trudy").await;
    let page = browser.open(&world.url("/.claviger/logout")).await;
    assert!(page.text().contains("jaVasCript"), "the name is shown: {}", page.text());
    is_harmless(&page, "display name");
    // A20: and it makes no role
    let page = browser.open(&world.url("/role")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text());
    assert!(page.text().contains("jaVasCript"), "who is turned away reads their name: {}", page.text());
    is_harmless(&page, "department");
    let me = browser.fetch(Method::GET, &world.url("/.claviger/me"), &[], "").await;
    assert_eq!((me.header("content-type"), me.header("x-content-type-options")), ("application/json", "nosniff"));
    assert_eq!((&me.json()["name"], &me.json()["groups"]), (&json!(POLYGLOT), &json!([POLYGLOT])));
    assert_eq!(world.sts_calls(), 0);
}

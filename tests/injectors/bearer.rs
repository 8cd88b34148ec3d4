//! `bearer`: the provider's own token, never a stale one, and never somebody else's.

use std::collections::BTreeSet;
use std::time::Duration;

use claviger::provider::Lifetimes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::URL_SAFE_NO_PAD;
use crate::support::client;
use crate::support::world::{Plan, World, until};
use base64::Engine as _;

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "bearer" }

[route.id]
host = "*"
path = "/id"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "bearer", token = "id", header = "X-Id-Token" }

[route.public]
host = "*"
path = "/public"
upstream = "{upstream}"
allow = [{ who = "anyone", paths = ["/public/all"] }, { groups = ["staff"] }]
inject = { kind = "bearer" }
"#;

impl World {
    /// Whose access token it is, in the provider's words.
    pub async fn subject_of(&self, token: &str) -> String {
        let sent = client::headers(&[("authorization", &format!("Bearer {token}"))]);
        let answer = client::send(self.provider_at, Method::GET, "/userinfo", &sent, "").await;
        assert_eq!(answer.status, StatusCode::OK, "the token is not good: {}", answer.text());
        answer.json()["sub"].as_str().unwrap().to_owned()
    }
}

/// The token on the last request.
fn passed(world: &World) -> String {
    let seen = world.upstream.last();
    let [line] = seen.all("authorization")[..] else { panic!("{:?}", seen.headers) };
    line.strip_prefix("Bearer ").unwrap().to_owned()
}

/// Access tokens for so long.
fn plan(seconds: u64) -> Plan {
    let short = Duration::from_secs(seconds);
    Plan::with_routes(ROUTES).lifetimes(Lifetimes { access_token: short, id_token: short, ..Lifetimes::default() })
}

#[tokio::test]
async fn each_login_has_its_own_token_passed_on() {
    let world = Plan::with_routes(ROUTES).start().await;
    let mut tokens = BTreeSet::new();
    for name in ["alice", "bob", "alice"] {
        let ticket = world.ticket(name).await;
        let sent = client::headers(&[("cookie", &ticket), ("authorization", "Bearer forged")]);
        assert_eq!(client::send(world.at, Method::GET, "/x", &sent, "").await.status, StatusCode::OK);
        assert_eq!(world.subject_of(&passed(&world)).await, format!("sub-{name}"));
        tokens.insert(passed(&world));
    }
    assert_eq!(tokens.len(), 3);
    let log = world.log().await;
    assert!(tokens.iter().all(|token| log.iter().all(|line| !line.contains(token))), "no token is logged");

    // on a public path there is nobody's
    let sent = client::headers(&[("authorization", "Bearer forged")]);
    assert_eq!(client::send(world.at, Method::GET, "/public/all", &sent, "").await.status, StatusCode::OK);
    assert!(world.upstream.last().all("authorization").is_empty());
}

#[tokio::test]
async fn the_id_token_comes_by_opt_in_and_under_another_name_alone() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    let sent = client::headers(&[("cookie", &alice), ("x_id_token", "forged"), ("x-id-token", "forged")]);
    client::send(world.at, Method::GET, "/id", &sent, "").await;
    let seen = world.upstream.last();
    assert!(seen.all("x_id_token").is_empty() && seen.all("authorization").is_empty(), "{:?}", seen.headers);
    let [token] = seen.all("x-id-token")[..] else { panic!("{:?}", seen.headers) };
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("sub-alice"), &json!("claviger")), "{claims}");
}

/// Every token that comes through is good at that moment, however short they live.
#[tokio::test]
async fn what_has_ended_is_renewed_before_it_is_passed_on() {
    let world = plan(1).start().await;
    let alice = world.ticket("alice").await;
    let tokens = async || {
        assert_eq!(world.get("/x", &alice).await.status, StatusCode::OK);
        world.upstream.seen().iter().map(|seen| seen.all("authorization").concat()).collect::<BTreeSet<_>>()
    };
    until(tokens, |tokens| tokens.len() >= 4).await;
}

#[tokio::test]
async fn without_a_good_token_nothing_is_passed_on() {
    let world = plan(1).start().await;
    let alice = world.ticket("alice").await;
    world.get("/x", &alice).await;
    let last = passed(&world);
    world.idp.stop().await;
    let ask = async || world.get("/x", &alice).await;
    let answer = until(ask, |answer| answer.status != StatusCode::OK).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("token_unavailable"))
    );
    assert!(!answer.header("retry-after").is_empty());
    let passed_on = world.upstream.seen().len();
    for _ in 0..5 {
        assert_eq!(world.get("/x", &alice).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(world.upstream.seen().len(), passed_on);
    assert!(!last.is_empty());
    world.idp.start();
    until(async || world.get("/x", &alice).await, |answer| answer.status == StatusCode::OK).await;
    assert_ne!(passed(&world), last);
}

/// A provider may give no ID token at a refresh (OpenID Connect Core §12.2): then a new login brings one.
#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_asked_for_again() {
    let world = plan(1).no_id_token_on_refresh().start().await;
    let mut browser = world.browser_of("alice").await;
    let before = world.cookie(&browser);
    let out = until(async || world.get("/id", &before).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((out.status, &out.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("login_expired")));
    let answer = browser.open(&world.url("/id/again")).await;
    assert_eq!(
        (answer.status, browser.at.as_ref().unwrap().path()),
        (StatusCode::OK, "/id/again"),
        "{}",
        answer.text()
    );
    assert_ne!(world.cookie(&browser), before);
}

//! A8: an answer of the provider's counts once, in the browser that asked, and to the letter.

use std::time::Duration;

use claviger::provider::Lifetimes;
use http::{Method, StatusCode};

use super::{callback, refused, with_query};
use crate::support::browser::Browser;
use crate::support::routes::APP;
use crate::support::world::{Plan, World, until};

type Pairs = Vec<(String, String)>;

fn set(pairs: &mut Pairs, name: &str, value: &str) {
    pairs.iter_mut().filter(|(key, _)| key == name).for_each(|(_, old)| value.clone_into(old));
}

fn add(pairs: &mut Pairs, name: &str, value: &str) {
    pairs.push((name.to_owned(), value.to_owned()));
}

fn double(pairs: &mut Pairs, name: &str) {
    let found = pairs.iter().find(|(key, _)| key == name).unwrap().clone();
    pairs.push(found);
}

async fn nobody_is_logged_in(world: &World, browser: &mut Browser) {
    let me = browser.fetch(Method::GET, &world.url("/.claviger/me"), &[], "").await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a8_an_answer_that_was_changed_is_no_login() {
    let world = Plan::with_routes(APP).start().await;
    let begin = world.url("/.claviger/login?to=/after");
    type Change = fn(&mut Pairs);
    let changes: [(&str, Change); 14] = [
        ("no state", |p| p.retain(|(name, _)| name != "state")),
        ("an empty state", |p| set(p, "state", "")),
        ("another state", |p| set(p, "state", "AAAAAAAAAAAAAAAAAAAAAA")),
        ("two states", |p| double(p, "state")),
        ("no issuer, though it is announced", |p| p.retain(|(name, _)| name != "iss")),
        ("another issuer", |p| set(p, "iss", "https://evil.example")),
        ("an issuer that differs by a slash", |p| {
            let issuer = p.iter().find(|(name, _)| name == "iss").unwrap().1.clone();
            set(p, "iss", &format!("{issuer}/"));
        }),
        ("two issuers", |p| double(p, "iss")),
        ("no code", |p| p.retain(|(name, _)| name != "code")),
        ("two codes", |p| double(p, "code")),
        ("another code", |p| set(p, "code", "guessed")),
        ("an error beside the code", |p| add(p, "error", "access_denied")),
        ("an error in place of the code", |p| {
            p.retain(|(name, _)| name != "code");
            add(p, "error", "access_denied");
            add(p, "error_description", "The user said no.");
        }),
        ("nothing", Vec::clear),
    ];
    for (what, change) in changes {
        let mut browser = Browser::default();
        let back = callback(&mut browser, &begin, "alice").await;
        let answer = browser.step(with_query(&back, change).as_str()).await;
        eprintln!("{what}"); // shown where the next line fails
        refused(&world, &answer).await;
        nobody_is_logged_in(&world, &mut browser).await;
    }
    // what was refused above was refused for what was changed
    let mut browser = Browser::default();
    let back = callback(&mut browser, &begin, "alice").await;
    assert_eq!(browser.step(back.as_str()).await.location(), world.url("/after"));
    assert_eq!(world.metric("claviger_logins_total{outcome=\"done\"}").await, 1.0);
    assert_eq!(world.metric("claviger_logins_total{outcome=\"declined\"}").await, 2.0);
    assert_eq!(world.metric("claviger_logins_total{outcome=\"refused\"}").await, 12.0);
}

#[tokio::test]
async fn a8_an_answer_counts_once_and_in_its_own_browser() {
    let world = Plan::with_routes(APP).start().await;
    let (mut alice, mut mallory) = (Browser::default(), Browser::default());
    let back = callback(&mut alice, &world.url("/"), "alice").await;
    let hers = callback(&mut mallory, &world.url("/"), "mallory").await;

    // login CSRF: alice is led to mallory's answer, and stays who she is
    let answer = alice.step(hers.as_str()).await;
    refused(&world, &answer).await;
    nobody_is_logged_in(&world, &mut alice).await;
    let answer = Browser::default().step(back.as_str()).await;
    refused(&world, &answer).await;

    // the code of one login with the state of another, both alice's
    let mut two = alice.clone();
    let second = callback(&mut two, &world.url("/second"), "alice").await;
    let code = second.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let mixed = with_query(&back, |pairs| set(pairs, "code", &code));
    let answer = two.step(mixed.as_str()).await;
    refused(&world, &answer).await;
    nobody_is_logged_in(&world, &mut two).await;

    // that used up the state, so alice begins again; and then the same answer comes again
    let back = callback(&mut alice, &world.url("/third"), "alice").await;
    assert_eq!(alice.step(back.as_str()).await.location(), world.url("/third"));
    let before = alice.clone();
    let answer = alice.step(back.as_str()).await;
    refused(&world, &answer).await;
    let me = alice.fetch(Method::GET, &world.url("/.claviger/me"), &[], "").await;
    assert_eq!(me.json()["subject"], "sub-alice", "a replay costs nobody their session");
    assert_eq!(before.cookies, alice.cookies);
}

#[tokio::test]
async fn a8_a_code_that_has_expired_is_no_login() {
    let lifetimes = Lifetimes { code: Duration::ZERO, ..Lifetimes::default() };
    let world = Plan::with_routes(APP).lifetimes(lifetimes).start().await;
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/"), "alice").await;
    let answer = browser.step(back.as_str()).await;
    refused(&world, &answer).await;
    nobody_is_logged_in(&world, &mut browser).await;
}

#[tokio::test]
async fn a8_only_a_get_brings_an_answer() {
    let world = Plan::with_routes(APP).start().await;
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/"), "alice").await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = browser.fetch(method, back.as_str(), &[], "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    nobody_is_logged_in(&world, &mut browser).await;
}

/// The provider is down when the answer comes: that is nobody's fault, and loading the page again helps.
#[tokio::test]
async fn a_login_survives_a_provider_that_comes_back() {
    let world = Plan::with_routes(APP).start().await;
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/after"), "alice").await;
    world.idp.stop().await;
    let answer = browser.step(back.as_str()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().contains("Try again") && !answer.header("retry-after").is_empty(), "{}", answer.text());
    nobody_is_logged_in(&world, &mut browser).await;
    world.idp.start();
    let answer = until(async || browser.step(back.as_str()).await, |answer| answer.status.is_redirection()).await;
    assert_eq!(answer.location(), world.url("/after"));
}

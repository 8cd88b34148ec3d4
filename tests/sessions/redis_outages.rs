//! Redis is away, stalls, or has lost everything.

use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::redis::Two;
use crate::support::browser::Browser;
use crate::support::client;
use crate::support::redis::USER;
use crate::support::routes::APP;
use crate::support::world::until;

const OK: StatusCode = StatusCode::OK;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

async fn ready(two: &Two) -> String {
    let at = two.world.claviger.address("admin").await;
    client::send(at, Method::GET, "/readyz", &HeaderMap::new(), "").await.text().to_owned()
}

async fn out_of_step(two: &Two) {
    let message = "out of step with redis: sessions at hand go on, logins do not";
    two.world.claviger.event(|event| event["message"] == message).await;
}

async fn in_step(two: &Two) {
    for claviger in [&two.world.claviger, &two.other.claviger] {
        claviger.event(|event| event["message"] == "in step with redis again").await;
    }
}

/// Sessions at hand go on; whoever is not known here is not told that they are logged out; nobody new comes in.
#[tokio::test]
async fn without_redis_sessions_at_hand_go_on_and_nothing_else() {
    let Some(mut two) = Two::start(APP, "5m", |plan| plan).await else { return };
    let (alice, bob) = (two.world.ticket("alice").await, two.world.ticket("bob").await);
    assert_eq!(two.status(two.other.at, &alice).await, OK);
    two.redis.stop();
    out_of_step(&two).await;
    for at in two.both() {
        assert_eq!(two.status(at, &alice).await, OK);
    }
    let unknown = two.get(two.other.at, "/", &bob).await;
    assert_eq!(unknown.status, UNAVAILABLE, "{}", unknown.text());
    assert!(!unknown.headers.contains_key("set-cookie"), "the ticket may still be good");
    let nobody = two.get(two.other.at, "/", &format!("{}={}", two.world.ticket_name(), "A".repeat(43))).await;
    assert_eq!(nobody.status, UNAVAILABLE, "never fail-open");
    let login = two.world.log_in(&mut Browser::default(), &two.world.url("/"), "mallory").await;
    assert_eq!(login.status, UNAVAILABLE, "{}", login.text());
    assert!(ready(&two).await.contains("session: redis does not answer"));

    // it comes back with nothing in it: what was at hand is written anew
    two.redis.start_again().await;
    in_step(&two).await;
    assert!(!ready(&two).await.contains("redis"));
    for at in two.both() {
        for cookie in [&alice, &bob] {
            assert_eq!(two.status(at, cookie).await, OK, "nobody was logged out by it");
        }
    }
    two.world.ticket("mallory").await;
}

#[tokio::test]
async fn after_the_outage_nobody_is_let_in_until_redis_is_back() {
    let Some(mut two) = Two::start(APP, "1s", |plan| plan).await else { return };
    let alice = two.world.ticket("alice").await;
    two.redis.stop();
    until(async || two.status(two.world.at, &alice).await, |status| *status == UNAVAILABLE).await;
    two.redis.start_again().await;
    until(async || two.status(two.world.at, &alice).await, |status| *status == OK).await;
}

/// A logout that the others can't be told of says so, ends the session here, and comes true there as soon as it can.
#[tokio::test]
async fn a_logout_without_redis_is_told_later() {
    let Some(mut two) = Two::start(APP, "5m", |plan| plan).await else { return };
    let mut browser = two.world.browser_of("alice").await;
    let alice = two.world.cookie(&browser);
    assert_eq!(two.status(two.other.at, &alice).await, OK);
    let page = browser.open(&two.world.url("/.claviger/logout")).await;
    two.redis.stop();
    let answer = browser.step_form(&page, &[]).await;
    assert_eq!(answer.status, UNAVAILABLE, "{}", answer.text());
    assert_eq!(two.status(two.world.at, &alice).await, UNAVAILABLE, "not let in here any more");

    two.redis.start_again().await;
    in_step(&two).await;
    for at in two.both() {
        until(async || two.status(at, &alice).await, |status| *status == UNAUTHORIZED).await;
    }
}

/// A login in the place of another retires its ticket. What Redis can't be told of that is not done by halves: the ticket
/// opens nothing here from then on, and nothing elsewhere as soon as Redis hears of it.
#[tokio::test]
async fn a_ticket_that_was_retired_without_redis_stays_so() {
    let Some(two) = Two::start(APP, "5m", |plan| plan).await else { return };
    let mut browser = two.world.browser_of("alice").await;
    let before = two.world.cookie(&browser);
    for at in two.both() {
        assert_eq!(two.status(at, &before).await, OK);
    }
    // scripts are what tells Redis of ends; all else goes on
    two.redis.ask(&["ACL", "SETUSER", USER, "-eval"]);
    let login = browser.open(&two.world.url("/.claviger/login")).await;
    assert_eq!(login.status, UNAVAILABLE, "{}", login.text());
    assert_eq!(two.world.cookie(&browser), before, "the login was none");
    assert_eq!(two.status(two.world.at, &before).await, UNAUTHORIZED, "its browser has left it");
    two.redis.ask(&["ACL", "SETUSER", USER, "+eval"]);
    until(async || two.status(two.other.at, &before).await, |status| *status == UNAUTHORIZED).await;
    let left = two.redis.ask(&["KEYS", "claviger:session:*"]);
    assert_eq!(left.trim(), "", "neither the old session nor the one that nobody got");
}

/// A ticket that is one of several goes from every instance at hand, and the session goes on for the others.
#[tokio::test]
async fn a_retired_ticket_is_forgotten_on_the_other_instance_too() {
    let routes = APP.replace("\"*\"", "[\"apps.localhost\", \"wiki.localhost\"]");
    let Some(two) = Two::start(&routes, "5m", |plan| plan).await else { return };
    let mut browser = two.world.browser_of("alice").await;
    let apps = two.world.cookie(&browser);
    browser.open(&two.world.url_on("wiki.localhost", "/")).await;
    assert_eq!(two.status(two.other.at, &apps).await, OK, "it is at hand there");
    browser.open(&two.world.url("/.claviger/login")).await;
    assert_ne!(two.world.cookie(&browser), apps);
    assert_eq!(two.status(two.world.at, &apps).await, UNAUTHORIZED);
    until(async || two.status(two.other.at, &apps).await, |status| *status == UNAUTHORIZED).await;
    assert_eq!(browser.open(&two.world.url_on("wiki.localhost", "/")).await.status, OK);
}

/// A35: a Redis that takes connections and says nothing is no better than none, and holds up nobody for long.
#[tokio::test]
async fn a_redis_that_stalls_is_left_alone() {
    let Some(two) = Two::start(APP, "5m", |plan| plan).await else { return };
    let (alice, bob) = (two.world.ticket("alice").await, two.world.ticket("bob").await);
    assert_eq!(two.status(two.other.at, &alice).await, OK);
    two.redis.signal("-STOP");
    assert_eq!(two.status(two.other.at, &alice).await, OK);
    let unknown = until(async || two.status(two.other.at, &bob).await, |status| *status == UNAVAILABLE).await;
    assert_eq!(unknown, UNAVAILABLE);
    two.redis.signal("-CONT");
    until(async || two.status(two.other.at, &bob).await, |status| *status == OK).await;
}

#[tokio::test]
async fn what_redis_needs_is_said_by_key() {
    let Some(two) = Two::start(APP, "5m", |plan| plan).await else { return };
    let metric = two.world.metric("claviger_redis_up").await;
    assert!((metric - 1.0).abs() < f64::EPSILON);
    let started = two.world.claviger.event(|event| event["message"] == "connected to redis").await;
    assert_eq!(started["level"], json!("INFO"));
}

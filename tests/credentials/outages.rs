//! A35: an STS that does not answer. What there is goes on to its end, and not past it.

use std::time::Duration;

use http::StatusCode;

use super::{ENTRIES, signed};
use crate::support::world::until;

/// `2026-01-01T12:00:00Z` as `X-Amz-Date` has it.
fn compact(date: &str) -> String {
    date.replace(['-', ':'], "")
}

#[tokio::test]
async fn a35_the_last_good_credentials_serve_to_their_end_and_not_past_it() {
    let world = signed("").start().await;
    world.sts_tap.credentials_live(Duration::from_secs(3));
    let mut browser = world.browser_of("alice").await;
    let alice = world.cookie(&browser);
    world.sts.stop().await;

    // every answer is 200 until the first that is not
    let out = until(async || world.get("/", &alice).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!(
        (out.status, &out.json()["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"credentials_unavailable".into())
    );
    assert!((1..=60).contains(&out.header("retry-after").parse::<u64>().unwrap()), "{:?}", out.headers);
    let served = world.upstream.seen();
    assert!(served.len() > 1);
    // on a busy machine they may have been renewed before STS was away
    let last = world.sts_tap.said().pop().unwrap();
    let (_, rest) = last.answered.split_once("<Expiration>").unwrap();
    let ends = compact(rest.split_once('<').unwrap().0);
    assert!(served.iter().all(|seen| *seen.all("x-amz-date")[0] < *ends), "nothing is signed past {ends}");

    // a person gets a page, and is not sent to log in: that would not help
    let page = browser.open(&world.url("/page")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text().contains("This recovers by itself") && !page.header("retry-after").is_empty());
    assert_eq!(world.get("/open", &alice).await.status, StatusCode::OK, "what needs no credentials goes on");
    assert_eq!(world.upstream.seen().len(), served.len() + 1);

    world.sts_tap.credentials_live(Duration::from_secs(900));
    world.sts.start();
    until(async || world.get("/", &alice).await.status, |status| *status == StatusCode::OK).await;
}

/// Many ask while there is nothing to be had: that is no reason to ask STS as often.
#[tokio::test]
async fn a35_an_sts_that_is_down_is_not_asked_for_every_request() {
    let world = signed("").start().await;
    let alice = world.ticket("alice").await;
    let bob = world.cookie(&world.newcomer("bob").await);
    world.sts.stop().await;
    for _ in 0..50 {
        assert_eq!(world.get("/", &alice).await.status, StatusCode::OK, "alice has hers");
        assert_eq!(world.get("/", &bob).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let unavailable = "claviger_credentials_issued_total{provider=\"minted\",outcome=\"unavailable\"}";
    assert!(world.metric(unavailable).await <= 10.0, "{}", world.metric(unavailable).await);
    world.sts.start();
    until(async || world.get("/", &bob).await.status, |status| *status == StatusCode::OK).await;
}

/// The person logs out while STS takes its time: what comes then is for nobody.
#[tokio::test]
async fn what_is_issued_after_a_logout_is_not_used_and_not_kept() {
    let world = signed("").start().await;
    let mut browser = world.newcomer("alice").await;
    let alice = world.cookie(&browser);
    world.sts_tap.hold();
    let logout = async {
        world.sts_tap.until_asked(1).await;
        let page = browser.open(&world.url("/.claviger/logout")).await;
        browser.submit(&page, &[]).await;
        world.sts_tap.release();
    };
    let (answer, ()) = tokio::join!(world.get("/late", &alice), logout);
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
    assert!(world.upstream.seen().iter().all(|seen| seen.target != "/late"));
    // nobody waits for it any more, but it is answered
    world.sts_tap.until_said(1).await;
    assert_eq!(world.sts_calls(), 1);
    assert_eq!(world.metric(ENTRIES).await, 0.0);
}

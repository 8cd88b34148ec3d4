//! A provider that is not there, and comes back.

use http::StatusCode;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::routes::{APP, PUBLIC};
use crate::support::world::{Plan, until};

/// Everything is ready before the provider is, and nobody needs to restart anything.
#[tokio::test]
async fn a_provider_that_comes_late_is_waited_for() {
    let routes = format!(
        "{APP}{PUBLIC}[limits.rate]\nlogin = \"off\"" // this browser asks again and again
    );
    let world = Plan::with_routes(&routes).without_provider().start().await;
    let mut browser = Browser::default();
    let page = browser.open(&world.url("/")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    for said in ["Logging in is not possible now", "The identity provider does not answer", "Try again"] {
        assert!(page.text().contains(said), "{}", page.text());
    }
    assert!(page.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(page.text().contains(page.header("x-request-id")));
    assert!(browser.cookies.is_empty(), "no login has begun");

    // what needs no login works, who can't log in anyway is told so, and the load balancer goes on
    assert_eq!(world.get("/public", "").await.status, StatusCode::OK);
    assert_eq!(world.get("/", "").await.status, StatusCode::UNAUTHORIZED);
    let ready = world.admin("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    let degraded = ready.json()["degraded"].clone();
    assert!(degraded[0].as_str().unwrap().starts_with("identity.idp: "), "{degraded}");

    world.idp.start();
    let page = until(async || browser.open(&world.url("/late")).await, |page| page.status == StatusCode::OK).await;
    let answer = browser.submit(&page, &[("username", "alice"), ("password", "password")]).await;
    assert_eq!((answer.status, browser.at.as_ref().unwrap().path()), (StatusCode::OK, "/late"));
    assert_eq!(world.admin("/readyz").await.json(), json!({ "status": "ready", "degraded": [] }));
}

/// A provider that stops answering later shows as soon as it is missed, and is forgiven when it is back.
#[tokio::test]
async fn a_provider_that_goes_is_named_by_readyz() {
    let world = Plan::with_routes(APP).start().await;
    let mut browser = Browser::default();
    let back = super::callback(&mut browser, &world.url("/"), "alice").await;
    assert_eq!(world.admin("/readyz").await.json()["degraded"], json!([]));
    world.idp.stop().await;
    assert_eq!(browser.step(back.as_str()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let ready = world.admin("/readyz").await;
    let degraded = ready.json()["degraded"].clone();
    assert_eq!((ready.status, degraded.as_array().unwrap().len()), (StatusCode::OK, 1), "{degraded}");
    world.idp.start();
    until(async || browser.step(back.as_str()).await.status, |status| status.is_redirection()).await;
    assert_eq!(world.admin("/readyz").await.json()["degraded"], json!([]));
}

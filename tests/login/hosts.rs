//! One login for many hosts, each with a ticket of its own.

use http::{Method, StatusCode};
use url::Url;

use super::refused;
use crate::support::browser::Browser;
use crate::support::client;
use crate::support::world::{PASSWORD, Plan, World};

const HOSTS: &str = r#"
[route.apps]
host = ["a.localhost", "b.localhost"]
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "headers" }
"#;

async fn world() -> World {
    Plan::with_routes(HOSTS).public_host("login.localhost").start().await
}

async fn status_on(world: &World, browser: &mut Browser, host: &str) -> StatusCode {
    browser.fetch(Method::GET, &world.url_on(host, "/"), &[], "").await.status
}

/// Alice on her way to `url`, as far as the `enter` that would give her a ticket there.
async fn as_far_as_enter(browser: &mut Browser, url: &str) -> Url {
    let mut page = browser.open_until(url, "/.claviger/enter").await;
    if page.status == StatusCode::OK {
        page = browser.step_form(&page, &[("username", "alice"), ("password", PASSWORD)]).await;
        let next = page.location().to_owned();
        page = browser.open_until(&next, "/.claviger/enter").await;
    }
    Url::parse(page.location()).unwrap()
}

#[tokio::test]
async fn one_login_serves_all_hosts_and_a_logout_on_one_ends_it_on_all() {
    let world = world().await;
    let mut browser = Browser::default();
    let answer = world.log_in(&mut browser, &world.url_on("a.localhost", "/page?x=1"), "alice").await;
    assert_eq!(
        (answer.status, browser.at.as_ref().unwrap().as_str()),
        (StatusCode::OK, &*world.url_on("a.localhost", "/page?x=1"))
    );
    assert!(world.ticket_in(&browser, "b.localhost").is_none());

    // the second host asks for nothing
    let answer = browser.open(&world.url_on("b.localhost", "/other")).await;
    assert_eq!((answer.status, browser.at.as_ref().unwrap().path()), (StatusCode::OK, "/other"));
    assert_eq!(world.upstream.last().all("x-forwarded-user"), ["sub-alice"]);
    let tickets =
        ["a.localhost", "b.localhost", "login.localhost"].map(|host| world.ticket_in(&browser, host).unwrap());
    assert!(tickets[0] != tickets[1] && tickets[1] != tickets[2] && tickets[0] != tickets[2]);
    assert_eq!(world.audit().await.iter().filter(|line| line["message"] == "a person logged in").count(), 1);

    let page = browser.open(&world.url_on("b.localhost", "/.claviger/logout")).await;
    let page = browser.submit(&page, &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(browser.at.as_ref().unwrap().as_str(), world.url("/.claviger/signed-out"));
    for (host, ticket) in ["a.localhost", "b.localhost", "login.localhost"].into_iter().zip(tickets) {
        let sent = client::headers(&[
            ("host", &format!("{host}:{}", world.at.port())),
            ("cookie", &format!("{}={ticket}", world.ticket_name())),
        ]);
        let answer = client::send(world.at, Method::GET, "/.claviger/me", &sent, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{host}");
    }
    // and the provider asks again
    world.log_in(&mut browser, &world.url_on("a.localhost", "/"), "alice").await;
    assert_eq!(status_on(&world, &mut browser, "a.localhost").await, StatusCode::OK);
}

/// A8: the code that carries a login to another host is good once, there, and in the browser that asked there.
#[tokio::test]
async fn a8_an_enter_code_is_for_one_host_one_browser_and_one_time() {
    let world = world().await;
    let mut alice = Browser::default();
    let enter = as_far_as_enter(&mut alice, &world.url_on("a.localhost", "/page")).await;
    assert_eq!(enter.host_str(), Some("a.localhost"));

    // another browser: the code is used up by the attempt, too
    let answer = Browser::default().step(enter.as_str()).await;
    refused(&world, &answer).await;
    let answer = alice.step(enter.as_str()).await;
    refused(&world, &answer).await;

    // another host of ours
    let mut enter = as_far_as_enter(&mut alice, &world.url_on("a.localhost", "/page")).await;
    enter.set_host(Some("b.localhost")).unwrap();
    let answer = alice.step(enter.as_str()).await;
    refused(&world, &answer).await;

    // the right one, once
    let enter = as_far_as_enter(&mut alice, &world.url_on("a.localhost", "/page")).await;
    let answer = alice.step(enter.as_str()).await;
    assert_eq!(answer.location(), world.url_on("a.localhost", "/page"));
    let answer = alice.step(enter.as_str()).await;
    refused(&world, &answer).await;
    assert_eq!(status_on(&world, &mut alice, "a.localhost").await, StatusCode::OK, "a replay costs nothing");

    // changed and missing ones
    for query in ["", "?code=", "?code=guessed", "?code=a&code=b"] {
        let answer = alice.step(&world.url_on("a.localhost", &format!("/.claviger/enter{query}"))).await;
        refused(&world, &answer).await;
    }
}

/// A ticket of one host opens nothing on another; whoever takes it there is somebody who copied it.
#[tokio::test]
async fn hosts_that_are_not_ours_have_no_door() {
    let world = world().await;
    for path in ["/", "/.claviger/login", "/.claviger/me", "/.claviger/signed-out", "/.claviger/enter?code=x"] {
        for host in ["c.localhost", "evil.example", "login.localhost.evil.example", "xa.localhost"] {
            let answer = Browser::default().step(&world.url_on(host, path)).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{host}{path}");
            assert!(answer.location().is_empty());
        }
    }
    // the callback is where the provider knows it to be, and nowhere else
    let answer = Browser::default().step(&world.url_on("a.localhost", "/.claviger/callback?code=x&state=y")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// A6: redirect URIs and targets are made of the config, not of what a request says of itself.
#[tokio::test]
async fn a6_forwarded_headers_do_not_lead_a_login_elsewhere() {
    let world = world().await;
    let sent = client::headers(&[
        ("host", &format!("login.localhost:{}", world.at.port())),
        ("accept", "text/html"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/evil"),
        ("x-original-url", "/evil"),
        ("forwarded", "host=evil.example;proto=https"),
    ]);
    let answer = client::send(world.at, Method::GET, "/.claviger/login", &sent, "").await;
    let to = Url::parse(answer.location()).unwrap();
    let redirect_uri = to.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect_uri, world.url("/.claviger/callback"));
    // not the bare word, which may be in the state by chance
    assert!(!answer.location().contains("evil.example") && !answer.location().contains("%2Fevil"));
}

//! How much and how long a route grants.

use http::Method;

use crate::support::client::{self, headers, raw};
use crate::support::wire::{Behind, Wire};
use crate::support::world::Plan;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn route(upstream: &Behind, more: &str) -> String {
    format!("[route.app]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"anyone\"\n{more}", upstream.url())
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_413_and_reaches_nothing() {
    let upstream = Behind::answering(OK).await;
    let world = Plan::with_routes(&route(&upstream, "limits = { body = \"1KiB\" }")).start().await;
    for expects in ["", "Expect: 100-continue\r\n"] {
        let head = format!("PUT / HTTP/1.1\r\nHost: {}\r\n{expects}Content-Length: 1025\r\n\r\n", world.at);
        let answer = raw(world.at, head).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    }
    assert_eq!(upstream.heads(), [""; 0]);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_cut() {
    let upstream = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        // it never comes to the end of the body, so nothing that was cut looks whole
        let body = wire.rest().await;
        assert!(!body.contains("0\r\n\r\n"), "{body}");
    })
    .await;
    let world = Plan::with_routes(&route(&upstream, "limits = { body = 1000 }")).start().await;
    let head = format!("PUT / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", world.at);
    let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let answer = raw(world.at, format!("{head}{}0\r\n\r\n", chunk.repeat(3))).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");

    // up to the limit it passes
    let upstream = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        wire.up_to(b"0\r\n\r\n").await;
        wire.send(OK).await;
    })
    .await;
    let world = Plan::with_routes(&route(&upstream, "limits = { body = 1000 }")).start().await;
    let head = format!("PUT / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", world.at);
    let answer = raw(world.at, format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(2))).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_whole_exchange_has_its_time() {
    let upstream = Behind::new(async |mut wire: Wire| {
        if wire.head().await.starts_with("GET /silent") {
            wire.rest().await;
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut beat = tokio::time::interval(std::time::Duration::from_millis(1));
        loop {
            beat.tick().await;
            wire.send("1\r\nx\r\n").await;
        }
    })
    .await;
    let world = Plan::with_routes(&route(&upstream, "timeouts = { total = \"500ms\" }")).start().await;
    let answer = client::send(world.at, Method::GET, "/silent", &headers(&[]), "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (504, &"upstream_timeout".into()));
    let answer = raw(world.at, format!("GET /drip HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("0\r\n\r\n"), "{answer}");
}

/// A28: a redirect is the client's to follow.
#[tokio::test]
async fn a28_a_redirect_is_passed_on() {
    let elsewhere = Behind::answering(OK).await;
    let to = format!("HTTP/1.1 307 Away\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    let upstream = Behind::answering(&to).await;
    let world = Plan::with_routes(&route(&upstream, "")).start().await;
    let answer = client::send(world.at, Method::GET, "/", &headers(&[]), "").await;
    assert_eq!((answer.status.as_u16(), answer.location()), (307, format!("{}/x", elsewhere.url()).as_str()));
    assert_eq!((elsewhere.heads().len(), upstream.heads().len()), (0, 1));
}

//! `/livez`, `/readyz` and `/metrics`.

use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::plan;
use crate::support::client;
use crate::support::world::until;

#[tokio::test]
async fn a_claviger_that_serves_is_alive_and_ready() {
    let world = plan("").start().await;
    assert_eq!((world.admin("/livez").await.status, world.admin("/livez").await.text()), (StatusCode::OK, "alive\n"));
    let ready = world.admin("/readyz").await;
    assert_eq!((ready.status, ready.json()), (StatusCode::OK, json!({ "status": "ready", "degraded": [] })));
    // none of it is on the listener that people use
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(world.get(path, "").await.status, StatusCode::UNAUTHORIZED);
    }
    // CVE-2026-27589: nothing is done there, so a page in somebody's browser can't do it
    let admin = world.claviger.address("admin").await;
    let sent = client::headers(&[("origin", "https://evil.example"), ("content-type", "text/plain")]);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = client::send(admin, method, "/metrics", &sent, "x").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    }
}

/// A load balancer must hear it on new connections, as it makes one for each probe; what is under way goes on.
#[tokio::test]
async fn readyz_is_503_while_draining_and_what_is_under_way_finishes() {
    let mut world = plan("").start().await;
    let alice = world.ticket("alice").await;
    let mut upload = TcpStream::connect(world.at).await.unwrap();
    let head = format!("PUT /open HTTP/1.1\r\nhost: {}\r\ncookie: {alice}\r\ncontent-length: 6\r\n\r\nabc", world.at);
    upload.write_all(head.as_bytes()).await.unwrap();
    // the upload has begun when a request that came later has been answered: there is one worker
    world.get("/open", &alice).await;

    world.claviger.terminate();
    let draining = until(async || world.admin("/readyz").await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((draining.status, &draining.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("draining")));
    assert_eq!(world.admin("/livez").await.status, StatusCode::OK);
    until(async || TcpStream::connect(world.at).await.is_err(), |refused| *refused).await;

    upload.write_all(b"def").await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"body_length\":6"), "{answer}");
    assert!(world.claviger.wait().success());
}

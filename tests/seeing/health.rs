//! `/livez`, `/readyz` and `/metrics`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ROUTES;
use crate::support::client;
use crate::support::world::{Plan, until};

#[tokio::test]
async fn a_claviger_that_serves_is_alive_and_ready() {
    let world = Plan::with_routes(ROUTES).start().await;
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
    let mut world = Plan::with_routes(ROUTES).start().await;
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

/// Every metric that a room describes is there under that name, with what it means; so is each that the README names.
#[tokio::test]
async fn metrics_have_their_names_and_say_what_they_mean() {
    let world = Plan::with_routes(&format!("{ROUTES}\n{SERVICES}")).start().await;
    let alice = world.ticket("alice").await;
    world.get("/", &alice).await;
    let metrics =
        client::send(world.claviger.address("admin").await, Method::GET, "/metrics", &HeaderMap::new(), "").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let helped = |name: &str| metrics.text().contains(&format!("# HELP {name} "));
    let described = described(Path::new("src"));
    assert!(described.len() >= 10, "{described:?}");
    for name in described.iter().filter(|name| !ELSEWHERE.contains(&name.as_str())) {
        assert!(helped(name), "{name} is not there:\n{}", metrics.text());
    }
    let readme = fs::read_to_string("README.md").unwrap();
    for name in names(&readme) {
        assert!(described.contains(&name), "the README names {name}, which no room describes");
    }
    for line in metrics.text().lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(described.contains(name), "{line} is not described");
    }
}

/// Services that never come.
const SERVICES: &str = r#"
[identity.services]
kind = "bearer"
issuer = "https://idp.invalid"
audiences = ["claviger"]
"#;

/// Only there where something happened that does not happen here.
const ELSEWHERE: [&str; 2] = ["claviger_authority_calls_total", "claviger_session_renewals_total"];

/// The names that are given to `describe` in the sources.
fn described(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut described(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains(".describe(") {
                found.append(&mut names(&text));
            }
        }
    }
    found
}

/// Words of the form of our metrics' names.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| word.starts_with("claviger_") && word.len() > 9).map(str::to_owned).collect()
}

//! Nobody chooses for somebody else (A12), and nobody chooses what is not theirs.

use http::{Method, StatusCode};
use serde_json::Value;

use super::plan;
use crate::support::client;

#[tokio::test]
async fn a12_only_our_own_page_chooses() {
    let world = plan().start().await;
    let mut alice = world.newcomer("alice").await;
    let cookie = world.cookie(&alice);
    let choose = async |headers: &[(&str, &str)], method: Method| {
        let mut sent = client::headers(headers);
        sent.extend(client::headers(&[("cookie", &cookie)]));
        client::send(world.at, method, "/.claviger/roles?to=%2F&role=accountant", &sent, "").await
    };
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
        &[("sec-fetch-site", "same-site"), ("origin", "http://sibling.localhost")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
    ] {
        let answer = choose(headers, Method::POST).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{headers:?}: {}", answer.text());
    }
    // nor does a link
    assert_eq!(choose(&[], Method::GET).await.status, StatusCode::OK);
    let me = alice.open(&world.url("/.claviger/me")).await.json();
    assert_eq!(me["roles"]["console"]["chosen"], Value::Null);

    assert_eq!(choose(&[("origin", &world.origin)], Method::POST).await.status, StatusCode::SEE_OTHER);
    let me = alice.open(&world.url("/.claviger/me")).await.json();
    assert_eq!(me["roles"]["console"]["chosen"], "accountant");
}

#[tokio::test]
async fn the_page_gives_nobody_what_is_not_theirs() {
    let world = plan().start().await;
    let mut alice = world.newcomer("alice").await;
    let mut answers = Vec::new();
    for role in ["engineer", "no-such-role", ""] {
        let url = world.url(&format!("/.claviger/roles?to=%2F&role={role}"));
        let answer = alice.fetch(Method::POST, &url, &[], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{role}");
        answers.push(answer.json()["message"].clone());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let me = alice.open(&world.url("/.claviger/me")).await.json();
    assert_eq!(me["roles"]["console"]["chosen"], Value::Null);
    // A7: nor does it lead elsewhere
    let url = world.url("/.claviger/roles?to=https%3A%2F%2Fevil.example%2F&role=reader");
    let answer = alice.fetch(Method::POST, &url, &[], "").await;
    assert_eq!(answer.location(), world.url("/"));
}

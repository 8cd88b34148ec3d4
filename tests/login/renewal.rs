//! What the provider says of a person, as it changes while they are logged in.

use std::collections::HashSet;
use std::time::Duration;

use claviger::provider::Lifetimes;
use http::StatusCode;
use serde_json::json;

use crate::support::world::{Plan, World, until};

const FINANCE: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = { groups = ["finance"] }
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]
"#;

/// Tokens live for two seconds, sessions for hours.
async fn world() -> World {
    let short = Duration::from_secs(2);
    let lifetimes = Lifetimes { id_token: short, access_token: short, ..Lifetimes::default() };
    Plan::with_routes(FINANCE).lifetimes(lifetimes).start().await
}

/// CVE-2021-41230: claims of the last renewal decide, not those of the login.
#[tokio::test]
async fn a_group_that_is_taken_away_denies_at_the_next_renewal() {
    let world = world().await;
    let alice = world.ticket("alice").await;
    assert_eq!(world.get("/", &alice).await.status, StatusCode::OK);
    world.change("alice", |alice| alice.groups.retain(|group| group != "finance"));
    let denied = until(async || world.get("/", &alice).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((denied.status, &denied.json()["error"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
    let served = world.upstream.seen().len();
    assert_eq!(world.get("/", &alice).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.upstream.seen().len(), served);
    // she is still logged in, and what she is given counts the same way
    assert_eq!(world.get("/.claviger/me", &alice).await.json()["groups"], json!(["staff"]));
    world.change("alice", |_| ());
    until(async || world.get("/", &alice).await.status, |status| *status == StatusCode::OK).await;
}

/// A34, CVE-2026-43983: who is disabled at the provider is out at the next renewal, credentials and all.
#[tokio::test]
async fn a34_a_disabled_person_is_out_and_their_credentials_are_served_no_more() {
    let world = world().await;
    let alice = world.ticket("alice").await;
    assert_eq!((world.sts_calls(), world.metric("claviger_credentials_entries").await), (1, 1.0));
    world.change("alice", |alice| alice.disabled = true);
    let out = until(async || world.get("/", &alice).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((out.status, &out.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("login_required")));
    let line = world.claviger.event(|e| e["message"] == "a session ended").await;
    assert_eq!((&line["why"], &line["subject.id"]), (&json!("provider"), &json!("sub-alice")));
    assert_eq!((world.sts_calls(), world.metric("claviger_credentials_entries").await), (1, 0.0));
    // being let in again does not bring the session back
    world.change("alice", |_| ());
    assert_eq!(world.get("/", &alice).await.status, StatusCode::UNAUTHORIZED);
}

/// The provider gives a new refresh token each time, and ends the login when an old one comes again: so one request too
/// many would be seen.
#[tokio::test]
async fn many_requests_at_once_renew_once() {
    let world = world().await;
    let alice = world.ticket("alice").await;
    let refreshes = || {
        let said = world.idp_tap.said();
        let tokens = said.into_iter().filter(|said| said.asked.contains("grant_type=refresh_token"));
        tokens.map(|said| said.asked).collect::<Vec<_>>()
    };
    while refreshes().len() < 2 {
        let answers = futures_util::future::join_all((0..20).map(|_| world.get("/", &alice))).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    }
    let asked = refreshes();
    assert_eq!(asked.iter().collect::<HashSet<_>>().len(), asked.len(), "no refresh token is shown twice");
    assert_eq!(world.sts_calls(), 1, "renewed tokens are no reason for new credentials");
}

/// Sessions go on with what they have, and are renewed when the provider is back.
#[tokio::test]
async fn sessions_go_on_while_the_provider_is_down() {
    let world = world().await;
    let alice = world.ticket("alice").await;
    world.idp.stop().await;
    let went_on = "a session's tokens could not be renewed; it goes on with what it has";
    let failed = || world.claviger.log().iter().filter(|line| line.contains(went_on)).count();
    let asked = until(async || (world.get("/", &alice).await.status, failed()), |(_, failed)| *failed >= 2).await;
    assert_eq!(asked.0, StatusCode::OK);
    let statuses: HashSet<u64> = world
        .claviger
        .events()
        .iter()
        .filter(|e| e["target"] == "claviger::access" && e["path"] == "/" && !e["session.id"].is_null())
        .map(|e| e["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, HashSet::from([200]), "not one request failed");
    world.idp.start();
    let renewed = "claviger_session_renewals_total{outcome=\"renewed\"}";
    until(
        async || (world.get("/", &alice).await.status, world.metric(renewed).await),
        |(status, renewed)| *status == StatusCode::OK && *renewed >= 1.0,
    )
    .await;
}

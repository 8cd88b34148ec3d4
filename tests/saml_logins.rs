//! Logins at a SAML provider, over real sockets: in, as oneself, and nobody else.

use std::time::Duration;

use claviger::clock::rfc3339;
use http::StatusCode;
use serde_json::json;

mod attack_documents;
mod checked;
mod examples;
mod hosts;
mod instances;
mod logouts;
mod metadata;
mod our_provider;
mod own_roles;
mod parallel;
mod refusals;
mod unasked;

use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::saml_attacks::{ALICE, Attack, attacks};
use crate::support::saml_idp::{Waiting, asked, plan, this_second};
use crate::support::world::World;

/// A login in this browser, up to the provider.
async fn begun(world: &World, browser: &mut Browser, path: &str) -> Waiting {
    asked(&browser.step(&world.url(path)).await)
}

/// The document of that name from the table.
fn document(name: &str) -> Attack {
    attacks().into_iter().find(|attack| attack.name == name).unwrap_or_else(|| panic!("no document `{name}`"))
}

/// An honest Response: the assertion signed.
fn honest(waiting: &Waiting) -> Vec<u8> {
    document("control: the assertion signed").document(&waiting.stage())
}

/// The answer is the page that every refusal gets, names the request and gives no ticket. What it says beside that.
fn refused(world: &World, answer: &Answer) -> String {
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/html"), "{:?}", answer.headers);
    assert!(!id.is_empty() && answer.text().contains(&id), "the page names the request: {}", answer.text());
    let ticket = format!("{}=", world.ticket_name());
    let set = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    assert!(
        set.filter(|line| line.starts_with(&ticket)).all(|line| line.contains("Max-Age=0")),
        "{:?}",
        answer.headers
    );
    answer.text().replace(&id, "")
}

/// The one audit line of this answer: why.
async fn reason(world: &World, answer: &Answer) -> String {
    let id = answer.header("x-request-id");
    let lines: Vec<_> = world.audit().await.into_iter().filter(|line| line["request.id"] == *id).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Follows redirects at claviger until an answer is none.
async fn follow(browser: &mut Browser, mut answer: Answer) -> Answer {
    while answer.status.is_redirection() {
        answer = browser.step(answer.location()).await;
    }
    answer
}

#[tokio::test]
async fn a_login_leads_to_a_session_and_the_upstream_is_told_who_it_is() {
    let world = plan("").start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/reports/q3?draft=1").await;
    assert!(waiting.request.id.len() > 22, "128 bits and more: {}", waiting.request.id);
    assert_eq!(waiting.acs, world.url("/.claviger/saml/corp/acs"));

    let posted = waiting.post(&mut browser, honest(&waiting)).await;
    assert_eq!(posted.status, StatusCode::SEE_OTHER, "{}", posted.text());
    assert!(world.ticket_in(&browser, world.host()).is_none(), "not before the browser comes with all its cookies");
    let answer = follow(&mut browser, posted).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let seen = world.upstream.last();
    assert_eq!(seen.target, "/reports/q3?draft=1");
    assert_eq!(seen.all("x-forwarded-user"), [ALICE]);
    assert_eq!(seen.all("x-forwarded-email"), [ALICE]);
    assert_eq!(seen.all("x-forwarded-groups"), ["staff,wiki"]);

    let me = world.get("/.claviger/me", &world.cookie(&browser)).await.json();
    assert_eq!(
        (&me["source"], &me["subject"], &me["groups"]),
        (&json!("corp"), &json!(ALICE), &json!(["staff", "wiki"]))
    );
    assert!(me["until"].as_str().is_some_and(|until| *until < *rfc3339(this_second() + Duration::from_secs(3700))));
    let lines: Vec<_> =
        world.audit().await.into_iter().filter(|line| line["message"] == "a person logged in").collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(browser.with_posts.iter().all(|key| !browser.cookies.contains_key(key)), "the login's own cookie is gone");
}

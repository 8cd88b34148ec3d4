//! A person chooses on a page, once.

use http::StatusCode;
use serde_json::json;

use super::{form_for, plan};

#[tokio::test]
async fn a_person_chooses_once_and_comes_back_to_where_they_wanted_to_go() {
    let world = plan().start().await;
    let mut alice = world.newcomer("alice").await;
    let page = alice.open(&world.url("/bucket/key?x=%2f&y")).await;
    assert_eq!((page.status, alice.at.as_ref().unwrap().path()), (StatusCode::OK, "/.claviger/roles"));
    for text in ["reader", "Looks at everything", "accountant", "anyone", "finance", "123456789012", "ALICE"] {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    assert!(!page.text().contains("engineer"), "not what is others': {}", page.text());

    let there = alice.submit(&form_for(&page, "accountant"), &[]).await;
    assert_eq!(there.status, StatusCode::OK, "{}", there.text());
    assert_eq!(alice.at.as_ref().unwrap().as_str(), world.url("/bucket/key?x=%2f&y"));
    let (role, key) = world.last_role().await;
    assert!(role.ends_with(":role/finance"), "{role}");

    // it stays, for scripts too
    let again = alice.fetch(http::Method::PUT, &world.url("/bucket/other"), &[], "x").await;
    assert_eq!((again.status, world.last_role().await), (StatusCode::OK, (role.clone(), key.clone())));
    let me = alice.open(&world.url("/.claviger/me")).await.json();
    let expected =
        json!({"roles": ["reader", "accountant"], "chosen": "accountant", "change": "/.claviger/roles?to=%2F"});
    assert_eq!(me["roles"]["console"], expected);

    // and can be changed: another role, other keys
    let page = alice.open(me["roles"]["console"]["change"].as_str().unwrap()).await;
    assert!(page.text().contains("accountant (chosen)"), "{}", page.text());
    alice.submit(&form_for(&page, "reader"), &[]).await;
    assert_eq!(alice.at.as_ref().unwrap().path(), "/");
    let (other, other_key) = world.last_role().await;
    assert!(other.ends_with(":role/anyone") && other_key != key, "{other}");

    let lines = world.audit().await;
    let chosen = lines.iter().filter(|line| line["message"] == "a person chose a role");
    let chosen: Vec<_> = chosen.map(|line| (&line["route.name"], &line["role.name"])).collect();
    assert_eq!(chosen, [(&json!("console"), &json!("accountant")), (&json!("console"), &json!("reader"))]);
}

#[tokio::test]
async fn who_has_only_one_role_is_not_asked() {
    let world = plan().start().await;
    let mut bob = world.newcomer("bob").await;
    let answer = bob.open(&world.url("/bucket")).await;
    assert_eq!((answer.status, bob.at.as_ref().unwrap().path()), (StatusCode::OK, "/bucket"));
    assert!(world.last_role().await.0.ends_with(":role/anyone"));
    let me = bob.open(&world.url("/.claviger/me")).await.json();
    assert_eq!(me["roles"], json!({}));
}

#[tokio::test]
async fn each_login_chooses_for_itself() {
    let world = plan().start().await;
    for role in ["accountant", "reader"] {
        let mut alice = world.newcomer("alice").await;
        let page = alice.open(&world.url("/bucket")).await;
        assert_eq!(alice.at.as_ref().unwrap().path(), "/.claviger/roles");
        alice.submit(&form_for(&page, role), &[]).await;
        assert_eq!(alice.at.as_ref().unwrap().path(), "/bucket");
    }
}

/// A route without roles has no such page, nor has a place that nobody serves.
#[tokio::test]
async fn where_there_is_no_choice_there_is_no_page() {
    let world = plan().start().await;
    let mut alice = world.newcomer("alice").await;
    let answer = alice.open(&world.url("/.claviger/roles?to=%2Fopen")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

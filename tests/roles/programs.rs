//! A program names its role in a header, and is told where it must.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{form_for, offered, plan};
use crate::support::client;

const HEADER: &str = "x-claviger-role";

#[tokio::test]
async fn a_program_names_its_role_or_is_told_to() {
    let world = plan().start().await;
    let mut browser = world.newcomer("alice").await;
    let alice = world.cookie(&browser);
    let ask = async |role: &str| {
        let mut sent = client::headers(&[("cookie", &alice)]);
        if !role.is_empty() {
            sent.extend(client::headers(&[(HEADER, role), ("x_claviger_role", "engineer")]));
        }
        client::send(world.at, Method::GET, "/bucket", &sent, "").await
    };
    let answer = ask("").await;
    assert_eq!((answer.status, &answer.json()["error"]), (StatusCode::FORBIDDEN, &json!("role_wanted")));
    assert_eq!(offered(&answer), ["reader", "accountant"]);
    assert!(world.upstream.seen().iter().all(|seen| seen.target != "/bucket"), "nothing was sent");

    for (name, role) in [("accountant", ":role/finance"), ("reader", ":role/anyone")] {
        assert_eq!(ask(name).await.status, StatusCode::OK);
        assert!(world.last_role().await.0.ends_with(role));
        let seen = world.upstream.last();
        assert!(!seen.headers.keys().any(|name| name.as_str().contains("role")), "A1: {:?}", seen.headers);
    }
    // the header wins over the choice, and does not change it
    let page = browser.open(&world.url("/bucket")).await;
    browser.submit(&form_for(&page, "accountant"), &[]).await;
    assert_eq!(ask("reader").await.status, StatusCode::OK);
    assert!(world.last_role().await.0.ends_with(":role/anyone"));
    assert_eq!(ask("").await.status, StatusCode::OK);
    assert!(world.last_role().await.0.ends_with(":role/finance"));
}

#[tokio::test]
async fn a_role_that_is_not_theirs_is_answered_like_one_that_is_not_there() {
    let world = plan().start().await;
    let (alice, bob) = (world.newcomer("alice").await, world.newcomer("bob").await);
    for (browser, theirs) in [(&alice, &["reader", "accountant"][..]), (&bob, &["reader"])] {
        let mut answers = Vec::new();
        for name in ["engineer", "no-such-role", "READER", "reader ,x"] {
            let sent = client::headers(&[("cookie", &world.cookie(browser)), (HEADER, name)]);
            let answer = client::send(world.at, Method::GET, "/bucket", &sent, "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
            assert_eq!(offered(&answer), theirs);
            let mut said = answer.json();
            said["request_id"] = Value::Null;
            answers.push(said);
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
        assert_eq!(answers[0]["error"], "role_not_yours");
    }
    // A3: two names are none
    let sent = client::headers(&[("cookie", &world.cookie(&alice)), (HEADER, "reader"), (HEADER, "accountant")]);
    let answer = client::send(world.at, Method::GET, "/bucket", &sent, "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.sts_calls(), 0);
}

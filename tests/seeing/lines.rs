//! One access line a request, one audit line a credential, and no line that somebody else wrote.

use std::collections::BTreeSet;

use claviger::users::User;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::plan;
use crate::login::{callback, with_query};
use crate::support::client;
use crate::support::world::{World, person};

/// The access line of the request with this id.
async fn access(world: &World, id: &str) -> Value {
    world.claviger.event(|e| e["target"] == "claviger::access" && e["request.id"] == *id).await
}

#[tokio::test]
async fn every_request_has_one_access_line() {
    let world = plan("").start().await;
    let alice = world.ticket("alice").await;
    let always = [
        "timestamp",
        "level",
        "target",
        "request.id",
        "listener",
        "client",
        "method",
        "host",
        "path",
        "status",
        "trace.id",
    ];
    let always: BTreeSet<&str> = always.into_iter().chain(["duration_ms"]).collect();
    let someone = ["route.name", "subject.source", "subject.id", "session.id"];
    // lines come in order, so with this one all before it are there
    let mark = client::send(world.at, Method::GET, "/.claviger/nothing", &client::headers(&[]), "").await;
    access(&world, mark.header("x-request-id")).await;
    let before = world.claviger.events().iter().filter(|e| e["target"] == "claviger::access").count();
    let mut ids = BTreeSet::new();
    for (method, target, cookie, status, more) in [
        (Method::GET, "/open?code=canary", alice.as_str(), 200, &someone[..]),
        (Method::PUT, "/key%20with/space", &alice, 200, &someone),
        (Method::GET, "/open", "", 401, &["route.name", "fault"]),
        (Method::GET, "/finance", &world.ticket("bob").await, 403, &[&someone[..], &["fault"]].concat()),
        (Method::GET, "/.claviger/me", &alice, 200, &[]),
        (Method::GET, "/.claviger/nothing", "", 404, &["fault"]),
        (Method::DELETE, "/.claviger/me", "", 405, &["fault"]),
    ] {
        let sent = client::headers(&[("cookie", cookie)]);
        let answer = client::send(world.at, method.clone(), target, &sent, "").await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        // an answer of the upstream's has no id of ours; what it was sent has
        let id = match answer.header("x-request-id") {
            "" if status == 200 && !target.starts_with("/.claviger") => {
                world.upstream.last().all("x-request-id")[0].to_owned()
            }
            "" => continue,
            id => id.to_owned(),
        };
        let line = access(&world, &id).await;
        let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: BTreeSet<&str> = always.iter().copied().chain(more.iter().copied()).collect();
        assert_eq!(keys, expected, "{target}");
        assert_eq!((&line["method"], &line["status"]), (&json!(method.as_str()), &json!(status)));
        assert_eq!(line["path"], target.split('?').next().unwrap(), "the path without its query");
        assert_eq!((&line["listener"], &line["client"]), (&json!("main"), &json!("127.0.0.1")));
        assert!(line["duration_ms"].as_f64().unwrap() >= 0.0 && ids.insert(id), "{line}");
    }
    // as many lines as requests: bob's login was 4 of them, his first page included
    world.get("/open", "").await;
    let count = |events: &[Value]| events.iter().filter(|e| e["target"] == "claviger::access").count();
    let come = |count: usize| (count >= before + 11).then_some(count);
    assert_eq!(world.claviger.until(|claviger| come(count(&claviger.events()))).await, before + 11);
}

/// One line joins session, subject, role session, STS's request and the key that CloudTrail will show.
#[tokio::test]
async fn every_credential_has_one_audit_line_that_joins_all_sides() {
    let world = plan("").start().await;
    let alice = world.ticket("alice").await;
    for _ in 0..3 {
        assert_eq!(world.get("/", &alice).await.status, 200);
    }
    let issued: Vec<_> =
        world.audit().await.into_iter().filter(|l| l["message"] == "credentials were issued").collect();
    assert_eq!((issued.len(), world.sts_calls()), (1, 1));
    let line = &issued[0];

    let seen = world.upstream.last();
    let access = access(&world, seen.all("x-request-id")[0]).await;
    let login = world.claviger.event(|e| e["message"] == "a person logged in").await;
    for with in [&access, &login] {
        for key in ["session.id", "subject.source", "subject.id"] {
            assert_eq!(line[key], with[key], "{key}: {line} {with}");
            assert!(line[key].is_string());
        }
    }
    let signer = world.signer(&seen, "s3").await;
    assert_eq!((&line["role.session"], &line["access_key.id"]), (&signer["arn"], &signer["access_key_id"]));
    let said = world.sts_tap.said();
    let request_id = line["sts.request_id"].as_str().unwrap();
    assert!(said[0].answered.contains(&format!("<RequestId>{request_id}</RequestId>")), "{request_id}");
    assert!(said[0].answered.contains(&format!("<Expiration>{}</Expiration>", line["expires"].as_str().unwrap())));
    assert_eq!((&line["credentials.provider"], &line["cache"]), (&json!("minted"), &json!("miss")));
}

/// A36: what people, providers and clients name themselves is a value in a line, and never a line.
#[tokio::test]
async fn a36_nobody_writes_a_line_of_their_own() {
    const FORGED: &str = "x\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n\u{2028}\u{1b}[2J";
    let hostile = User {
        display_name: Some(FORGED.to_owned()),
        ..person("trudy", json!({ "groups": [FORGED], "department": FORGED }))
    };
    let world = plan("").log("trace").people([hostile]).start().await;
    let mut browser = world.newcomer("trudy").await;
    for path in ["/finance", "/staff", "/.claviger/logout"] {
        browser.open(&world.url(path)).await;
    }
    for name in ["error", "state", "code", "iss"] {
        let url = Url::parse_with_params(&world.url("/.claviger/callback"), [(name, FORGED)]).unwrap();
        browser.step(url.as_str()).await;
    }
    let back = callback(&mut browser, &world.url("/.claviger/login"), "trudy").await;
    let back = with_query(&back, |pairs| {
        pairs.retain(|(name, _)| name != "code");
        pairs.push(("error".into(), FORGED.into()));
    });
    browser.step(back.as_str()).await;
    for path in ["/%0a%7b%22forged%22%3a1%7d", "/open/%0d%0a", "/\u{7f}"] {
        let raw = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", world.at);
        client::raw(world.at, raw.as_bytes()).await;
    }
    let last = world.get("/.claviger/nothing", "").await;
    access(&world, last.header("x-request-id")).await;
    for line in world.claviger.log() {
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_ne!(event["message"], "forged", "{line}");
        assert!(!line.contains('\u{1b}') && event["target"].as_str().unwrap().starts_with("claviger"), "{line}");
    }
}

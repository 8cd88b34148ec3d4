//! A27: one call for however many requests of one grant, and nobody gets another's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claviger::users::User;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Method, StatusCode};
use serde_json::json;

use super::{MISSES, signed};
use crate::support::browser::Browser;
use crate::support::client;
use crate::support::process::allow_descriptors;
use crate::support::world::{World, person, until};

/// Somebody's ticket, before they have asked for anything that is signed.
async fn ticket(world: &World, name: &str) -> String {
    world.cookie(&world.newcomer(name).await)
}

/// The upstream has seen each of these subjects, each signed for with a key of their own.
async fn each_has_their_own_key(world: &World, subjects: HashSet<String>) {
    let seen: Vec<_> = world.upstream.seen().into_iter().filter(|seen| !seen.target.starts_with("/open")).collect();
    let mut keys: HashMap<String, String> = HashMap::new();
    for seen in &seen {
        let subject = seen.all("x-forwarded-user")[0];
        let signer = world.signer(seen, "s3").await;
        assert_eq!(signer["source_identity"], subject, "signed for {signer} in the name of {subject}");
        keys.insert(subject.to_owned(), signer["access_key_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(keys.keys().cloned().collect::<HashSet<_>>(), subjects);
    assert_eq!(keys.values().collect::<HashSet<_>>().len(), subjects.len(), "no key serves two");
}

#[tokio::test]
async fn a27_a_thousand_first_requests_of_one_person_cause_one_call() {
    allow_descriptors(8_192);
    let world = signed("").start().await;
    let sent = client::headers(&[("cookie", &ticket(&world, "alice").await)]);
    world.sts_tap.hold();
    let requests: Vec<_> = (0..THOUSAND)
        .map(|n| {
            let (at, sent) = (world.at, sent.clone());
            tokio::spawn(async move { client::send(at, Method::GET, &format!("/{n}"), &sent, "").await })
        })
        .collect();
    // all of them wait for the one call, which has no answer yet
    until(async || world.metric(MISSES).await, |misses| *misses >= THOUSAND as f64).await;
    world.sts_tap.release();
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    assert_eq!(world.sts_calls(), 1);
    each_has_their_own_key(&world, HashSet::from(["sub-alice".to_owned()])).await;
}

#[tokio::test]
async fn a27_a_thousand_people_cause_a_thousand_calls_and_get_their_own() {
    allow_descriptors(8_192);
    let names: Vec<String> = (0..THOUSAND).map(|n| format!("p{n}")).collect();
    let people = names.iter().map(|name| person(name, json!({})));
    // all of them from one address
    let plan = signed("[limits.rate]\nlogin = \"off\"\n");
    let world = Arc::new(plan.log("info").people(people).start().await);
    let tickets: Vec<String> = stream::iter(&names).map(|name| ticket(&world, name)).buffered(16).collect().await;
    assert_eq!(tickets.iter().collect::<HashSet<_>>().len(), THOUSAND);
    assert_eq!(world.sts_calls(), 0);

    let first = async |(name, ticket): (&String, &String)| world.get(&format!("/{name}"), ticket).await;
    for answer in join_all(names.iter().zip(&tickets).map(first)).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    // CVE-2026-33544: who logged in beside others is still who they are
    for seen in world.upstream.seen().iter().filter(|seen| !seen.target.starts_with("/open")) {
        assert_eq!(seen.all("x-forwarded-user"), [seen.target.replace('/', "sub-")]);
    }
    assert_eq!(world.sts_calls(), THOUSAND as u64);
    each_has_their_own_key(&world, names.iter().map(|name| format!("sub-{name}")).collect()).await;
}

/// A27: CVE-2026-33496. Names that are one text when they are put together are still two names.
#[tokio::test]
async fn a27_names_that_collide_when_joined_share_nothing() {
    let sources = r#"
[identity.a]
kind = "oidc"
issuer = "{provider}"
client_id = "claviger"

[identity.ab]
kind = "oidc"
issuer = "{provider}"
client_id = "claviger-too"
"#;
    let named = |name: &str, sub: &str| User { sub: sub.into(), ..person(name, json!({})) };
    let people = [named("first", "bcd"), named("second", "cd")];
    let world = signed(sources).people(people).start().await;
    for (name, source) in [("first", "a"), ("second", "ab")] {
        let mut browser = Browser::default();
        let page = browser.open(&world.url("/")).await;
        let links = page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut links = links.filter(|link| link.ends_with(&format!("source={source}")));
        let link = links.next().unwrap().replace("&#38;", "&");
        assert_eq!(world.log_in(&mut browser, &link, name).await.status, StatusCode::OK);
    }
    assert_eq!(world.sts_calls(), 2);
    each_has_their_own_key(&world, HashSet::from(["bcd".to_owned(), "cd".to_owned()])).await;
}

/// The grant is the whole key: another role, name or tag of the same person is another grant.
#[tokio::test]
async fn what_a_person_is_for_one_route_they_are_not_for_another() {
    let route = |name: &str, want: &str| {
        format!(
            "[route.{name}]\nhost = \"*\"\npath = \"/{name}\"\nupstream = \"{{upstream}}\"\ncredentials = \"minted\"\n\
             allow = \"signed-in\"\nrole = \"arn:aws:iam::123456789012:role/anyone\"\n{want}\n\
             inject = {{ kind = \"sigv4\", service = \"s3\", region = \"eu-west-1\" }}\n"
        )
    };
    let routes: String = [
        ("plain", ""),
        ("plain-too", ""),
        ("tagged", "tags = { department = \"finance\" }"),
        ("named", "session_name = \"{claims.preferred_username}-batch\""),
        ("longer", "duration = \"30m\""),
    ]
    .map(|(name, want)| route(name, want))
    .concat();
    let world = signed(&routes).start().await;
    let alice = ticket(&world, "alice").await;
    let mut calls = Vec::new();
    for path in ["/plain", "/plain-too", "/tagged", "/named", "/longer", "/plain"] {
        assert_eq!(world.get(path, &alice).await.status, StatusCode::OK, "{path}");
        calls.push(world.sts_calls());
    }
    assert_eq!(calls, [1, 1, 2, 3, 4, 4]);
}

const THOUSAND: usize = 1_000;

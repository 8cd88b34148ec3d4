//! A21: who vouches for a person is part of who they are.

use http::{Method, StatusCode};
use url::Url;

use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::world::{Plan, World};

const TWO_SOURCES: &str = r#"
[identity.too]
kind = "oidc"
label = "The <other> account"
issuer = "{provider}"
client_id = "claviger-too"

[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]

[route.first]
host = "*"
path = "/first"
upstream = "{upstream}"
identity = ["idp"]
allow = "signed-in"

[route.exact]
host = "*"
path = "/exact"
upstream = "{upstream}"
allow = { subjects = ["idp/sub-alice"] }
"#;

/// The chooser's links, in order.
fn choices(page: &Answer) -> Vec<String> {
    let links = page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"));
    links.filter(|link| link.contains("source=")).collect()
}

async fn log_in_at(world: &World, source: &str) -> Browser {
    let mut browser = Browser::default();
    let page = browser.open(&world.url("/")).await;
    let choices = choices(&page);
    let link = choices.iter().find(|link| link.ends_with(&format!("source={source}"))).unwrap();
    world.log_in(&mut browser, link, "alice").await;
    browser
}

#[tokio::test]
async fn the_chooser_offers_both_sources_and_only_those_that_count() {
    let world = Plan::with_routes(TWO_SOURCES).start().await;
    let mut browser = Browser::default();
    let page = browser.open(&world.url("/some/page")).await;
    assert_eq!((page.status, choices(&page).len()), (StatusCode::OK, 2), "{}", page.text());
    assert!(page.text().contains("The &#60;other&#62; account"), "{}", page.text());
    assert!(page.text().contains("name=\"viewport\""), "readable on a phone");
    // the choice leads to its own client, and back to what was asked for
    for (link, client) in choices(&page).iter().zip(["claviger", "claviger-too"]) {
        let to = Url::parse(browser.clone().step(link).await.location()).unwrap();
        assert!(to.query_pairs().any(|(name, value)| name == "client_id" && value == client), "{to}");
    }
    let answer = world.log_in(&mut browser, &choices(&page)[1], "alice").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(world.upstream.last().target, "/some/page");
    // a route that names one source does not ask, and takes no other's login
    let answer = browser.step(&world.url("/first")).await;
    let to = Url::parse(answer.location()).unwrap();
    assert!(to.query_pairs().any(|(name, value)| name == "client_id" && value == "claviger"), "{to}");
}

/// A21: the same `sub` and the same verified e-mail address, from two sources: two people.
#[tokio::test]
async fn a21_the_same_name_from_two_sources_is_two_people() {
    let world = Plan::with_routes(TWO_SOURCES).start().await;
    let (mut first, mut second) = (log_in_at(&world, "idp").await, log_in_at(&world, "too").await);
    let mut keys = Vec::new();
    for (browser, source) in [(&mut first, "idp"), (&mut second, "too")] {
        let me = browser.fetch(Method::GET, &world.url("/.claviger/me"), &[], "").await.json();
        assert_eq!((&me["source"], &me["subject"]), (&source.into(), &"sub-alice".into()));
        assert_eq!(me["email"], "alice@example.com");
        assert_eq!(browser.fetch(Method::GET, &world.url("/"), &[], "").await.status, StatusCode::OK);
        let signer = world.signer(&world.upstream.last(), "s3").await;
        assert_eq!(signer["subject"], format!("{source}/sub-alice"));
        keys.push(signer["access_key_id"].clone());
    }
    assert_ne!(keys[0], keys[1], "nothing is shared");
    assert_eq!(world.sts_calls(), 2);
    let status = async |browser: &mut Browser| browser.fetch(Method::GET, &world.url("/exact"), &[], "").await.status;
    assert_eq!(status(&mut first).await, StatusCode::OK);
    assert_eq!(status(&mut second).await, StatusCode::FORBIDDEN);
}

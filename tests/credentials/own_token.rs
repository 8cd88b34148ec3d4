//! `web_identity`: the person's own ID token is the proof, and it is a fresh one each time.

use std::collections::HashSet;
use std::time::Duration;

use claviger::provider::Lifetimes;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::routes::DIRECT;
use crate::support::world::{Plan, until};

/// ID tokens for two seconds.
fn plan() -> Plan {
    let short = Duration::from_secs(2);
    let lifetimes = Lifetimes { id_token: short, access_token: short, ..Lifetimes::default() };
    Plan::with_routes(DIRECT).lifetimes(lifetimes)
}

#[tokio::test]
async fn each_renewal_shows_a_token_of_its_own() {
    let world = plan().start().await;
    world.sts_tap.credentials_live(Duration::from_secs(3));
    let alice = world.ticket("alice").await;
    let signer = world.signer(&world.upstream.last(), "s3").await;
    assert_eq!(signer["subject"], "sub-alice");
    assert_eq!(
        signer["provider"],
        format!("arn:aws:iam::123456789012:oidc-provider/{}", world.provider_at),
        "the provider's own token, not one of ours"
    );
    let shown = async || {
        assert_eq!(world.get("/", &alice).await.status, StatusCode::OK);
        let said = world.sts_tap.said();
        let parameters = said.iter().flat_map(|said| form_urlencoded::parse(said.asked.as_bytes()));
        let tokens = parameters.filter(|(name, _)| name == "WebIdentityToken");
        tokens.map(|(_, token)| token.into_owned()).collect::<Vec<_>>()
    };
    let shown = until(shown, |shown| shown.len() >= 3).await;
    assert_eq!(shown.iter().collect::<HashSet<_>>().len(), shown.len());
}

/// A provider may give no ID token at a refresh (OpenID Connect Core §12.2): then a new login brings one.
#[tokio::test]
async fn a_proof_that_cannot_be_renewed_is_asked_for_again() {
    let world = plan().no_id_token_on_refresh().start().await;
    world.sts_tap.credentials_live(Duration::from_secs(3));
    let mut browser = world.browser_of("alice").await;
    let before = world.cookie(&browser);
    let out = until(async || world.get("/", &before).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((out.status, &out.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("login_expired")));
    // she is logged in all the same
    assert_eq!(world.get("/.claviger/me", &before).await.json()["subject"], "sub-alice");
    // a browser is sent to the provider, which knows her, and comes back with a new proof
    let answer = browser.open(&world.url("/again")).await;
    assert_eq!((answer.status, browser.at.as_ref().unwrap().path()), (StatusCode::OK, "/again"), "{}", answer.text());
    assert_ne!(world.cookie(&browser), before);
    assert_eq!(browser.fetch(Method::GET, &world.url("/"), &[], "").await.status, StatusCode::OK);
}

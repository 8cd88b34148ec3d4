//! The issuer's keys: changed, withdrawn, out of reach.

use http::StatusCode;
use serde_json::json;

use super::issuer::{Issuer, Key};
use super::{KNOWN, ask_with, fault};
use crate::support::world::until;

#[tokio::test]
async fn a_new_key_is_found_with_the_first_token_it_signs() {
    let issuer = Issuer::start();
    let world = issuer.world("", "").await;
    assert_eq!(ask_with(&world, "/", &issuer.token_of("batch")).await.status, StatusCode::OK);
    let next = Key::new();
    let token = next.sign(&json!({ "alg": "ES256", "kid": next.kid() }), &issuer.claims().to_string());
    issuer.publish(&[&next]);
    assert_eq!(ask_with(&world, "/", &token).await.status, StatusCode::OK);
    assert_eq!(issuer.fetched(), 2);
    // the old key is gone with that: what it signs now is nobody's
    assert_eq!(fault(&ask_with(&world, "/", &issuer.token_of("late")).await), "invalid_token");
}

/// A19: whoever can make tokens with any `kid` can make us fetch once in a cool-down.
#[tokio::test]
async fn a19_unknown_keys_cost_one_fetch() {
    let issuer = Issuer::start();
    let world = issuer.world("", "").await;
    for n in 0..50 {
        let header = json!({ "alg": "ES256", "kid": format!("random-{n}") });
        let token = Key::new().sign(&header, &issuer.claims().to_string());
        assert_eq!(fault(&ask_with(&world, "/", &token).await), "invalid_token");
    }
    assert_eq!(issuer.fetched(), 2, "the first, and one for all the unknown");
    assert_eq!(ask_with(&world, "/", &issuer.token_of("batch")).await.status, StatusCode::OK);
}

/// An issuer that is away is no fault of the token's: nobody gets in, and nobody is told to get a new one.
#[tokio::test]
async fn an_issuer_out_of_reach_is_503_until_it_is_back() {
    let issuer = Issuer::stopped();
    let world = issuer.world("", "").await;
    let answer = ask_with(&world, "/", &issuer.token_of("batch")).await;
    assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::SERVICE_UNAVAILABLE, "issuer_unavailable"));
    assert!(!answer.header("retry-after").is_empty() && answer.header("www-authenticate").is_empty());
    assert!(world.admin("/readyz").await.text().contains("identity.services"));
    issuer.side.start();
    let token = issuer.token_of("batch");
    until(async || ask_with(&world, "/", &token).await.status, |status| *status == StatusCode::OK).await;
    // once its keys are known, it may go again
    issuer.side.stop().await;
    assert_eq!(ask_with(&world, "/", &issuer.token_of("reports")).await.status, StatusCode::OK);
}

/// An issuer without a discovery document, whose name is no URL.
#[tokio::test]
async fn keys_may_be_at_a_url_of_their_own() {
    let issuer = Issuer::start();
    let plan = issuer.plan(&format!("jwks_uri = \"{}/keys\"", issuer.url), KNOWN);
    let world = plan.start().await;
    assert_eq!(ask_with(&world, "/", &issuer.token_of("batch")).await.status, StatusCode::OK);
    let source = format!(
        "[identity.legacy]\nkind = \"bearer\"\nissuer = \"kubernetes/serviceaccount\"\njwks_uri = \"{}/keys\"\n\
         audiences = [\"claviger\"]\n",
        issuer.url
    );
    let world = issuer.world("", &source).await;
    let mut claims = issuer.claims();
    claims["iss"] = json!("kubernetes/serviceaccount");
    assert_eq!(ask_with(&world, "/", &issuer.token(&claims)).await.status, StatusCode::OK);
    claims["iss"] = json!("kubernetes/serviceaccount/");
    assert_eq!(fault(&ask_with(&world, "/", &issuer.token(&claims)).await), "login_required");
}

//! What an upstream is given is good at no STS: it could else be that person at AWS.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{KEYS, kid};
use crate::support::client;
use crate::support::world::Plan;

/// As bad as it gets: with the audience that STS takes.
const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
inject = [
    { kind = "identity_jwt", audience = "sts.amazonaws.com" },
    { kind = "sigv4", service = "s3", region = "eu-west-1" },
]
"#;

#[tokio::test]
async fn identity_tokens_and_minted_ones_have_other_issuers_and_keys() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    assert_eq!(world.get("/x", &alice).await.status, StatusCode::OK);
    let seen = world.upstream.last();
    let token = seen.all("x-claviger-identity")[0];
    assert_eq!(world.signer(&seen, "s3").await["subject"], "idp/sub-alice", "and it is signed with the rest");

    let said = world.sts_tap.said();
    let asked = form_urlencoded::parse(said[0].asked.as_bytes());
    let minted = asked.into_owned().find(|(name, _)| name == "WebIdentityToken").unwrap().1;
    let (identity_keys, minted_keys) = (world.key_set(KEYS).await, world.key_set("/.claviger/issuer/jwks").await);
    assert!(identity_keys.has(&kid(token)) && minted_keys.has(&kid(&minted)));
    assert!(!minted_keys.has(&kid(token)) && !identity_keys.has(&kid(&minted)));
    let told = world.told("sts.amazonaws.com").await.unwrap();
    assert_ne!(told["iss"], Value::from(format!("{}/.claviger/issuer", world.origin)));

    let assume = async |token: &str| {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", "arn:aws:iam::123456789012:role/anyone")
            .append_pair("RoleSessionName", "alice")
            .append_pair("WebIdentityToken", token)
            .finish();
        let sent = client::headers(&[("content-type", "application/x-www-form-urlencoded")]);
        client::send(world.authority_at, Method::POST, "/", &sent, body).await
    };
    assert_eq!(assume(&minted).await.status, StatusCode::OK, "the minted one is");
    let refused = assume(token).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
    assert!(refused.text().contains("<Code>InvalidIdentityToken</Code>"), "{}", refused.text());
}

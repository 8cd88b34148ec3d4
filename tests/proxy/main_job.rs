//! What claviger exists for: a person logs in, and the request upstream is signed with their own credentials.

use http::Method;

use crate::support::client;
use crate::support::world::Plan;

const SIGNED: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]
"#;

#[tokio::test]
async fn a_person_logs_in_and_their_own_role_signs() {
    let world = Plan::with_routes(SIGNED).start().await;
    let mut alice = world.browser_of("alice").await;
    let answer = alice.open(&world.url("/reports/q3.csv?x=1")).await;
    assert_eq!(answer.status, 200);

    let seen = world.upstream.last();
    assert_eq!(seen.target, "/reports/q3.csv?x=1");
    assert_eq!(seen.all("x-forwarded-user"), ["sub-alice"]);
    assert_eq!(seen.all("host"), [world.upstream_at.to_string()]);
    assert!(seen.all("authorization")[0].contains("/eu-west-1/s3/aws4_request"), "{:?}", seen.headers);
    assert!(seen.headers.get("cookie").is_none(), "our ticket stays here (A28)");
    // the log is another stream: it may come after the answer
    let issued = world.claviger.event(|e| e["target"] == "claviger::audit" && e["access_key.id"].is_string()).await;
    assert_eq!(world.signer(&seen, "s3").await["access_key_id"], issued["access_key.id"]);
}

#[tokio::test]
async fn an_api_call_without_a_login_gets_401_and_reaches_nothing() {
    let world = Plan::with_routes(SIGNED).start().await;
    let answer =
        client::send(world.at, Method::GET, "/", &client::headers(&[("accept", "application/json")]), "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (401, Some("login_required")));
    assert!(world.upstream.seen().is_empty());
}

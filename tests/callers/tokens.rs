//! What a good token is good for.

use http::StatusCode;
use serde_json::json;

use super::issuer::{Issuer, now};
use super::{ask, ask_with, fault, seen};

const ROUTES: &str = r#"
[route.grouped]
host = "*"
path = "/grouped"
upstream = "{upstream}"
allow = { groups = ["services"], claims = { department = "finance" } }

[route.exact]
host = "*"
path = "/exact"
upstream = "{upstream}"
allow = { subjects = ["services/batch"] }

[route.passing]
host = "*"
path = "/passing"
upstream = "{upstream}"
allow = "anyone"
pass_authorization = true

[route.signed]
host = "*"
path = "/signed"
upstream = "{upstream}"
allow = "signed-in"
credentials = "minted"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
session_name = "{subject.id}"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1" }
"#;

#[tokio::test]
async fn a_service_is_let_in_and_named_to_the_upstream() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let token = issuer.token_of("batch");
    for scheme in ["Bearer", "bearer", "BEARER", "BeArEr  "] {
        let answer = ask(&world, "/x", &[("authorization", &format!("{scheme} {token}"))]).await;
        assert_eq!(answer.status, StatusCode::OK, "{scheme}: {}", answer.text());
        assert_eq!(seen(&world, "x-user").as_deref(), Some("services/batch"));
        assert_eq!(seen(&world, "x-department").as_deref(), Some("finance"));
        assert_eq!(seen(&world, "authorization"), None, "it goes no further");
    }
    let access = world.claviger.event(|e| e["target"] == "claviger::access" && e["subject.id"] == "batch").await;
    assert_eq!(access["subject.source"], "services");
    assert!(!world.claviger.log().iter().any(|line| line.contains(&token)), "no token is ever logged");
}

#[tokio::test]
async fn policies_hold_for_services_as_for_people() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let mut other = issuer.claims();
    other["groups"] = json!(["others"]);
    other["sub"] = json!("reports");
    let (batch, reports) = (issuer.token_of("batch"), issuer.token(&other));
    for (path, token, expected) in [
        ("/grouped", &batch, StatusCode::OK),
        ("/grouped", &reports, StatusCode::FORBIDDEN),
        ("/exact", &batch, StatusCode::OK),
        ("/exact", &reports, StatusCode::FORBIDDEN),
        // sources that don't count on the route are not asked: to it the token is another app's
        ("/people", &batch, StatusCode::UNAUTHORIZED),
    ] {
        let answer = ask_with(&world, path, token).await;
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
    }
    assert_eq!(fault(&ask_with(&world, "/people", &batch).await), "login_required");
}

/// RFC 6750 §2.2 and §2.3 are never read: a token there is in logs and histories.
#[tokio::test]
async fn a_token_anywhere_else_is_not_read() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let token = issuer.token_of("batch");
    let query = format!("/x?access_token={token}");
    for (path, headers) in [
        (query.as_str(), vec![]),
        ("/x", vec![("cookie", format!("access_token={token}"))]),
        ("/x", vec![("x-authorization", format!("Bearer {token}"))]),
        ("/x", vec![("proxy-authorization", format!("Bearer {token}"))]),
        ("/x", vec![("authorization", token.clone())]),
        ("/x", vec![("authorization", format!("Basic {token}"))]),
        ("/x", vec![("authorization", format!("DPoP {token}"))]),
        ("/x", vec![("x-amzn-oidc-accesstoken", token.clone())]),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = ask(&world, path, &headers).await;
        assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::UNAUTHORIZED, "login_required"));
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"claviger\"", "RFC 6750 §3");
    }
    assert!(world.upstream.seen().is_empty());
}

/// `Authorization` goes on where the route says so: an app's own tokens, and ours where the app wants to see them.
#[tokio::test]
async fn authorization_is_passed_on_only_where_the_route_says_so() {
    let issuer = Issuer::start();
    let routes = ROUTES.replace("path = \"/grouped\"", "path = \"/grouped\"\npass_authorization = true");
    let world = issuer.world("", &routes).await;
    let ours = format!("Bearer {}", issuer.token_of("batch"));
    for (path, authorization, status, passed) in [
        ("/passing", "Bearer an.apps.own", StatusCode::OK, true),
        ("/passing", "Basic YTpi", StatusCode::OK, true),
        ("/passing", &ours, StatusCode::OK, true),
        ("/grouped", &ours, StatusCode::OK, true),
        ("/exact", &ours, StatusCode::OK, false),
    ] {
        let answer = ask(&world, path, &[("authorization", authorization)]).await;
        assert_eq!(answer.status, status, "{path} {authorization}");
        assert_eq!(seen(&world, "authorization").as_deref(), passed.then_some(authorization), "{path}");
    }
}

/// A program is told, whatever it says it accepts; nobody's browser sends a bearer token with a navigation.
#[tokio::test]
async fn whoever_shows_a_token_is_not_sent_to_log_in() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let navigation =
        [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html,*/*;q=0.8")];
    let mut expired = issuer.claims();
    expired["exp"] = json!(now() - 3600);
    for (authorization, code) in [(issuer.token(&expired), "invalid_token"), ("an.apps.own".into(), "login_required")] {
        let authorization = format!("Bearer {authorization}");
        let mut headers = navigation.to_vec();
        headers.push(("authorization", &authorization));
        let answer = ask(&world, "/x", &headers).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::UNAUTHORIZED, ""), "{code}");
        assert!(answer.header("www-authenticate").starts_with("Bearer "));
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn what_a_token_must_say_is_configured() {
    let issuer = Issuer::start();
    let more = "types = [\"at+jwt\"]\nsubject_claim = \"client_id\"\ngroups_claim = \"realm.roles\"\n\
                claims = { azp = [\"batch\", \"reports\"], tier = \"gold\" }";
    let world = issuer.world(more, ROUTES).await;
    let good = || {
        let mut claims = issuer.claims();
        claims["client_id"] = json!("client-1");
        claims["tier"] = json!(["silver", "gold"]);
        claims["realm"] = json!({ "roles": ["services"] });
        claims["groups"] = json!(["admins"]);
        claims
    };
    let answer = ask_with(&world, "/grouped", &issuer.token(&good())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(ask_with(&world, "/x", &issuer.token(&good())).await.status, StatusCode::OK);
    assert_eq!(seen(&world, "x-user").as_deref(), Some("services/client-1"));
    for (name, value) in [
        ("client_id", json!("")),
        ("client_id", json!(["client-1"])),
        ("client_id", json!("a\nb")),
        ("client_id", json!("x".repeat(256))),
        ("azp", json!("stranger")),
        ("tier", json!("silver")),
        ("tier", json!(null)),
    ] {
        let mut claims = good();
        claims[name] = value;
        let answer = ask_with(&world, "/x", &issuer.token(&claims)).await;
        assert_eq!(fault(&answer), "invalid_token", "{name} {}", claims[name]);
    }
    let untyped = issuer.key.sign(&json!({ "alg": "ES256", "kid": issuer.key.kid() }), &good().to_string());
    assert_eq!(fault(&ask_with(&world, "/x", &untyped).await), "invalid_token");
}

/// A service holds a role as a person does: the token lives, and so do the credentials.
#[tokio::test]
async fn a_service_has_its_own_role() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let token = issuer.token_of("batch");
    for _ in 0..3 {
        let answer = ask_with(&world, "/signed", &token).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(seen(&world, "authorization").unwrap().starts_with("AWS4-HMAC-SHA256 "));
    }
    assert_eq!(world.sts_calls(), 1);
    // another token of the same service shares what is there; another service does not
    assert_eq!(ask_with(&world, "/signed", &issuer.token_of("batch")).await.status, StatusCode::OK);
    assert_eq!(world.sts_calls(), 1);
    assert_eq!(ask_with(&world, "/signed", &issuer.token_of("reports")).await.status, StatusCode::OK);
    assert_eq!(world.sts_calls(), 2);
    // another site's page can't make a browser send a bearer token, so nothing is asked of who shows one
    let shown = format!("Bearer {token}");
    let headers = [("authorization", shown.as_str()), ("sec-fetch-site", "cross-site"), ("origin", "https://a.test")];
    assert_eq!(ask(&world, "/signed", &headers).await.status, StatusCode::OK);
}

/// Where the token itself is shown to STS, it is the very one that the caller showed.
#[tokio::test]
async fn the_token_itself_is_shown_to_sts() {
    const DIRECT: &str = r#"
[identity.shown]
kind = "bearer"
issuer = "{provider}"
audiences = ["claviger"]

[route.direct]
host = "*"
path = "/direct"
upstream = "{upstream}"
allow = "signed-in"
identity = ["shown", "services"]
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1" }
"#;
    let issuer = Issuer::start();
    let world = issuer.world("", DIRECT).await;
    world.browser_of("alice").await;
    let token = world.idp_tap.said().iter().find_map(|said| {
        let answered: serde_json::Value = serde_json::from_str(&said.answered).ok()?;
        Some(answered.get("id_token")?.as_str()?.to_owned())
    });
    let token = token.expect("the provider gave an ID token");
    let answer = ask_with(&world, "/direct", &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(seen(&world, "authorization").unwrap().starts_with("AWS4-HMAC-SHA256 "));
    assert!(world.sts_tap.said().iter().any(|said| said.asked.contains(&token)));
    // this STS knows the issuer of people alone
    let answer = ask_with(&world, "/direct", &issuer.token_of("batch")).await;
    assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::FORBIDDEN, "role_refused"));
}

/// What was verified a moment ago is not verified again.
#[tokio::test]
async fn a_token_that_was_seen_costs_nothing_more() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let token = issuer.token_of("batch");
    for _ in 0..5 {
        assert_eq!(ask_with(&world, "/x", &token).await.status, StatusCode::OK);
    }
    let verified = "claviger_bearer_verifications_total{source=\"services\",outcome=\"verified\"}";
    assert_eq!(world.metric(verified).await, 1.0);
    assert_eq!(world.metric("claviger_bearer_lookups_total{source=\"services\",verdict=\"hit\"}").await, 4.0);
    assert_eq!(issuer.fetched(), 1);
}

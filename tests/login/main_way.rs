//! The way of most logins: in, as oneself, and out again.

use http::StatusCode;
use serde_json::json;

use crate::support::routes::APP;
use crate::support::world::{Plan, World, person, until};

const SIGNED: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}", team = "{claims.team}" }
source_identity = "{subject.id}"
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]
"#;

async fn world() -> World {
    let people = [
        person("carol", json!({ "groups": ["finance"], "department": "finance", "team": "audit" })),
        person("dave", json!({ "groups": [], "department": "engineering", "team": "build" })),
    ];
    Plan::with_routes(SIGNED).people(people).start().await
}

#[tokio::test]
async fn each_request_is_signed_with_the_persons_own_role_tags_and_source_identity() {
    let world = world().await;
    for (name, department, team) in [("carol", "finance", "audit"), ("dave", "engineering", "build")] {
        let mut browser = world.browser_of(name).await;
        let answer = browser.open(&world.url("/reports/q3?draft=1")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let seen = world.upstream.last();
        let (subject, email) = (format!("sub-{name}"), format!("{name}@example.com"));
        assert_eq!(seen.target, "/reports/q3?draft=1");
        assert_eq!(seen.all("x-forwarded-user"), [subject.as_str()]);
        assert_eq!(seen.all("x-forwarded-email"), [email.as_str()]);

        let signer = world.signer(&seen, "s3").await;
        assert_eq!(signer["role"], format!("arn:aws:iam::123456789012:role/{department}"));
        assert_eq!(signer["tags"], json!({ "department": department, "team": team }));
        assert_eq!(signer["source_identity"], subject);
        assert_eq!(signer["subject"], format!("idp/{subject}"));
    }
    assert_eq!(world.sts_calls(), 2);
}

#[tokio::test]
async fn me_says_who_is_logged_in_and_holds_no_token() {
    let world = world().await;
    let carol = world.ticket("carol").await;
    let me = world.get("/.claviger/me", &carol).await;
    assert_eq!((me.status, me.header("cache-control")), (StatusCode::OK, "no-store"));
    let (me, text) = (me.json(), me.text().to_owned());
    assert_eq!(
        (&me["source"], &me["subject"], &me["name"], &me["email"], &me["groups"]),
        (&json!("idp"), &json!("sub-carol"), &json!("CAROL"), &json!("carol@example.com"), &json!(["finance"]))
    );
    assert!(me["since"].as_str() < me["until"].as_str(), "{me}");
    // CVE-2024-39315; `eyJ` is how every token of JSON begins
    let ticket = carol.split('=').nth(1).unwrap();
    assert!(!text.contains("eyJ") && !text.contains(ticket), "{text}");
    assert_eq!(world.get("/.claviger/me", "").await.status, StatusCode::UNAUTHORIZED);
}

/// A9: CVE-2026-34454. The session ends here and at the provider, and what was issued for it is gone.
#[tokio::test]
async fn a_logout_ends_the_session_here_and_at_the_provider_and_drops_its_credentials() {
    let world = world().await;
    let mut browser = world.browser_of("carol").await;
    let cookie = world.cookie(&browser);
    let (served, issued) = (world.upstream.seen().len(), world.sts_calls());
    assert_eq!((served, issued, world.metric("claviger_credentials_entries").await), (1, 1, 1.0));

    let page = browser.open(&world.url("/.claviger/logout")).await;
    assert!(page.text().contains("CAROL"), "{}", page.text());
    let page = browser.submit(&page, &[]).await;
    assert_eq!((page.status, browser.at.as_ref().unwrap().path()), (StatusCode::OK, "/.claviger/signed-out"));
    let sign_out = browser.history.iter().find(|(url, _)| url.path() == "/sign-out").map(|(url, _)| url.clone());
    let hint = sign_out.unwrap().query_pairs().any(|(name, value)| name == "id_token_hint" && !value.is_empty());
    assert!(hint, "the provider is told whose session ends");
    assert!(world.ticket_in(&browser, world.host()).is_none(), "the browser is told to forget its ticket");

    assert_eq!(world.get("/", &cookie).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.upstream.seen().len(), served, "the old ticket reaches nothing");
    assert_eq!(world.metric("claviger_credentials_entries").await, 0.0);
    let audit = world.audit().await;
    let said = |what: &str| audit.iter().filter(|line| line["message"] == what).count();
    assert_eq!((said("a person logged in"), said("a person logged out")), (1, 1));

    // `log_in` wants to see the password form
    let answer = world.log_in(&mut browser, &world.url("/"), "carol").await;
    assert_eq!((answer.status, world.sts_calls()), (StatusCode::OK, issued + 1));
    assert_ne!(world.cookie(&browser), cookie);
}

/// The other login of the same person goes on, and so do the credentials that both share.
#[tokio::test]
async fn a_logout_ends_one_login_of_several() {
    let world = world().await;
    let (mut here, there) = (world.browser_of("carol").await, world.ticket("carol").await);
    assert_eq!(world.sts_calls(), 1, "two sessions of one person share an entry");
    let page = here.open(&world.url("/.claviger/logout")).await;
    here.submit(&page, &[]).await;
    assert_eq!(world.get("/", &there).await.status, StatusCode::OK);
    assert_eq!((world.sts_calls(), world.metric("claviger_credentials_entries").await), (1, 1.0));
}

/// A session's time is up, however much it is used.
#[tokio::test]
async fn a9_a_session_that_has_ended_opens_nothing() {
    let world = Plan::with_routes(&format!("[session]\nlifetime = \"2s\"\n{}", APP)).start().await;
    let cookie = world.ticket("alice").await;
    let ended = until(async || world.get("/", &cookie).await, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((ended.status, &ended.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("login_required")));
    let line = world.claviger.event(|e| e["message"] == "a session ended").await;
    assert_eq!((&line["why"], &line["subject.id"]), (&json!("lifetime"), &json!("sub-alice")));
}

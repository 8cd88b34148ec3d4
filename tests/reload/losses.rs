//! What a new config takes away: sources with their sessions, rules with the credentials they gave.

use http::Method;
use serde_json::json;

use super::{edit, half_done, reload};
use crate::callers::issuer::Issuer;
use crate::login::callback;
use crate::support::browser::Browser;
use crate::support::client::{self, headers};
use crate::support::gate::{Crowd, Gate};
use crate::support::routes::{OPEN, behind};
use crate::support::wire::Wire;
use crate::support::world::Plan;

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = [{ groups = ["staff"] }, { groups = ["board"] }]
role = "arn:aws:iam::123456789012:role/anyone"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

fn plan(more: &str) -> Plan {
    Plan::with_routes(&[ROUTES, OPEN, more].concat())
}

#[tokio::test]
async fn a_rule_that_is_gone_takes_its_credentials_along() {
    let world = plan("").start().await;
    let alice = world.ticket("alice").await;
    assert_eq!((world.get("/", &alice).await.status.as_u16(), world.sts_calls()), (200, 1));
    // a rule more is no rule less
    edit(&world, "{ groups = [\"board\"] }", "{ groups = [\"board\"] }, { groups = [\"audit\"] }");
    reload(&world).await;
    assert_eq!((world.get("/", &alice).await.status.as_u16(), world.sts_calls()), (200, 1));
    assert_eq!(world.metric("claviger_credentials_entries").await, 1.0);

    edit(&world, "{ groups = [\"staff\"] }, ", "");
    assert_eq!(reload(&world).await["config.changed"], "route.app changed");
    assert_eq!(world.get("/", &alice).await.status, 403);
    assert_eq!(world.metric("claviger_credentials_entries").await, 0.0, "nothing of it is kept");
    assert_eq!(world.get("/open", &alice).await.status, 200, "the login itself stays");
}

/// The same where the role is one of several.
#[tokio::test]
async fn an_offered_role_that_is_gone_takes_its_credentials_along() {
    const ROLE: &str =
        "[[route.app.roles]]\nname = \"all\"\nrole = \"arn:aws:iam::123456789012:role/anyone\"\nallow = \"signed-in\"";
    const OTHER: &str = "[[route.app.roles]]\nname = \"some\"\nrole = \"arn:aws:iam::123456789012:role/finance\"\nallow = { groups = [\"board\"] }";
    let routes = ROUTES.replace("role = \"arn:aws:iam::123456789012:role/anyone\"\n", "");
    let world = Plan::with_routes(&format!("{routes}\n{ROLE}\n{OTHER}")).start().await;
    let alice = world.ticket("alice").await;
    assert_eq!((world.get("/", &alice).await.status.as_u16(), world.sts_calls()), (200, 1));
    assert_eq!(world.metric("claviger_credentials_entries").await, 1.0);

    edit(&world, ROLE, &ROLE.replace("\"signed-in\"", "{ groups = [\"board\"] }"));
    assert_eq!(reload(&world).await["config.changed"], "route.app changed");
    assert_eq!(world.get("/", &alice).await.status, 403);
    assert_eq!(world.metric("claviger_credentials_entries").await, 0.0, "nothing of it is kept");
}

/// A21: a source that is told to believe another issuer has no sessions to end, but what was issued for its callers.
#[tokio::test]
async fn a21_what_was_issued_to_a_namesake_is_nobodys() {
    let (issuer, other) = (Issuer::start(), Issuer::start());
    let world = issuer.plan("", ROUTES).start().await;
    let ask = async |issuer: &Issuer| {
        let mut claims = issuer.claims();
        claims["groups"] = json!(["staff"]);
        let token = format!("Bearer {}", issuer.token(&claims));
        client::send(world.at, Method::GET, "/", &headers(&[("authorization", &token)]), "").await.status.as_u16()
    };
    assert_eq!((ask(&issuer).await, world.sts_calls()), (200, 1));
    assert_eq!((ask(&issuer).await, world.sts_calls()), (200, 1));

    edit(&world, &issuer.url, &other.url);
    reload(&world).await;
    assert_eq!((ask(&issuer).await, world.sts_calls()), (401, 1));
    assert_eq!((ask(&other).await, world.sts_calls()), (200, 2), "their `batch` is another's");
}

#[tokio::test]
async fn a_credentials_section_that_changes_issues_anew() {
    let world = plan("").start().await;
    let alice = world.ticket("alice").await;
    let key = || world.upstream.last().all("authorization")[0].to_owned();
    world.get("/", &alice).await;
    let first = key();
    edit(&world, "[credentials.minted]", "[credentials.minted]\naudience = \"sts.amazonaws.com\"");
    reload(&world).await;
    assert_eq!((world.get("/", &alice).await.status.as_u16(), world.sts_calls()), (200, 2));
    let scope = |text: &str| text.split('/').next().unwrap().to_owned();
    assert_ne!(scope(&first), scope(&key()), "another access key signs");
}

#[tokio::test]
async fn a_source_that_is_gone_or_speaks_for_others_ends_its_sessions() {
    let world = plan("").start().await;
    for (from, to) in
        [("[identity.idp]", "[identity.other]"), ("client_id = \"claviger\"", "client_id = \"claviger-too\"")]
    {
        let alice = world.ticket("alice").await;
        assert_eq!(world.get("/open", &alice).await.status, 200);
        // what is said of it is no reason
        edit(&world, from, &format!("{from} # a comment"));
        reload(&world).await;
        edit(&world, "kind = \"oidc\"", "kind = \"oidc\"\nlabel = \"Here\"");
        reload(&world).await;
        assert_eq!(world.get("/open", &alice).await.status, 200);

        edit(&world, from, to);
        reload(&world).await;
        assert_eq!(world.get("/open", &alice).await.status, 401, "{to}");
        let ended = world.audit().await.into_iter().filter(|event| event["why"] == "source_gone").count();
        assert!(ended > 0);
        edit(&world, "label = \"Here\"\n", "");
        edit(&world, &format!("{to} # a comment"), from);
        reload(&world).await;
    }
}

/// A21: a login that began before another speaks by the source's name comes back after, and is none.
#[tokio::test]
async fn a_login_under_way_is_none_under_another_voucher() {
    let world = plan("").start().await;
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/open"), "alice").await;
    let so_far = world.idp_tap.said().len();
    world.idp_tap.hold();
    let coming_back = async {
        let answer = browser.step(back.as_str()).await;
        (answer, world.ticket_in(&browser, world.host()))
    };
    let changing = async {
        world.idp_tap.until_asked(so_far + 1).await;
        edit(&world, "client_id = \"claviger\"", "client_id = \"claviger-too\"");
        let outcome = reload(&world).await;
        world.idp_tap.release();
        outcome
    };
    let ((answer, ticket), outcome) = tokio::join!(coming_back, changing);
    assert_eq!(outcome["message"], "the config was reloaded");
    assert_eq!((answer.status.as_u16(), ticket), (400, None), "{}", answer.text());
    let refused = world.audit().await.into_iter().find(|event| event["message"] == "a login was refused").unwrap();
    assert!(refused["reason"].as_str().unwrap().contains("another's now"), "{refused}");
    assert_eq!(world.metric("claviger_sessions").await, 0.0);
}

/// A21: what is kept outlives the process, and so does whose word it is.
#[tokio::test]
async fn a_kept_session_is_none_under_another_voucher() {
    let mut world = plan("[session]\nkind = \"file\"\n").start().await;
    let alice = world.ticket("alice").await;
    world.claviger.terminate();
    world.claviger.wait();
    edit(&world, "client_id = \"claviger\"", "client_id = \"claviger-too\"");
    world.restart().await;
    assert_eq!(world.get("/open", &alice).await.status, 401);
    world.claviger.terminate();
    world.claviger.wait();
    edit(&world, "client_id = \"claviger-too\"", "client_id = \"claviger\"");
    world.restart().await;
    assert_eq!(world.get("/open", &alice).await.status, 401, "it has ended, and stays so");
}

/// A request sees one config: it is finished by the one it began with, also where its route is gone.
#[tokio::test]
async fn requests_under_way_finish_although_their_route_is_gone() {
    let gate = Gate::closed();
    let upstream = half_done(&gate).await;
    let behind = behind(&upstream.url());
    let world = plan(&behind).start().await;
    let mut wire = Wire::to(world.at).await;
    wire.send(format!("GET /behind HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.at)).await;
    gate.until(Crowd { waiting: 1, through: 0 }).await;
    edit(&world, &behind, "");
    assert_eq!(reload(&world).await["config.changed"], "route.behind removed");
    assert_eq!(world.get("/behind", "").await.status, 401, "it is another route's now");
    gate.open();
    assert!(wire.rest().await.ends_with("halfdone"));
}

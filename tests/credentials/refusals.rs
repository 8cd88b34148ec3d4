//! A35: an STS that says no is asked once, and the person is told what it said no to.

use http::{Method, StatusCode};

use super::ENTRIES;
use crate::support::routes::{FINANCE, OPEN};
use crate::support::world::Plan;

const NOWHERE: &str = r#"
[route.nowhere]
host = "*"
path = "/nowhere"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/there-is-none"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

fn plan() -> Plan {
    Plan::with_routes(&[OPEN, FINANCE, NOWHERE].concat())
}

#[tokio::test]
async fn a35_a_refusal_is_told_once_asked_and_not_asked_again() {
    let world = plan().start().await;
    let mut bob = world.newcomer("bob").await;
    let before = world.upstream.seen().len();
    for _ in 0..10 {
        let page = bob.open(&world.url("/finance/page")).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        for said in ["arn:aws:iam::123456789012:role/finance", "AccessDenied", page.header("x-request-id")] {
            assert!(page.text().contains(said), "{said}: {}", page.text());
        }
        assert!(page.text().contains("logged in as <strong>BOB</strong> with idp"), "{}", page.text());
        let answer = bob.fetch(Method::GET, &world.url("/finance"), &[], "").await;
        assert_eq!((answer.status, &answer.json()["error"]), (StatusCode::FORBIDDEN, &"role_refused".into()));
    }
    assert_eq!((world.sts_calls(), world.sts_tap.said().len()), (1, 1));
    assert_eq!(world.upstream.seen().len(), before);

    // another grant is another question; a role that there isn't is refused in the same words
    let page = bob.open(&world.url("/nowhere")).await;
    assert_eq!((page.status, world.sts_calls()), (StatusCode::FORBIDDEN, 2));
    assert!(page.text().contains("role/there-is-none") && page.text().contains("AccessDenied"), "{}", page.text());
    // and alice's own
    let mut alice = world.newcomer("alice").await;
    assert_eq!(alice.open(&world.url("/finance")).await.status, StatusCode::OK);

    let refused: Vec<_> =
        world.audit().await.into_iter().filter(|l| l["message"] == "credentials were refused").collect();
    assert_eq!(refused.len(), 2, "{refused:#?}");
    let line = &refused[0];
    assert_eq!((&line["subject.id"], &line["sts.code"]), (&"sub-bob".into(), &"AccessDenied".into()));
    assert_eq!(line["role.arn"], "arn:aws:iam::123456789012:role/finance");
    let count = world.metric("claviger_credentials_issued_total{provider=\"minted\",outcome=\"refused\"}").await;
    assert_eq!(count, 2.0);
}

/// A refusal lasts no longer than the login it was made for.
#[tokio::test]
async fn a_refusal_goes_with_its_last_holder() {
    let world = plan().start().await;
    let mut bob = world.newcomer("bob").await;
    assert_eq!(bob.open(&world.url("/finance")).await.status, StatusCode::FORBIDDEN);
    assert_eq!((world.sts_calls(), world.metric(ENTRIES).await), (1, 1.0));
    let page = bob.open(&world.url("/.claviger/logout")).await;
    bob.submit(&page, &[]).await;
    assert_eq!(world.metric(ENTRIES).await, 0.0);
}

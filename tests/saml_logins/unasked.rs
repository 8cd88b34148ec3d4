//! Logins that begin at the provider: by opt-in only.

use http::StatusCode;

use super::{begun, follow, honest, reason, refused};
use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::saml_attacks::ALICE;
use crate::support::saml_idp::{field, plan, signed_for};
use crate::support::world::World;

/// A Response that nobody asked for.
pub fn unasked(world: &World) -> String {
    signed_for(ALICE, &world.url("/.claviger/saml/corp/acs"), None)
}

async fn post(world: &World, browser: &mut Browser, document: &str, relay_state: &str) -> Answer {
    let fields = [("SAMLResponse", field(document)), ("RelayState", relay_state.to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    browser.post_from_elsewhere(&world.url("/.claviger/saml/corp/acs"), &fields).await
}

#[tokio::test]
async fn a_login_that_nobody_began_counts_where_it_is_configured() {
    let world = plan("").start().await;
    let mut browser = Browser::default();
    let answer = post(&world, &mut browser, &unasked(&world), "").await;
    refused(&world, &answer);
    assert!(reason(&world, &answer).await.contains("no login that it answers was begun in this browser"));
    // nor in the place of an answer that is waited for
    let waiting = begun(&world, &mut browser, "/").await;
    let answer = post(&world, &mut browser, &unasked(&world), &waiting.relay_state).await;
    refused(&world, &answer);
    assert!(reason(&world, &answer).await.contains("InResponseTo"));
    assert_eq!(world.metric("claviger_sessions_started_total").await, 0.0);

    let world = plan("idp_initiated = true").start().await;
    for (relay_state, target) in [
        ("/wiki?x=1", "/wiki?x=1"),
        ("https://evil.example.org/", "/"),
        ("//evil.example.org", "/"),
        ("javascript:alert(1)", "/"),
        ("\"><script>alert(1)</script>", "/"),
        ("", "/"),
    ] {
        let mut browser = Browser::default();
        let document = unasked(&world);
        let answer = post(&world, &mut browser, &document, relay_state).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        let arrive = answer.location().to_owned();
        let last = follow(&mut browser, answer).await;
        assert_eq!(last.status, StatusCode::OK, "{}", last.text());
        assert_eq!(world.upstream.last().target, target, "A7: {relay_state}");
        assert_eq!(world.upstream.last().all("x-forwarded-user"), [ALICE]);
        // A17: once
        let again = post(&world, &mut browser, &document, relay_state).await;
        refused(&world, &again);
        assert!(reason(&world, &again).await.contains("come before"));
        refused(&world, &browser.step(&arrive).await);
    }
}

/// An answer to somebody's request is nobody's unasked login.
#[tokio::test]
async fn an_answer_to_a_request_is_not_taken_as_unasked() {
    let world = plan("idp_initiated = true").start().await;
    let mut mallory = Browser::default();
    let waiting = begun(&world, &mut mallory, "/").await;
    let document = String::from_utf8(honest(&waiting)).unwrap();
    let answer = post(&world, &mut Browser::default(), &document, "").await;
    refused(&world, &answer);
    assert!(reason(&world, &answer).await.contains("InResponseTo"));
}

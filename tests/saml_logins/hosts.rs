//! Logins for other hosts than the public one, and many at once.

use futures_util::future::join_all;
use http::StatusCode;

use super::{begun, follow, honest};
use crate::support::browser::Browser;
use crate::support::saml_attacks::ALICE;
use crate::support::saml_idp::{asked, plan, signed_for};

/// The provider knows one ACS; the ticket is for the host that was asked for, too.
#[tokio::test]
async fn a_login_for_another_host_is_handed_over() {
    let wiki = "[route.wiki]\nhost = \"wiki.localhost\"\nupstream = \"{upstream}\"\nidentity = [\"corp\"]\n\
                allow = \"signed-in\"\ninject = { kind = \"headers\" }";
    let world = plan(wiki).public_host("login.localhost").start().await;
    let mut browser = Browser::default();
    let sent = browser.open_until(&world.url_on("wiki.localhost", "/page?x=1"), "/sso").await;
    let waiting = asked(&sent);
    assert_eq!(waiting.acs, world.url("/.claviger/saml/corp/acs"));
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    let last = follow(&mut browser, answer).await;
    assert_eq!(last.status, StatusCode::OK, "{}", last.text());
    assert_eq!(browser.at.as_ref().unwrap().as_str(), world.url_on("wiki.localhost", "/page?x=1"));
    assert_eq!(world.upstream.last().all("x-forwarded-user"), [ALICE]);
    let tickets = ["login.localhost", "wiki.localhost"].map(|host| world.ticket_in(&browser, host).unwrap());
    assert_ne!(tickets[0], tickets[1]);
    // and there is no ACS on other hosts
    let there = browser.post_from_elsewhere(&world.url_on("wiki.localhost", "/.claviger/saml/corp/acs"), &[]).await;
    assert_eq!(there.status, StatusCode::NOT_FOUND);
}

/// Each of them is who the provider said they are.
#[tokio::test]
async fn two_hundred_at_once_are_two_hundred_people() {
    let world = plan("").start().await;
    let log_in = async |n: usize| {
        let (mut browser, who) = (Browser::default(), format!("person-{n}"));
        let waiting = begun(&world, &mut browser, "/").await;
        let document = signed_for(&who, &waiting.acs, Some(&waiting.request.id));
        let answer = waiting.post(&mut browser, document).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{who}: {}", answer.text());
        let last = follow(&mut browser, answer).await;
        assert_eq!(last.status, StatusCode::OK, "{who}: {}", last.text());
        let me = world.get("/.claviger/me", &world.cookie(&browser)).await.json();
        assert_eq!(me["subject"], who.as_str());
    };
    join_all((0..200).map(log_in)).await;
    assert_eq!(world.metric("claviger_sessions_started_total").await, 200.0);
}

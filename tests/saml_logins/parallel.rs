//! Two hundred people at once (CVE-2026-33544: state that logins under way share).

use futures_util::future::join_all;
use http::StatusCode;
use tokio::sync::Barrier;

use super::{begun, follow};
use crate::support::browser::Browser;
use crate::support::saml_idp::{plan, signed_for};

const PEOPLE: usize = 200;

#[tokio::test]
async fn two_hundred_logins_at_once_are_two_hundred_people() {
    let world = plan("[limits.rate]\nlogin = \"off\"").start().await;
    // nobody is answered before all have begun, and nobody comes for their session before all were answered
    let (begin, arrive) = (Barrier::new(PEOPLE), Barrier::new(PEOPLE));
    let login = async |who: &str| {
        let mut browser = Browser::default();
        let waiting = begun(&world, &mut browser, &format!("/of-{who}")).await;
        let document = signed_for(who, &waiting.acs, Some(&waiting.request.id));
        begin.wait().await;
        let posted = waiting.post(&mut browser, document).await;
        arrive.wait().await;
        let answer = follow(&mut browser, posted).await;
        assert_eq!(answer.status, StatusCode::OK, "{who}: {}", answer.text());
        world.cookie(&browser)
    };
    let people: Vec<String> = (0..PEOPLE).map(|n| format!("person-{n}")).collect();
    let tickets = join_all(people.iter().map(|who| login(who))).await;

    // the page that each of them wanted was asked for by nobody else
    let seen = world.upstream.seen();
    assert_eq!(seen.len(), PEOPLE);
    for seen in &seen {
        assert_eq!(seen.all("x-forwarded-user"), [seen.target.trim_start_matches("/of-")]);
    }
    for (who, ticket) in people.iter().zip(&tickets) {
        let me = world.get("/.claviger/me", ticket).await.json();
        assert_eq!(me["subject"], *who);
    }
    assert_eq!(world.metric("claviger_sessions_started_total").await, PEOPLE as f64);
}

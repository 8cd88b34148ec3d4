//! Single logout, from either end.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::saml::{
    ExpectedMessage, Guarded, Kind, Leaving, Left, LogoutRequest, LogoutResponse, NameId, Outgoing, Redirected, SKEW,
    SUCCESS, SigningKey, Trust, from_post, verify, verify_redirect,
};
use http::StatusCode;
use url::Url;

use super::{begun, follow, honest, reason, refused};
use crate::reload::{edit, reload};
use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::saml_attacks::{ALICE, OURSELVES, PROVIDER, STRANGER};
use crate::support::saml_idp::{ENTITY_ID, ISSUER, LOGOUT, metadata, plan, plan_to, signed_for_login, this_second};
use crate::support::wire::{Behind, Wire};
use crate::support::world::World;

/// As the table's documents have it.
const SESSION: &str = "_session-1";

async fn logged_in(world: &World) -> Browser {
    let mut browser = Browser::default();
    let waiting = begun(world, &mut browser, "/").await;
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    assert_eq!(follow(&mut browser, answer).await.status, StatusCode::OK);
    browser
}

/// The same for this login of somebody.
async fn logged_in_as(world: &World, who: &str, session: &str) -> Browser {
    let mut browser = Browser::default();
    let waiting = begun(world, &mut browser, "/").await;
    let document = signed_for_login(session, who, &waiting.acs, Some(&waiting.request.id));
    let answer = waiting.post(&mut browser, document).await;
    assert_eq!(follow(&mut browser, answer).await.status, StatusCode::OK);
    browser
}

fn name(value: &str) -> NameId {
    let format = Some("urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress".to_owned());
    NameId { value: value.to_owned(), format, name_qualifier: None, sp_name_qualifier: None }
}

/// The provider's request to end a login.
fn request(world: &World, who: &str, sessions: &[&str]) -> Outgoing {
    LogoutRequest {
        issuer: ISSUER,
        destination: &world.url("/.claviger/saml/corp/logout"),
        name_id: &name(who),
        session_indexes: sessions,
        at: this_second(),
    }
    .build()
}

/// What we answer the provider, verified by our certificate.
fn answered(answer: &Answer, id: &str) {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let url = Url::parse(answer.location()).unwrap();
    assert!(url.as_str().starts_with(LOGOUT), "{url}");
    let redirected = Redirected::read(url.query().unwrap()).unwrap();
    let trust = Trust { certificates: vec![OURSELVES.certificate.clone()], ..Trust::default() };
    let verified = verify_redirect(&redirected, Kind::LogoutResponse, &trust).unwrap();
    let expected = ExpectedMessage { issuer: ENTITY_ID, destination: LOGOUT, now: this_second(), skew: SKEW };
    let left = Left::read(&verified, &expected).unwrap();
    assert_eq!((left.in_response_to.as_str(), left.status.as_str()), (id, SUCCESS));
    assert_eq!(redirected.relay_state.as_deref(), Some("theirs"));
}

async fn is_in(world: &World, browser: &Browser) -> bool {
    world.get("/", &world.cookie(browser)).await.status == StatusCode::OK
}

#[tokio::test]
async fn a_provider_ends_a_login_by_redirect_or_post_and_is_answered() {
    let world = plan("").start().await;
    for by_post in [false, true] {
        for sessions in [&[SESSION][..], &[]] {
            let browser = logged_in(&world).await;
            let message = request(&world, ALICE, sessions);
            // another browser brings it, or a frame without cookies: whose login it is stands in it
            let answer = if by_post {
                let posted = message.post(&PROVIDER.signing).unwrap();
                let fields = [(posted.name, posted.value.as_str()), ("RelayState", "theirs")];
                Browser::default().post_from_elsewhere(&posted.destination, &fields).await
            } else {
                let url = message.redirect(Some("theirs"), Some(&PROVIDER.signing)).unwrap();
                Browser::default().step(&url).await
            };
            answered(&answer, message.id());
            assert!(!is_in(&world, &browser).await, "by post: {by_post}, {sessions:?}");
        }
    }
    let lines = world.audit().await;
    let ended = lines.iter().filter(|line| line["message"] == "a session ended" && line["why"] == "provider");
    assert_eq!(ended.count(), 4);
    assert_eq!(lines.iter().filter(|line| line["message"] == "an identity provider logged a person out").count(), 4);
}

/// GHSA-pcgw-qcv5-h8ch and its kin: nothing is ended, and everybody gets the same page.
#[tokio::test]
async fn a_logout_that_is_unsigned_forged_or_for_somebody_else_ends_nothing() {
    let world = plan("").start().await;
    let browser = logged_in(&world).await;
    let here = world.url("/.claviger/saml/corp/logout");
    let by_redirect = |message: &Outgoing, key: Option<&SigningKey>| message.redirect(None, key).unwrap();
    let good = || request(&world, ALICE, &[SESSION]);
    let mut pages = std::collections::BTreeSet::new();
    let elsewhere = LogoutRequest {
        issuer: ISSUER,
        destination: "https://other.example.org/logout",
        name_id: &name(ALICE),
        session_indexes: &[SESSION],
        at: this_second(),
    };
    let old = LogoutRequest {
        destination: &here,
        at: this_second() - std::time::Duration::from_secs(600),
        ..elsewhere.clone()
    };
    let other = LogoutRequest { destination: &here, issuer: "https://other.example.org", ..elsewhere.clone() };
    let signed = by_redirect(&good(), Some(&PROVIDER.signing));
    let unsigned_post = good().as_is();
    for (what, url) in [
        ("unsigned", by_redirect(&good(), None)),
        ("a stranger's", by_redirect(&good(), Some(&STRANGER.signing))),
        ("our own key's", by_redirect(&good(), Some(&OURSELVES.signing))),
        (
            "of another's login",
            by_redirect(&request(&world, "mallory@example.org", &[SESSION]), Some(&PROVIDER.signing)),
        ),
        (
            "to somebody else",
            by_redirect(&elsewhere.build(), Some(&PROVIDER.signing)).replace("https://other.example.org/logout", &here),
        ),
        ("of ten minutes ago", by_redirect(&old.build(), Some(&PROVIDER.signing))),
        ("of another provider", by_redirect(&other.build(), Some(&PROVIDER.signing))),
        ("signed, and cut off", signed.split("&Signature").next().unwrap().to_owned()),
        ("with another RelayState", format!("{signed}&RelayState=x")),
        ("with a field twice", format!("{signed}&{}", signed.split('?').nth(1).unwrap())),
        ("a kilobyte that inflates to a megabyte (CVE-2023-28119)", format!("{here}?SAMLRequest={}", bomb())),
        ("nothing", here.clone()),
    ] {
        let answer = Browser::default().step(&url).await;
        pages.insert(refused(&world, &answer));
        assert!(!reason(&world, &answer).await.is_empty(), "{what}");
        assert!(is_in(&world, &browser).await, "{what}");
    }
    let posted = [("SAMLRequest", unsigned_post.value.as_str())];
    let answer = Browser::default().post_from_elsewhere(&here, &posted).await;
    pages.insert(refused(&world, &answer));
    // an answer to nobody's question
    let stray =
        LogoutResponse { issuer: ISSUER, destination: &here, in_response_to: "_x", status: SUCCESS, at: this_second() };
    let answer = Browser::default().step(&by_redirect(&stray.build(), Some(&PROVIDER.signing))).await;
    pages.insert(refused(&world, &answer));
    assert_eq!(pages.len(), 1, "{pages:#?}");
    let lines = world.audit().await;
    let told: Vec<_> = lines.iter().filter(|line| line["message"] == "a logout was refused").collect();
    assert_eq!(told.len(), 14, "{told:#?}");

    // once only
    let url = signed;
    assert_eq!(Browser::default().step(&url).await.status, StatusCode::SEE_OTHER);
    assert!(!is_in(&world, &browser).await);
    assert_eq!(Browser::default().step(&url).await.status, StatusCode::BAD_REQUEST);
}

/// Spaces by the megabyte, deflated.
fn bomb() -> String {
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflate.write_all(&vec![b' '; 1 << 20]).unwrap();
    STANDARD.encode(deflate.finish().unwrap()).replace('+', "%2B")
}

/// SAML-Core §2.7.2 would have indexes that logins of several people share: of these only the named person's is meant.
#[tokio::test]
async fn an_index_that_people_share_ends_the_named_persons_login_alone() {
    let world = plan("").start().await;
    let (bob, alice) = (logged_in_as(&world, "bob", "1").await, logged_in_as(&world, "alice", "1").await);
    let ask = |who: &str| request(&world, who, &["1"]).redirect(Some("theirs"), Some(&PROVIDER.signing)).unwrap();
    assert_eq!(Browser::default().step(&ask("mallory")).await.status, StatusCode::BAD_REQUEST);
    assert!(is_in(&world, &alice).await && is_in(&world, &bob).await);
    assert_eq!(Browser::default().step(&ask("alice")).await.status, StatusCode::SEE_OTHER);
    assert!(!is_in(&world, &alice).await && is_in(&world, &bob).await);
}

/// A12: a logout of one's own, which the provider signs for anybody, logs nobody else out who is made to bring it here.
#[tokio::test]
async fn a_logout_that_anothers_browser_brings_leaves_that_browser_logged_in() {
    let world = plan("").start().await;
    let mallory = logged_in_as(&world, "mallory", "_m").await;
    let mut victim = logged_in_as(&world, "alice", "_a").await;
    let url = request(&world, "mallory", &["_m"]).redirect(Some("theirs"), Some(&PROVIDER.signing)).unwrap();
    assert_eq!(victim.step(&url).await.status, StatusCode::SEE_OTHER);
    let message = request(&world, "mallory", &[]).post(&PROVIDER.signing).unwrap();
    let fields = [(message.name, message.value.as_str())];
    assert_eq!(victim.post_from_elsewhere(&message.destination, &fields).await.status, StatusCode::SEE_OTHER);
    assert!(world.ticket_in(&victim, world.host()).is_some(), "its ticket is still there");
    assert!(is_in(&world, &victim).await && !is_in(&world, &mallory).await);
}

/// A login that has ended here already is no reason to stop a provider that logs somebody out everywhere.
#[tokio::test]
async fn a_logout_of_nobody_here_is_answered_all_the_same() {
    let world = plan("").start().await;
    let message = request(&world, ALICE, &["_long-gone"]);
    let answer = Browser::default().step(&message.redirect(Some("theirs"), Some(&PROVIDER.signing)).unwrap()).await;
    answered(&answer, message.id());
}

/// A logout here goes on to the provider, and its answer comes back to our last page.
#[tokio::test]
async fn a_logout_here_ends_the_login_at_the_provider_too() {
    let world = plan("").start().await;
    let mut browser = logged_in(&world).await;
    let cookie = world.cookie(&browser);
    let page = browser.step(&world.url("/.claviger/logout")).await;
    let answer = browser.step_form(&page, &[]).await;
    let url = Url::parse(answer.location()).unwrap();
    assert!(url.as_str().starts_with(LOGOUT), "{url}");
    assert_eq!(world.get("/", &cookie).await.status, StatusCode::UNAUTHORIZED);

    let redirected = Redirected::read(url.query().unwrap()).unwrap();
    let trust = Trust { certificates: vec![OURSELVES.certificate.clone()], ..Trust::default() };
    let verified = verify_redirect(&redirected, Kind::LogoutRequest, &trust).unwrap();
    let expected = ExpectedMessage { issuer: ENTITY_ID, destination: LOGOUT, now: this_second(), skew: SKEW };
    let leaving = Leaving::read(&verified, &expected).unwrap();
    assert_eq!((leaving.name_id, leaving.session_indexes), (name(ALICE), vec![SESSION.to_owned()]));

    let answer = LogoutResponse {
        issuer: ISSUER,
        destination: &world.url("/.claviger/saml/corp/logout"),
        in_response_to: &leaving.id,
        status: SUCCESS,
        at: this_second(),
    };
    let back = answer.build().redirect(None, Some(&PROVIDER.signing)).unwrap();
    let last = browser.step(&back).await;
    assert_eq!(last.status, StatusCode::OK, "{}", last.text());
    assert!(last.text().contains("You are logged out"));
    assert_eq!(browser.step(&back).await.status, StatusCode::BAD_REQUEST, "once");
}

/// By form where the provider takes nothing else, signed within.
#[tokio::test]
async fn a_logout_goes_by_form_where_the_provider_takes_no_redirects() {
    let only_post = metadata().replace(
        &format!("<md:SingleLogoutService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"{LOGOUT}\"></md:SingleLogoutService>"),
        "",
    );
    assert!(!only_post.contains("SingleLogoutService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\""));
    let world = plan("").file("idp.xml", &only_post).start().await;
    let mut browser = logged_in(&world).await;
    let page = browser.step(&world.url("/.claviger/logout")).await;
    let page = browser.step_form(&page, &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains(&format!("action=\"{LOGOUT}\"")), "{}", page.text());
    let value = page.text().split("name=\"SAMLRequest\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let value = value.replace("&#43;", "+").replace("&#61;", "=");
    let guarded = Guarded::new(&from_post(&value).unwrap(), Kind::LogoutRequest).unwrap();
    let trust = Trust { certificates: vec![OURSELVES.certificate.clone()], ..Trust::default() };
    assert!(verify(guarded, &trust).is_ok());
}

/// A21: what one attribute calls one person, another may call somebody else; whoever was called so before is nobody then.
#[tokio::test]
async fn a_reload_that_names_people_by_another_attribute_ends_their_sessions() {
    let world = plan("").start().await;
    let browser = logged_in(&world).await;
    edit(&world, "emails_are_verified = true", "emails_are_verified = false");
    reload(&world).await;
    assert!(is_in(&world, &browser).await, "that says nothing of who they are");
    edit(&world, "emails_are_verified = false", "subject_attribute = \"mail\"");
    reload(&world).await;
    assert!(!is_in(&world, &browser).await);
}

/// The end of a login is the end of what was opened with it.
#[tokio::test]
async fn a_logout_at_the_provider_cuts_what_is_open() {
    let upstream = Behind::new(async |mut wire: Wire| {
        while !wire.head().await.contains("/events") {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        wire.rest().await;
    })
    .await;
    let world = plan_to(&upstream.url()).start().await;
    let browser = logged_in(&world).await;
    let mut stream = Wire::to(world.at).await;
    let (at, cookie) = (world.at, world.cookie(&browser));
    stream.send(format!("GET /events HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\n\r\n")).await;
    stream.up_to(b"hello").await;
    let url = request(&world, ALICE, &[]).redirect(Some("theirs"), Some(&PROVIDER.signing)).unwrap();
    assert_eq!(Browser::default().step(&url).await.status, StatusCode::SEE_OTHER);
    let rest = stream.rest().await;
    assert!(!rest.contains("\r\n0\r\n"), "it must not look like the whole answer: {rest}");
}

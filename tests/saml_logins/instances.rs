//! Several instances: a login begins on one, comes back to another, and counts once among them; without Redis it does not.

use http::{Method, StatusCode};

use super::{begun, follow, honest};
use crate::sessions::redis::Two;
use crate::support::browser::Browser;
use crate::support::client::{self, Answer, headers};
use crate::support::saml_attacks::ALICE;
use crate::support::saml_idp::{KEYS, field, routes, with_files};

/// What a browser posts to one of them, with its cookies for forms.
async fn post(two: &Two, at: std::net::SocketAddr, browser: &Browser, fields: &[(&str, &str)]) -> Answer {
    let cookies = browser.cookies.iter().filter(|(key, _)| browser.with_posts.contains(key));
    let cookies: Vec<String> = cookies.map(|((_, name), (value, _))| format!("{name}={value}")).collect();
    let host = format!("{}:{}", two.world.host(), two.world.at.port());
    let sent = headers(&[
        ("host", &host),
        ("cookie", &cookies.join("; ")),
        ("content-type", "application/x-www-form-urlencoded"),
    ]);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    client::send(at, Method::POST, "/.claviger/saml/corp/acs", &sent, body).await
}

#[tokio::test]
async fn a17_an_assertion_counts_once_among_all_instances_and_not_at_all_without_redis() {
    let section = routes(&format!("metadata_file = \"idp.xml\"\nidp_initiated = true\n{KEYS}"));
    let Some(mut two) = Two::start(&section, "10s", with_files).await else { return };
    let mut browser = Browser::default();

    // it begins here, is posted there, and arrives here
    let waiting = begun(&two.world, &mut browser, "/").await;
    let document = field(honest(&waiting));
    let fields = [("SAMLResponse", document.as_str()), ("RelayState", waiting.relay_state.as_str())];
    let answer = post(&two, two.other.at, &browser, &fields).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    for at in two.both() {
        assert_eq!(post(&two, at, &browser, &fields).await.status, StatusCode::BAD_REQUEST, "again");
    }
    assert_eq!(follow(&mut browser, answer).await.status, StatusCode::OK);
    assert_eq!(two.world.upstream.last().all("x-forwarded-user"), [ALICE]);

    // one that nobody asked for, at both; and then within another Response, as nobody signed the one around it
    let text = super::unasked::unasked(&two.world);
    let document = field(&text);
    let fields = [("SAMLResponse", document.as_str())];
    let [first, second] = two.both();
    assert_eq!(post(&two, first, &Browser::default(), &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(post(&two, second, &Browser::default(), &fields).await.status, StatusCode::BAD_REQUEST);
    let around = text.replacen(" ID=\"", " ID=\"_another", 1);
    assert_ne!(around, text);
    let document = field(around);
    for at in two.both() {
        let fields = [("SAMLResponse", document.as_str())];
        assert_eq!(post(&two, at, &Browser::default(), &fields).await.status, StatusCode::BAD_REQUEST);
    }

    // at both at once, exactly one counts: asked for, and not
    let mut browser = Browser::default();
    let waiting = begun(&two.world, &mut browser, "/").await;
    let asked_for = [("SAMLResponse", field(honest(&waiting))), ("RelayState", waiting.relay_state.clone())];
    let unasked = [("SAMLResponse", field(super::unasked::unasked(&two.world))), ("RelayState", String::new())];
    for fields in [asked_for, unasked] {
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let at_once = two.both().into_iter().cycle().take(16).map(|at| post(&two, at, &browser, &fields));
        let answers = futures_util::future::join_all(at_once).await;
        let statuses = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((statuses(StatusCode::SEE_OTHER), statuses(StatusCode::BAD_REQUEST)), (1, 15));
    }

    // a login that one browser began here is answered there, by another browser, with a login of its own
    let mut mallory = Browser::default();
    let hers = begun(&two.world, &mut browser, "/").await;
    let theirs = begun(&two.world, &mut mallory, "/").await;
    let document = field(honest(&hers));
    for state in [&theirs.relay_state, &hers.relay_state] {
        for at in two.both() {
            let fields = [("SAMLResponse", document.as_str()), ("RelayState", state.as_str())];
            assert_eq!(post(&two, at, &mallory, &fields).await.status, StatusCode::BAD_REQUEST);
        }
    }

    // where nobody can know whether it came before, it does not count
    let mut browser = Browser::default();
    let waiting = begun(&two.world, &mut browser, "/").await;
    two.redis.stop();
    let document = field(honest(&waiting));
    let fields = [("SAMLResponse", document.as_str()), ("RelayState", waiting.relay_state.as_str())];
    for at in two.both() {
        let answer = post(&two, at, &browser, &fields).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    }
}

//! Answers that are good in themselves, and not for this browser, this login, this time.

use http::{Method, StatusCode};
use url::Url;

use super::{begun, document, follow, honest, reason, refused};
use crate::support::browser::Browser;
use crate::support::client::{self, headers};
use crate::support::saml_attacks::{ALICE, attacks, signed, unsigned};
use crate::support::saml_idp::{ENTITY_ID, ISSUER, KEYS, asked, field, plan, signed_for};

/// Who gives up what was posted, by a reload or by "Try again", logs in anew.
#[tokio::test]
async fn an_acs_that_is_opened_leads_to_a_login() {
    let world = plan("").start().await;
    let answer = Browser::default().step(&world.url("/.claviger/saml/corp/acs")).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/.claviger/login"));
    assert_eq!(world.get("/.claviger/saml/corp/acs", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// A17, A21: of two sources at one provider, under one entity ID of ours, what one has asked for is no answer at the other,
/// however it is addressed; and it is not used up by being shown there.
#[tokio::test]
async fn a17_an_answer_to_one_source_is_none_at_another_of_the_same_provider() {
    let twin = format!(
        "[identity.twin]\nkind = \"saml\"\nissuer = \"{ISSUER}\"\nentity_id = \"{ENTITY_ID}\"\n\
         metadata_file = \"idp.xml\"\nidp_initiated = true\n{KEYS}"
    );
    let world = plan(&twin).start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    let there = world.url("/.claviger/saml/twin/acs");
    let honest = String::from_utf8(honest(&waiting)).unwrap();
    for (document, why) in [
        (honest.clone(), "Destination"),
        (signed_for(ALICE, &there, Some(&waiting.request.id)), "InResponseTo"),
        (signed_for(ALICE, &waiting.acs, None), "Destination"),
    ] {
        let fields = [("SAMLResponse", field(&document)), ("RelayState", waiting.relay_state.clone())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = browser.post_from_elsewhere(&there, &fields).await;
        refused(&world, &answer);
        assert!(reason(&world, &answer).await.contains(why), "{why}");
    }
    let answer = waiting.post(&mut browser, honest).await;
    assert_eq!(follow(&mut browser, answer).await.status, StatusCode::OK);
}

/// A17: an assertion counts once, in the login that it answers, in the browser that began it.
#[tokio::test]
async fn a17_an_answer_is_for_one_login_in_one_browser_and_once() {
    let world = plan("").start().await;
    let (mut alice, mut mallory) = (Browser::default(), Browser::default());
    let hers = begun(&world, &mut alice, "/").await;
    let theirs = begun(&world, &mut mallory, "/").await;
    let document = honest(&hers);

    // another browser: with its own login's RelayState, with hers, without any
    let answer = theirs.post(&mut mallory, &document).await;
    refused(&world, &answer);
    assert!(reason(&world, &answer).await.contains("InResponseTo"));
    for state in [&hers.relay_state, &String::new()] {
        let fields = [("SAMLResponse", field(&document)), ("RelayState", state.clone())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = mallory.post_from_elsewhere(&hers.acs, &fields).await;
        refused(&world, &answer);
        assert!(reason(&world, &answer).await.contains("no login that it answers was begun in this browser"));
    }

    // her own, once
    let answer = hers.post(&mut alice, &document).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    let again = hers.post(&mut alice, &document).await;
    refused(&world, &again);
    assert!(reason(&world, &again).await.contains("before"));

    // the code after it: in her browser, once
    let arrive = answer.location().to_owned();
    let elsewhere = mallory.step(&arrive).await;
    refused(&world, &elsewhere);
    assert!(reason(&world, &elsewhere).await.contains("another browser"));
    let late = alice.step(&arrive).await;
    refused(&world, &late);
    assert_eq!(world.metric("claviger_sessions_started_total").await, 0.0);
}

/// A17: one assertion in two Responses, in answer to the same request, to another of this browser's, and to none.
#[tokio::test]
async fn a17_an_assertion_counts_once_whatever_is_around_it() {
    let world = plan("idp_initiated = true").start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    let another = begun(&world, &mut browser, "/other").await;
    let first = String::from_utf8(honest(&waiting)).unwrap();
    let answer = waiting.post(&mut browser, &first).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);

    // the Response around it is not signed: anybody may give it another ID, and say that it answers another request
    let with_id = first.replacen(&format!("ID=\"{}\"", value(&first, "ID")), "ID=\"_another\"", 1);
    assert_ne!(with_id, first);
    let to = |request: &str| with_id.replacen(&format!("InResponseTo=\"{}\"", waiting.request.id), request, 1);
    let to_another = to(&format!("InResponseTo=\"{}\"", another.request.id));
    for (login, document, why) in [
        (&waiting, &with_id, "its state has come back before"),
        (&another, &with_id, "InResponseTo"),
        (&another, &to_another, "InResponseTo"),
        (&waiting, &to(""), "its state has come back before"),
    ] {
        let answer = login.post(&mut browser, document).await;
        refused(&world, &answer);
        let said = reason(&world, &answer).await;
        assert!(said.contains(why), "{why}: {said}");
    }

    // an ID that the provider itself gives away twice: nobody knows which is whose
    let spent = value(&first[first.find("<saml:Assertion ").unwrap()..], "ID");
    let again = |text: String| {
        let own = value(&text[text.find("<saml:Assertion ").unwrap()..], "ID").to_owned();
        signed(&text.replace(&own, spent)).unwrap()
    };
    let fresh = begun(&world, &mut browser, "/").await;
    let answer = fresh.post(&mut browser, again(unsigned(&fresh.stage()))).await;
    refused(&world, &answer);
    let said = reason(&world, &answer).await;
    assert!(said.contains("the assertion has come before"), "{said}");
    assert_eq!(world.metric("claviger_sessions_started_total").await, 0.0);
}

/// A17: posted many times at once, exactly one counts; asked for or not.
#[tokio::test]
async fn a17_of_many_at_once_exactly_one_counts() {
    let world = plan("idp_initiated = true").start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    let asked_for = [("SAMLResponse", field(honest(&waiting))), ("RelayState", waiting.relay_state.clone())];
    let unasked = [("SAMLResponse", field(super::unasked::unasked(&world))), ("RelayState", String::new())];
    for fields in [asked_for, unasked] {
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let at_once = (0..AT_ONCE).map(|_| {
            let (mut browser, acs) = (browser.clone(), &waiting.acs);
            async move { browser.post_from_elsewhere(acs, &fields).await }
        });
        let answers = futures_util::future::join_all(at_once).await;
        let (taken, rest): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == StatusCode::SEE_OTHER);
        assert_eq!(taken.len(), 1);
        for answer in rest {
            refused(&world, answer);
            assert!(reason(&world, answer).await.contains("before"));
        }
    }
}

const AT_ONCE: usize = 16;

/// The value of the first attribute of that name.
fn value<'t>(text: &'t str, attribute: &str) -> &'t str {
    text.split(&format!(" {attribute}=\"")).nth(1).unwrap().split('"').next().unwrap()
}

/// A10, A12: which cookies go where.
#[tokio::test]
async fn the_logins_own_cookie_comes_along_with_the_form_and_the_ticket_does_not() {
    let world = plan("").start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    let (_, begun) = browser.history.last().unwrap();
    let set = begun.header("set-cookie");
    assert!(set.contains("; HttpOnly; Secure; SameSite=None"), "{set}");
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    follow(&mut browser, answer).await;
    let sets = browser.history.iter().flat_map(|(_, answer)| answer.headers.get_all("set-cookie"));
    let ticket = format!("{}=", world.ticket_name());
    let tickets: Vec<_> = sets.map(|set| set.to_str().unwrap()).filter(|set| set.starts_with(&ticket)).collect();
    assert!(!tickets.is_empty() && tickets.iter().all(|set| set.contains("SameSite=Lax")), "{tickets:?}");
    // A10: a second login in this browser leaves one session
    let first = world.cookie(&browser);
    let chooser = browser.open(&world.url("/.claviger/login")).await;
    let mut links = chooser.text().split("href=\"").map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"));
    let waiting = asked(&browser.step(&links.find(|link| link.ends_with("source=corp")).unwrap()).await);
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    follow(&mut browser, answer).await;
    assert_ne!(world.cookie(&browser), first);
    assert_eq!(world.get("/", &first).await.status, StatusCode::UNAUTHORIZED, "the ticket before is none any more");
}

/// What is posted that is no answer: the same page for all.
#[tokio::test]
async fn what_is_no_answer_is_refused_like_a_bad_one() {
    let world = plan("").start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    let good = field(honest(&waiting));
    let state = waiting.relay_state.as_str();
    let long = "A".repeat(20 << 20);
    let half = "QUFB".repeat(100_000);
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("nothing", vec![]),
        ("no response", vec![("RelayState", state)]),
        ("two responses", vec![("SAMLResponse", &good), ("SAMLResponse", &good), ("RelayState", state)]),
        ("many fields", [("SAMLResponse", &*good), ("RelayState", state)].into_iter().chain([("a", ""); 20]).collect()),
        ("two states", vec![("SAMLResponse", &good), ("RelayState", state), ("RelayState", state)]),
        ("a request", vec![("SAMLRequest", &good), ("RelayState", state)]),
        ("no base64", vec![("SAMLResponse", "%%%"), ("RelayState", state)]),
        ("base64 of nothing", vec![("SAMLResponse", ""), ("RelayState", state)]),
        ("300 KB", vec![("SAMLResponse", &half), ("RelayState", state)]),
        ("20 MB", vec![("SAMLResponse", &long), ("RelayState", state)]),
    ];
    let mut pages = std::collections::BTreeSet::new();
    for (name, fields) in cases {
        let answer = browser.post_from_elsewhere(&waiting.acs, &fields).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {}", answer.text());
        pages.insert(refused(&world, &answer));
        assert!(!reason(&world, &answer).await.is_empty(), "{name}");
    }
    assert_eq!(pages.len(), 1);

    // not by the query: it would be in logs; not at another source's place; not at the OpenID callback
    let query = format!("?SAMLResponse={}&RelayState={state}", percent(&good));
    let answer = browser.step(&format!("{}{query}", waiting.acs)).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let answer = browser.step(&world.url(&format!("/.claviger/callback{query}&state={state}"))).await;
    refused(&world, &answer);
    let answer = browser.post_from_elsewhere(&world.url("/.claviger/saml/idp/acs"), &[("SAMLResponse", &good)]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    // nor as anything but a form
    let sent = headers(&[("content-type", "text/plain"), ("cookie", "a=b")]);
    let answer = client::send(world.at, Method::POST, "/.claviger/saml/corp/acs", &sent, "SAMLResponse=x").await;
    refused(&world, &answer);

    // after all of that the good one is as good as it was
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
}

/// A21: an answer of one provider, shown as another's.
#[tokio::test]
async fn a_login_begun_at_one_source_does_not_end_at_another() {
    let other = format!(
        "[identity.other]\nkind = \"saml\"\nissuer = \"{ISSUER}\"\nentity_id = \"{ENTITY_ID}/other\"\n\
         metadata_file = \"idp.xml\"\nsigning = [{{ key = {{ file = \"sp.key\" }}, certificate = \"sp.crt\" }}]"
    );
    let world = plan(&other).start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    let fields = [("SAMLResponse", field(honest(&waiting))), ("RelayState", waiting.relay_state.clone())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = browser.post_from_elsewhere(&world.url("/.claviger/saml/other/acs"), &fields).await;
    refused(&world, &answer);
    assert_eq!(world.metric("claviger_sessions_started_total").await, 0.0);
}

/// What the config says of ways to prove oneself, of encryption and of names is asked for and insisted on.
#[tokio::test]
async fn what_is_configured_is_asked_for_and_insisted_on() {
    let strict = "authn_contexts = [\"urn:example:mfa\"]\nforce_authn = true\nname_id_format = \"persistent\"";
    let world = plan(strict).start().await;
    let mut browser = Browser::default();
    let waiting = begun(&world, &mut browser, "/").await;
    assert_eq!(waiting.request.authn_contexts, ["urn:example:mfa"]);
    assert!(waiting.request.force_authn && !waiting.request.is_passive);
    let format = waiting.request.name_id_format.as_deref();
    assert_eq!(format, Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"));
    let answer = waiting.post(&mut browser, honest(&waiting)).await;
    refused(&world, &answer);
    assert!(reason(&world, &answer).await.contains("AuthnContextClassRef"));

    let cbc = document("cipher: CBC without consent");
    for (more, status) in [("allow_cbc = true", StatusCode::SEE_OTHER), ("", StatusCode::BAD_REQUEST)] {
        let world = plan(more).start().await;
        let mut browser = Browser::default();
        let waiting = begun(&world, &mut browser, "/").await;
        let answer = waiting.post(&mut browser, cbc.document(&waiting.stage())).await;
        assert_eq!(answer.status, status, "{more}");
    }
}

/// Where CBC is allowed, a ciphertext that is short, empty or changed is refused like any that can't be opened, and tells
/// nobody at which byte (GHSA-hwqm-qvj9-4jr2, and the oracle of paddings).
#[tokio::test]
async fn a_ciphertext_that_is_short_or_changed_says_nothing_and_breaks_nothing() {
    let world = plan("allow_cbc = true").start().await;
    let mut pages = std::collections::BTreeSet::new();
    let all = attacks();
    let hostile = all.iter().filter(|attack| attack.name.starts_with("cipher: CBC, "));
    let hostile: Vec<_> = hostile.chain(all.iter().filter(|attack| SHORT.contains(&&*attack.name))).collect();
    assert_eq!(hostile.len(), 6 + SHORT.len());
    for attack in hostile {
        let mut browser = Browser::default();
        let waiting = begun(&world, &mut browser, "/").await;
        let answer = waiting.post(&mut browser, attack.document(&waiting.stage())).await;
        pages.insert(refused(&world, &answer));
        let said = reason(&world, &answer).await;
        assert!(said.ends_with(": the encrypted assertion can't be decrypted"), "{}: {said}", attack.name);
    }
    assert_eq!(pages.len(), 1, "{pages:#?}");
    assert_eq!(world.metric("claviger_sessions_started_total").await, 0.0);
}

const SHORT: [&str; 5] = [
    "cipher: empty",
    "cipher: one byte",
    "cipher: a nonce alone",
    "cipher: shorter than a tag",
    "cipher: a tag cut off",
];

/// A request is posted by a page of ours where that is configured, with the same signature.
#[tokio::test]
async fn a_request_goes_by_post_where_it_is_configured() {
    let world = plan("binding = \"post\"").start().await;
    let mut browser = Browser::default();
    let page = browser.step(&world.url("/")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("action=\"https://idp.example.org/sso\""), "{}", page.text());
    assert!(page.text().contains("name=\"SAMLRequest\"") && page.text().contains("name=\"RelayState\""));
    assert!(!page.text().contains("<script"));
}

fn percent(text: &str) -> String {
    let mut url = Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_pair("v", text);
    url.query().unwrap()[2..].to_owned()
}

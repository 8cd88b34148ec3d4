//! Browsers at the door, with real providers behind it.

mod house;
#[cfg(feature = "saml")]
mod quiet;

use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, header};
use serde_json::{Value, json};

use house::{Browser, House, PUBLIC, TICKET};

const APPS: &str = "apps.example.com";
const REPORTS: &str = "reports.example.com";
const CALLBACK: &str = "/.claviger/callback";
const ENTER: &str = "/.claviger/enter";

#[tokio::test]
async fn a_login_leads_back_to_where_it_was_wanted() {
    let house = House::build().await;
    let browser = house.browser();
    let page = browser.open(&format!("{PUBLIC}/a/b?c=d&e=%2Ff"), "alice").await;
    assert_eq!((page.status, &*page.text), (StatusCode::OK, "/a/b?c=d&e=%2Ff sub-of-alice of corp"));
    assert_eq!(browser.cookie(APPS, TICKET).unwrap().len(), 43);
    assert!(browser.logins(APPS).is_empty(), "the login's own cookie is gone");

    let me: Value = serde_json::from_str(&browser.get(&format!("{PUBLIC}/.claviger/me")).await.text).unwrap();
    assert_eq!(
        me,
        json!({
            "source": "corp", "subject": "sub-of-alice", "name": "alice <Doe>", "email": "alice@example.com",
            "groups": ["staff"], "since": "2027-01-15T08:00:00Z", "until": "2027-01-15T20:00:00Z", "roles": {},
        })
    );
}

#[tokio::test]
async fn one_login_serves_many_hosts() {
    let house = House::build().await;
    let browser = house.browser();
    let page = browser.open("https://reports.example.com/q?x=1", "alice").await;
    assert_eq!((page.url.host_str(), &*page.text), (Some(REPORTS), "/q?x=1 sub-of-alice of corp"));

    // the other host asks public_url, and no provider
    let before = browser.until("https://wiki.example.com/w", "nobody", ENTER).await;
    assert_eq!(before.url.host_str(), Some(APPS));
    let page = browser.get(&before.location()).await;
    let page = browser.follow_until(page, "").await;
    assert_eq!((page.url.host_str(), &*page.text), (Some("wiki.example.com"), "/w sub-of-alice of corp"));
    let hosts = [APPS, REPORTS, "wiki.example.com"];
    let mut tickets: Vec<_> = hosts.iter().map(|host| browser.cookie(host, TICKET).unwrap()).collect();
    tickets.dedup();
    assert_eq!(tickets.len(), 3, "each host has a ticket of its own");
    assert_eq!(house.sessions.of_subject(&subject("corp", "alice")).await.unwrap().len(), 1);

    // a logout anywhere ends all of them, and the login at the provider
    let same_origin = [("sec-fetch-site", "same-origin")];
    let page = browser.send("POST", "https://wiki.example.com/.claviger/logout", &same_origin, "").await;
    assert!(page.location().starts_with(&house.issuers["corp"]) && page.location().contains("id_token_hint="));
    let page = browser.follow_until(page, "").await;
    assert_eq!((page.url.as_str(), page.status), ("https://apps.example.com/.claviger/signed-out", StatusCode::OK));
    for (host, ticket) in hosts.iter().zip(tickets) {
        browser.set_cookie(host, TICKET, &ticket); // A9: replay after logout
        let page = browser.get(&format!("https://{host}/")).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{host}");
    }
    let page = browser.get("https://wiki.example.com/").await;
    let page = browser.follow_until(page, "").await;
    assert!(page.text.contains("name=\"password\""), "the provider asks again");
}

/// A8: whatever is wrong with the answer, there is no session.
#[tokio::test]
async fn a8_answers_that_are_not_ours_are_refused() {
    let house = House::build().await;
    let answer = |url: &str, name: &str, value: Option<&str>| {
        let mut url: url::Url = url.parse().unwrap();
        let pairs: Vec<_> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs).extend_pairs(value.map(|value| (name, value)));
        url.to_string()
    };
    let cases: [(&str, Option<&str>); 9] = [
        ("state", None),
        ("state", Some("AAAAAAAAAAAAAAAAAAAAAA")),
        ("state", Some("")),
        ("code", None),
        ("code", Some("AAAAAAAAAAAAAAAAAAAAAA")),
        ("iss", None), // the provider announces RFC 9207
        ("iss", Some(&house.issuers["partner"])),
        ("iss", Some("https://evil.example")),
        ("error", Some("access_denied")),
    ];
    for (name, value) in cases {
        let browser = house.browser();
        let before = browser.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
        let page = browser.get(&answer(&before, name, value)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{name} {value:?}: {}", page.text);
        assert!(page.text.contains("r-1") && browser.cookie(APPS, TICKET).is_none());
    }
    let browser = house.browser();
    let before = browser.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
    for twice in ["state", "code", "iss"] {
        let page = browser.get(&format!("{before}&{twice}=x")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{twice} twice");
        // a state is spent by then, except where it was the state that was not one
        let again = browser.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
        assert_ne!(again, before);
    }
    assert!(house.sessions.of_subject(&subject("corp", "alice")).await.unwrap().is_empty());
}

/// A8: a state comes back once, in the browser that has its cookie.
#[tokio::test]
async fn a8_a_state_is_good_once_and_in_its_browser() {
    let house = House::build().await;
    let alice = house.browser();
    let before = alice.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
    let [cookie] = &*alice.logins(APPS) else { panic!("one login") };
    let sealed = alice.cookie(APPS, cookie).unwrap();

    // login CSRF: the attacker's answer in the victim's browser
    let victim = house.browser();
    assert_eq!(victim.get(&before).await.status, StatusCode::BAD_REQUEST);
    assert!(victim.cookie(APPS, TICKET).is_none());

    assert_eq!(alice.get(&before).await.status, StatusCode::SEE_OTHER);
    alice.set_cookie(APPS, cookie, &sealed);
    assert_eq!(alice.get(&before).await.status, StatusCode::BAD_REQUEST, "reused");
    assert_eq!(house.sessions.of_subject(&subject("corp", "alice")).await.unwrap().len(), 1);
}

/// A8: a code of another login is bound to that login's verifier, and its token to that login's nonce.
#[tokio::test]
async fn a8_codes_do_not_move_between_logins() {
    let house = House::build().await;
    let (alice, mallory) = (house.browser(), house.browser());
    let parameter = |url: &str, name: &str| {
        let url: url::Url = url.parse().unwrap();
        url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    let mine = alice.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
    let theirs = mallory.until(&format!("{PUBLIC}/"), "bob", CALLBACK).await.location();
    let swapped = mine.replace(&parameter(&mine, "code"), &parameter(&theirs, "code"));
    assert_eq!(alice.get(&swapped).await.status, StatusCode::BAD_REQUEST);
    assert!(alice.cookie(APPS, TICKET).is_none());

    // a code of one provider in the answer of another
    *house.wanted.lock().unwrap() = vec!["partner".into()];
    let other = mallory.until(&format!("{PUBLIC}/"), "bob", CALLBACK).await.location();
    let swapped = other.replace(&parameter(&other, "code"), &parameter(&theirs, "code"));
    assert_eq!(mallory.get(&swapped).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_login_waits_ten_minutes() {
    let house = House::build().await;
    let browser = house.browser();
    let before = browser.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(browser.get(&before).await.status, StatusCode::BAD_REQUEST);
}

/// A9: a login's cookie opens as it was sealed, on its host, or not at all.
#[tokio::test]
async fn a9_changed_login_cookies_are_no_logins() {
    let house = House::build().await;
    let browser = house.browser();
    let before = browser.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
    let [cookie] = &*browser.logins(APPS) else { panic!("one login") };
    let sealed = browser.cookie(APPS, cookie).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        for text in [&changed, &sealed[..at], &format!("{sealed}{}", &sealed[..at + 1])] {
            browser.set_cookie(APPS, cookie, text);
            assert_eq!(browser.get(&before).await.status, StatusCode::BAD_REQUEST, "{at}");
        }
    }
    browser.set_cookie(APPS, cookie, &sealed);
    assert_eq!(browser.get(&before).await.status, StatusCode::SEE_OTHER, "it was good all along");
}

/// A10: what the browser had before a login counts for nothing after it.
#[tokio::test]
async fn a10_a_login_makes_a_new_ticket() {
    let house = House::build().await;
    let attacker = house.browser();
    attacker.open(&format!("{PUBLIC}/"), "bob").await;
    let planted = attacker.cookie(APPS, TICKET).unwrap();

    *house.wanted.lock().unwrap() = vec!["partner".into()]; // so that the planted session does not do
    let victim = house.browser();
    victim.set_cookie(APPS, TICKET, &planted);
    let page = victim.open(&format!("{PUBLIC}/"), "alice").await;
    assert_eq!(page.text, "/ sub-of-alice of partner");
    assert_ne!(victim.cookie(APPS, TICKET).unwrap(), planted);
    assert!(
        house.sessions.open(&planted, "apps.example.com").await.unwrap().is_none(),
        "the planted ticket is forgotten"
    );
}

/// A11: nothing a provider or a caller sends is shown as it came.
#[tokio::test]
async fn a11_what_comes_from_outside_is_escaped() {
    let house = House::build().await;
    let browser = house.browser();
    let before = browser.until(&format!("{PUBLIC}/"), "alice", CALLBACK).await.location();
    let state = before.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let iss: String = form_urlencoded::byte_serialize(house.issuers["corp"].as_bytes()).collect();
    let hostile = "%3Csvg%20onload%3Dalert(1)%3E";
    let url = format!("{PUBLIC}{CALLBACK}?state={state}&iss={iss}&error={hostile}&error_description={hostile}");
    let page = browser.get(&url).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("svgonloadalert1") && !page.text.contains("<svg"), "{}", page.text);
    assert!(page.headers.contains_key(header::CONTENT_SECURITY_POLICY));

    browser.open(&format!("{PUBLIC}/"), "alice").await;
    let page = browser.get(&format!("{PUBLIC}/.claviger/logout")).await;
    assert!(page.text.contains("alice &#60;Doe&#62;") && page.text.contains("The &#60;corp&#62; account"));
}

/// A21: the same name at two providers is two people.
#[tokio::test]
async fn a21_two_providers_never_mean_the_same_person() {
    let house = House::build().await;
    let corp = house.browser();
    corp.open(&format!("{PUBLIC}/"), "alice").await;
    *house.wanted.lock().unwrap() = vec!["partner".into()];
    let page = house.browser().open(&format!("{PUBLIC}/"), "alice").await;
    assert_eq!(page.text, "/ sub-of-alice of partner");
    let page = corp.get(&format!("{PUBLIC}/")).await;
    assert!(page.location().starts_with(&house.issuers["partner"]), "the other provider's alice does not do");
    for source in ["corp", "partner"] {
        assert_eq!(house.sessions.of_subject(&subject(source, "alice")).await.unwrap().len(), 1);
    }
}

/// CVE-2026-33544: 200 logins at once, each in a browser of its own; everyone is who they are.
#[tokio::test]
async fn parallel_logins_get_their_own_identities() {
    let house = House::build().await;
    let names = ["alice", "bob", "carol", "dave"];
    let mut at_provider = Vec::new();
    for name in names {
        let browser = house.browser();
        browser.open(&format!("{PUBLIC}/"), name).await;
        let jar = browser.jars.lock().unwrap().iter().find(|(place, _)| place.starts_with("http:")).unwrap().1.clone();
        at_provider.push(jar);
    }
    let origin = house.issuers["corp"].strip_suffix("/op").unwrap();
    let logins = (0..200).map(|number| {
        let (house, jar) = (&house, at_provider[number % 4].clone());
        async move {
            let browser = house.browser();
            browser.jars.lock().unwrap().insert(origin.to_owned(), jar);
            let host = if number % 3 == 0 { APPS } else { REPORTS };
            let page = browser.open(&format!("https://{host}/{number}"), "nobody").await;
            assert_eq!(page.text, format!("/{number} sub-of-{} of corp", names[number % 4]));
            browser.cookie(host, TICKET).unwrap()
        }
    });
    let mut tickets = join_all(logins).await;
    tickets.sort();
    tickets.dedup();
    assert_eq!(tickets.len(), 200);
}

#[tokio::test]
async fn parallel_logins_of_one_browser_keep_their_targets() {
    let house = House::build().await;
    let browser = house.browser();
    let mut answers = Vec::new();
    for target in ["/one", "/two"] {
        answers.push(browser.until(&format!("{PUBLIC}{target}"), "alice", CALLBACK).await.location());
    }
    for (answer, target) in answers.iter().zip(["/one", "/two"]) {
        assert_eq!(browser.get(answer).await.location(), format!("{PUBLIC}{target}"));
    }
}

#[tokio::test]
async fn no_more_than_five_logins_are_under_way() {
    let house = House::build().await;
    let browser = house.browser();
    let mut begun = Vec::new();
    for number in 0..8 {
        browser.set_cookie(APPS, "__Host-claviger-login-00000000", "not one of ours");
        browser.get(&format!("{PUBLIC}/{number}")).await;
        let logins = browser.logins(APPS);
        assert!(logins.len() <= 5, "{logins:?}");
        begun.extend(logins.into_iter().filter(|name| !begun.contains(name)).collect::<Vec<_>>());
        house.clock.advance(Duration::from_secs(1));
    }
    begun.retain(|name| name != "__Host-claviger-login-00000000");
    let mut latest = begun[begun.len() - 5..].to_vec();
    latest.sort();
    assert_eq!(browser.logins(APPS), latest, "the oldest went");
}

#[tokio::test]
async fn only_navigations_begin_logins() {
    let house = House::build().await;
    let browser = house.browser();
    for url in [format!("{PUBLIC}/"), format!("{PUBLIC}/.claviger/login"), "https://reports.example.com/".into()] {
        for headers in [&[("accept", "application/json")][..], &[("sec-fetch-mode", "cors")], &[]] {
            let page = browser.send("GET", &url, headers, "").await;
            assert_eq!((page.status, page.location()), (StatusCode::UNAUTHORIZED, String::new()));
            assert!(!page.headers.contains_key(header::SET_COOKIE));
        }
    }
}

#[tokio::test]
async fn where_no_source_has_a_login_there_is_none() {
    let house = House::build().await;
    *house.wanted.lock().unwrap() = vec!["tokens-only".into()];
    for url in [format!("{PUBLIC}/"), "https://reports.example.com/".into()] {
        let page = house.browser().get(&url).await;
        assert_eq!((page.status, page.location()), (StatusCode::UNAUTHORIZED, String::new()));
    }
}

#[tokio::test]
async fn several_sources_are_chosen_from() {
    let house = House::build().await;
    house.wanted.lock().unwrap().clear();
    let browser = house.browser();
    let page = browser.get("https://reports.example.com/r").await;
    let page = browser.follow_until(page, "").await;
    assert!(page.url.as_str().starts_with("https://apps.example.com/.claviger/login?ask="), "{}", page.url);
    assert!(page.text.contains("The &#60;partner&#62; account") && page.text.contains("reports.example.com"));
    let url = page.url.to_string();
    let page = browser.open(&format!("{url}&source=partner"), "bob").await;
    assert_eq!((page.url.as_str(), &*page.text), ("https://reports.example.com/r", "/r sub-of-bob of partner"));
    let page = browser.open(&url, "nobody").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "that host's login is done and its cookie gone");
    // an ask is sealed, and waits ten minutes
    let changed = url.replace("ask=", "ask=A");
    assert_eq!(browser.get(&changed).await.status, StatusCode::BAD_REQUEST);
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(browser.get(&url).await.status, StatusCode::BAD_REQUEST);
}

/// A8: the code of a hand-over is good once, soon, on its host, in its browser.
#[tokio::test]
async fn a8_hand_overs_are_bound() {
    let house = House::build().await;
    let enter =
        async |browser: &Browser<'_>| browser.until("https://reports.example.com/r", "alice", ENTER).await.location();
    let (alice, victim) = (house.browser(), house.browser());

    let url = enter(&alice).await;
    assert!(url.starts_with("https://reports.example.com/.claviger/enter?code="));
    assert_eq!(victim.get(&url).await.status, StatusCode::BAD_REQUEST, "another browser");
    assert_eq!(alice.get(&url).await.status, StatusCode::BAD_REQUEST, "and it is used up");

    let url = enter(&alice).await;
    let elsewhere = url.replace("reports", "wiki");
    assert_eq!(alice.get(&elsewhere).await.status, StatusCode::BAD_REQUEST, "another host");

    let url = enter(&alice).await;
    house.clock.advance(Duration::from_secs(30));
    assert_eq!(alice.get(&url).await.status, StatusCode::BAD_REQUEST, "too late");

    let url = enter(&alice).await;
    let session = house.sessions.of_subject(&subject("corp", "alice")).await.unwrap().remove(0);
    house.sessions.end(&session, crate::session::Why::Logout).await.unwrap();
    assert_eq!(alice.get(&url).await.status, StatusCode::BAD_REQUEST, "logged out meanwhile");

    for code in ["", "?code=", "?code=x", "?code=x&code=x"] {
        let page = alice.get(&format!("https://reports.example.com{ENTER}{code}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
    }
    assert!(alice.cookie(REPORTS, TICKET).is_none() && victim.cookie(REPORTS, TICKET).is_none());
    let page = alice.open("https://reports.example.com/r", "alice").await;
    assert_eq!(page.text, "/r sub-of-alice of corp");
}

/// A12: a logout is a person's own step, on our own page.
#[tokio::test]
async fn a12_nobody_is_logged_out_by_another_site() {
    let house = House::build().await;
    let browser = house.browser();
    browser.open(&format!("{PUBLIC}/"), "alice").await;
    let logout = format!("{PUBLIC}/.claviger/logout");
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site"), ("origin", PUBLIC)],
        &[("origin", "https://evil.example.com")],
    ] {
        assert_eq!(browser.send("POST", &logout, headers, "").await.status, StatusCode::BAD_REQUEST);
    }
    let page = browser.get(&logout).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("<form method=\"post\""));
    assert_eq!(browser.get(&format!("{PUBLIC}/")).await.text, "/ sub-of-alice of corp", "still logged in");
    let page = browser.send("POST", &logout, &[("origin", PUBLIC)], "").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(browser.cookie(APPS, TICKET).is_none());
    assert!(browser.get(&logout).await.text.contains("You are logged out"));
}

/// A browser that does not keep tickets is told why, in place of the third redirect.
#[tokio::test]
async fn a_login_that_goes_round_in_circles_is_explained() {
    let house = House::build().await;
    for (start, host, end) in
        [(format!("{PUBLIC}/"), APPS, CALLBACK), ("https://reports.example.com/".to_owned(), REPORTS, ENTER)]
    {
        let browser = house.browser();
        for round in 1..=3 {
            let before = browser.until(&start, "alice", end).await.location();
            let page = browser.get(&before).await;
            if round < 3 {
                assert_eq!(page.status, StatusCode::SEE_OTHER, "{start} {round}: {}", page.text);
                browser.jars.lock().unwrap().get_mut(host).unwrap().remove(TICKET);
            } else {
                assert_eq!(page.status, StatusCode::OK);
                assert!(page.text.contains("goes round in circles") && page.text.contains(host), "{}", page.text);
                assert!(browser.cookie(host, TICKET).is_none());
            }
        }
        house.clock.advance(Duration::from_secs(30));
        let before = browser.until(&start, "alice", end).await.location();
        assert_eq!(browser.get(&before).await.status, StatusCode::SEE_OTHER, "after a while it may try again");
    }
}

#[tokio::test]
async fn an_expired_proof_of_identity_is_no_reason_to_hand_over_the_same_session() {
    let house = House::build().await;
    let browser = house.browser();
    browser.open("https://reports.example.com/", "alice").await;
    let (head, ()) = http::Request::get("/x")
        .header(header::COOKIE, format!("{TICKET}={}", browser.cookie(REPORTS, TICKET).unwrap()))
        .header(header::ACCEPT, "text/html")
        .body(())
        .unwrap()
        .into_parts();
    let visit = super::Visit { head: &head, host: REPORTS, client: [127, 0, 0, 1].into(), request_id: "r-1" };
    let wish = super::Wish { anew: true, ..super::Wish::default() };
    let response = house.door.begin_login(&house.site, &visit, &wish).await.unwrap();
    let to_public = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    let page = browser.get(&format!("{to_public}&source=corp")).await;
    assert!(page.location().starts_with(&house.issuers["corp"]), "{}", page.location());
}

/// A7, A8: a catch-all route answers under names that anybody may point at us. None of them gets a login.
#[tokio::test]
async fn a_host_that_no_route_names_gets_no_login() {
    let house = House::build().await;
    let browser = house.browser();
    browser.open(&format!("{PUBLIC}/"), "alice").await;
    let page = browser.get("https://evil.example/x").await;
    assert_eq!((page.status, page.location()), (StatusCode::UNAUTHORIZED, String::new()));
    assert!(page.text.contains("href=\"https://apps.example.com/\""), "{}", page.text);
    assert!(!page.text.contains("/.claviger/login") && page.headers.get(header::SET_COOKIE).is_none());
    for place in ["login", "login?to=/", "enter?code=x", "me", "logout", "signed-out"] {
        let page = browser.get(&format!("https://evil.example/.claviger/{place}")).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{place}");
    }
    // nor does a login elsewhere lead there
    let page = browser.open(&format!("{PUBLIC}/.claviger/login?to=https://evil.example/x"), "alice").await;
    assert_eq!(page.url.host_str(), Some("apps.example.com"));
}

#[tokio::test]
async fn what_is_not_there_is_not_there() {
    let house = House::build().await;
    let browser = house.browser();
    for (url, status) in [
        ("https://apps.example.com/.claviger/", StatusCode::NOT_FOUND),
        ("https://apps.example.com/.claviger/nothing", StatusCode::NOT_FOUND),
        ("https://reports.example.com/.claviger/callback?state=x&code=y", StatusCode::NOT_FOUND),
        ("https://other.example.com/.claviger/login", StatusCode::NOT_FOUND),
        ("https://apps.example.com/.claviger/me", StatusCode::UNAUTHORIZED),
        ("https://apps.example.com/.claviger/signed-out", StatusCode::OK),
    ] {
        assert_eq!(browser.get(url).await.status, status, "{url}");
    }
    let page = browser.send("DELETE", "https://apps.example.com/.claviger/me", &[], "").await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
}

fn subject(source: &str, name: &str) -> crate::identity::Subject {
    crate::identity::Subject { source: source.into(), id: format!("sub-of-{name}").into() }
}

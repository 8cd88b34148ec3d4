//! The provider over real sockets, asked by a browser and by clients.

#[cfg(feature = "saml")]
mod saml;
mod site;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::clock::epoch_seconds;
use crate::users::User;
use site::{CALLBACK, CHALLENGE, Site, VERIFIER, authorize, encode, people};

#[tokio::test]
async fn a_login_goes_from_the_form_to_tokens() {
    let site = Site::start();
    let browser = site.browser();
    let form = browser.get(&authorize(&[("login_hint", "alice")])).await;
    assert_eq!(form.status, StatusCode::OK);
    assert!(form.text.contains("autocomplete=\"current-password\"") && form.text.contains("value=\"alice\""));
    let back = browser.sign_in(&form, " ALICE ", "alice's own").await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    assert!(back.location().starts_with(&format!("{CALLBACK}&code=")), "{}", back.location());
    assert_eq!((back.parameter("state"), back.parameter("iss")), ("st/ate&1".into(), site.issuer.clone()));

    let (status, tokens) = site.redeem("app", &back.parameter("code")).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    let claims = site.claims(&tokens, "app").await;
    let expected = json!({
        "sub": "sub-of-alice", "name": "alice <Doe>", "email": "alice@example.com", "email_verified": true,
        "preferred_username": "alice", "groups": ["staff"], "department": "finance", "nonce": "n-1", "azp": "app",
        "auth_time": epoch_seconds(site.clock.now()),
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(claims.get(name), Some(value), "{name}");
    }
    assert!(claims.contains_key("sid") && claims.contains_key("at_hash"));
    let info: Value = serde_json::from_str(&site.userinfo(&tokens).await.text).unwrap();
    assert_eq!((&info["sub"], &info["department"]), (&json!("sub-of-alice"), &json!("finance")));
    assert!(info.get("iss").is_none());
}

#[tokio::test]
async fn a_session_serves_other_clients_until_it_must_not() {
    let site = Site::start();
    let browser = site.browser();
    assert_eq!(browser.get(&authorize(&[("prompt", "none")])).await.parameter("error"), "login_required");
    let first = browser.code(&authorize(&[])).await;
    let again = browser.get(&authorize(&[("client_id", "other"), ("prompt", "none")])).await;
    assert!(!again.parameter("code").is_empty() && again.parameter("code") != first);
    assert_eq!(browser.get(&authorize(&[("prompt", "login")])).await.status, StatusCode::OK);
    assert_eq!(browser.get(&authorize(&[("max_age", "0")])).await.status, StatusCode::OK);
    assert_eq!(browser.get(&authorize(&[("max_age", "60")])).await.status, StatusCode::SEE_OTHER);
    site.clock.advance(Duration::from_secs(61));
    assert_eq!(browser.get(&authorize(&[("max_age", "60")])).await.status, StatusCode::OK);
    site.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(browser.get(&authorize(&[])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_public_client_redeems_by_its_verifier_alone() {
    let site = Site::start();
    let uri = "http://127.0.0.1:49152/cb"; // registered without a port
    let code = site.browser().code(&authorize(&[("client_id", "tool"), ("redirect_uri", uri)])).await;
    let mut form = vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", uri)];
    assert_eq!(site.post_as_tool("/token", &form).await["error"], "invalid_grant");
    form.push(("code_verifier", VERIFIER));
    let tokens = site.post_as_tool("/token", &form).await;
    assert_eq!(site.claims(&tokens, "tool").await.get("aud"), Some(&json!("tool")));
}

#[tokio::test]
async fn requests_that_can_be_answered_are_refused_at_the_client() {
    let site = Site::start();
    let browser = site.browser();
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("request", "e30.e30.")], "request_not_supported"),
        (&[("request_uri", "https://evil.test/r")], "request_uri_not_supported"),
    ];
    for (changes, error) in cases {
        let back = browser.get(&authorize(changes)).await;
        assert!(back.location().starts_with(CALLBACK), "{changes:?}");
        let told = (back.parameter("error"), back.parameter("state"), back.parameter("iss"));
        assert_eq!(told, (error.into(), "st/ate&1".into(), site.issuer.clone()), "{changes:?}");
    }
    let tool = [
        ("client_id", "tool"),
        ("redirect_uri", "http://127.0.0.1:5/cb"),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ];
    assert_eq!(browser.get(&authorize(&tool)).await.parameter("error"), "invalid_request");
}

/// A7, CVE-2026-28512, CVE-2026-9689: a page, and never a redirect.
#[tokio::test]
async fn a7_nobody_is_sent_to_an_address_that_is_not_registered() {
    let site = Site::start();
    let browser = site.browser();
    let mut queries: Vec<String> = [
        "https://app.example.com@evil.test/cb?from=op",
        "https://app.example.com.evil.test/cb?from=op",
        "https://app.example.com/cb",
        "https://app.example.com/cb?from=op&x=1",
        "https://app.example.com/cb?from=op#x",
        "//app.example.com/cb?from=op",
        "https:app.example.com/cb?from=op",
        "javascript:alert(1)",
        "",
    ]
    .iter()
    .map(|uri| authorize(&[("redirect_uri", uri)]))
    .collect();
    queries.push(authorize(&[("client_id", "nobody")]));
    queries.push(authorize(&[("client_id", "")]));
    queries.push(format!("{}&redirect_uri=https://evil.test/", authorize(&[])));
    queries.push(format!("{}&state=2", authorize(&[])));
    queries.push(format!("{}&st%61te=2", authorize(&[])));
    queries.push(authorize(&[("state", &"s".repeat(20_000))]));
    for query in queries {
        let page = browser.get(&query).await;
        assert_eq!((page.status, page.location()), (StatusCode::BAD_REQUEST, ""), "{query}");
    }
}

/// A8: each of these has a good code in hand, and lacks what it was bound to.
#[tokio::test]
async fn a8_codes_are_bound_and_good_once() {
    let site = Site::start();
    let browser = site.browser();
    let code = browser.code(&authorize(&[])).await;
    let form = |changes: &[(&'static str, &'static str)]| {
        let mut form = BTreeMap::from([
            ("grant_type", "authorization_code"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ]);
        form.extend(changes.iter().copied());
        form.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>()
    };
    let code_of_app = ("code", code.as_str());
    let cases = [
        ("app", form(&[("code_verifier", CHALLENGE)]), "invalid_grant"),
        ("app", form(&[("code_verifier", "")]), "invalid_grant"),
        ("app", form(&[("redirect_uri", "https://app.example.com/cb")]), "invalid_grant"),
        ("app", form(&[("redirect_uri", "")]), "invalid_grant"),
        ("other", form(&[]), "invalid_grant"), // CVE-2026-55768
        ("app", form(&[("grant_type", "password")]), "unsupported_grant_type"),
        ("app", form(&[("client_secret", "app's secret")]), "invalid_client"), // two proofs
        ("nobody", form(&[]), "invalid_client"),
    ];
    for (client, mut form, error) in cases {
        form.push(code_of_app);
        let (status, answer) = site.post("/token", client, &form).await;
        assert!(status.is_client_error(), "{form:?}");
        assert_eq!(answer["error"], error, "{form:?}");
    }
    let public =
        [("grant_type", "authorization_code"), code_of_app, ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    assert_eq!(site.post_as_tool("/token", &public).await["error"], "invalid_grant");

    let (_, tokens) = site.redeem("app", &code).await;
    assert_eq!(site.userinfo(&tokens).await.status, StatusCode::OK);
    assert_eq!(site.redeem("app", &code).await.1["error"], "invalid_grant");
    assert_eq!(site.userinfo(&tokens).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.refresh(&tokens).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn refreshing_rotates_and_reuse_revokes() {
    let site = Site::start();
    let (_, first) = site.redeem("app", &site.browser().code(&authorize(&[])).await).await;
    site.clock.advance(Duration::from_secs(240));
    let (status, second) = site.refresh(&first).await;
    assert_eq!(status, StatusCode::OK);
    let claims = site.claims(&second, "app").await;
    assert_eq!(claims.get("auth_time"), Some(&json!(epoch_seconds(site.clock.now()) - 240)));
    assert!(!claims.contains_key("nonce"));
    assert_eq!(site.refresh(&first).await.1["error"], "invalid_grant");
    assert_eq!(site.refresh(&second).await.1["error"], "invalid_grant");
    assert_eq!(site.userinfo(&second).await.status, StatusCode::UNAUTHORIZED);
}

/// CVE-2026-43983, A34.
#[tokio::test]
async fn a34_who_is_disabled_goes_nowhere() {
    let site = Site::start();
    let browser = site.browser();
    let (_, tokens) = site.redeem("app", &browser.code(&authorize(&[])).await).await;
    let pending = browser.code(&authorize(&[])).await;
    site.users.replace(people().into_iter().map(|user| User { disabled: true, ..user }).collect()).unwrap();
    assert_eq!(site.userinfo(&tokens).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.refresh(&tokens).await.1["error"], "invalid_grant");
    assert_eq!(site.redeem("app", &pending).await.1["error"], "invalid_grant");
    assert_eq!(browser.get(&authorize(&[])).await.status, StatusCode::OK, "the session is no good either");
    site.users.replace(people()).unwrap();
    assert_eq!(site.refresh(&tokens).await.1["error"], "invalid_grant", "the tokens stay revoked");
}

#[tokio::test]
async fn a31_failures_look_alike_and_lock_the_name() {
    let site = Site::start();
    let browser = site.browser();
    let form = browser.get(&authorize(&[])).await;
    let wrong = browser.sign_in(&form, "alice", "wrong").await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    for (name, password) in [("nobody", "wrong"), ("carol", "carol's own")] {
        let page = browser.sign_in(&form, name, password).await;
        assert_eq!(page.status, wrong.status);
        assert_eq!(page.text.replace(name, "alice"), wrong.text, "{name}");
    }
    for alias in ["Alice", "alice ", "ALICE", " alice"] {
        browser.sign_in(&form, alias, "wrong").await;
    }
    let locked = browser.sign_in(&form, "aLice", "alice's own").await;
    assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS);
    let seconds = locked.headers["retry-after"].to_str().unwrap().parse().unwrap();
    site.clock.advance(Duration::from_secs(seconds));
    assert_eq!(browser.sign_in(&form, "aLice", "alice's own").await.status, StatusCode::SEE_OTHER);
}

/// A8, A12: forms of another browser's, or changed on the way, sign nobody in.
#[tokio::test]
async fn a8_a_login_form_is_good_in_its_own_browser_only() {
    let site = Site::start();
    let (victim, attacker) = (site.browser(), site.browser());
    let form = attacker.get(&authorize(&[])).await;
    victim.get(&authorize(&[])).await;
    assert_eq!(victim.sign_in(&form, "alice", "alice's own").await.status, StatusCode::BAD_REQUEST);
    let (next, seal) = (form.hidden("next"), form.hidden("seal"));
    let changed = next.replace("client_id=app", "client_id=other");
    assert_ne!(next, changed);
    for (next, seal) in
        [(changed.as_str(), seal.as_str()), (&next, ""), (&next, "AAAA"), ("https://evil.test", &seal), ("", &seal)]
    {
        let form = [("next", next), ("seal", seal), ("username", "alice"), ("password", "alice's own")];
        let page = attacker.post("/sign-in", &form).await;
        assert_eq!((page.status, page.location()), (StatusCode::BAD_REQUEST, ""), "{next} {seal}");
    }
    // A10: a session is never one that was there before the login
    let before: Vec<_> = attacker.cookies.lock().unwrap().values().cloned().collect();
    attacker.sign_in(&form, "alice", "alice's own").await;
    let session = attacker.cookies.lock().unwrap().iter().find(|(name, _)| !name.contains("form")).unwrap().1.clone();
    assert!(!before.contains(&session));
}

/// A11: whatever a parameter holds, the page shows it as text.
#[tokio::test]
async fn a11_parameters_are_shown_as_text() {
    const POLYGLOT: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}";
    let site = Site::start();
    let browser = site.browser();
    let form = browser.get(&authorize(&[("state", POLYGLOT), ("login_hint", "\"><script>")])).await;
    let again = browser.sign_in(&form, POLYGLOT, "wrong").await;
    let pages = [
        form,
        again,
        browser.get(&authorize(&[("client_id", POLYGLOT)])).await,
        browser.get(&authorize(&[("redirect_uri", POLYGLOT)])).await,
        browser.get(&format!("/device?{}", encode(&[("user_code", POLYGLOT)]))).await,
        browser.get(&format!("/sign-out?{}", encode(&[("post_logout_redirect_uri", POLYGLOT)]))).await,
        browser.get("/nothing%22%3E%3Cscript%3E").await,
    ];
    for page in pages {
        assert!(!page.text.contains("<script") && !page.text.contains("<img"), "{}", page.text);
        assert!(page.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert_eq!(page.headers["x-frame-options"], "DENY");
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    let back = browser.get(&authorize(&[("state", POLYGLOT), ("prompt", "none")])).await;
    assert_eq!(back.parameter("state"), POLYGLOT);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_its_tokens() {
    let site = Site::start();
    let browser = site.browser();
    let (_, tokens) = site.redeem("app", &browser.code(&authorize(&[])).await).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let leave = |uri: &str| {
        format!("/sign-out?{}", encode(&[("id_token_hint", hint), ("post_logout_redirect_uri", uri), ("state", "s1")]))
    };
    for uri in [
        "https://evil.test/",
        "https://app.example.com",
        "https://app.example.com/x",
        "https://app.example.com@evil.test/",
    ] {
        let page = browser.get(&leave(uri)).await;
        assert_eq!((page.status, page.location()), (StatusCode::BAD_REQUEST, ""), "{uri}");
    }
    site.clock.advance(Duration::from_secs(3600)); // the hint has expired, and is a hint still
    let back = browser.get(&leave("https://app.example.com/")).await;
    assert_eq!(back.location(), "https://app.example.com/?state=s1");
    assert_eq!(browser.get(&authorize(&[("prompt", "none")])).await.parameter("error"), "login_required");
    assert_eq!(site.refresh(&tokens).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn signing_out_without_a_hint_asks_first() {
    let site = Site::start();
    let (browser, attacker) = (site.browser(), site.browser());
    browser.code(&authorize(&[])).await;
    let ask = browser.get("/sign-out?client_id=app&post_logout_redirect_uri=https://app.example.com/").await;
    assert!(ask.text.contains("Sign out?") && ask.text.contains("alice &#60;Doe&#62;"), "{}", ask.text);
    let form = [("next", &*ask.hidden("next")), ("seal", &ask.hidden("seal"))];
    attacker.post("/sign-out", &form).await;
    assert_eq!(browser.get(&authorize(&[])).await.status, StatusCode::SEE_OTHER, "still signed in");
    let done = browser.post("/sign-out", &form).await;
    assert_eq!(done.location(), "https://app.example.com/");
    assert_eq!(browser.get(&authorize(&[])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_device_signs_in_once_someone_confirms() {
    let site = Site::start();
    let browser = site.browser();
    let (_, refused) = site.post("/device-authorization", "app", &[("scope", "openid")]).await;
    assert_eq!(refused["error"], "unauthorized_client");
    let begun = site.post_as_tool("/device-authorization", &[("scope", "openid")]).await;
    let device_code = begun["device_code"].as_str().unwrap();
    let poll = || async {
        site.post_as_tool("/token", &[("grant_type", super::token::DEVICE_CODE), ("device_code", device_code)]).await
    };
    assert_eq!(poll().await["error"], "authorization_pending");
    assert_eq!(poll().await["error"], "slow_down");

    let link = begun["verification_uri_complete"].as_str().unwrap().strip_prefix(&site.issuer).unwrap();
    let form = browser.get(link).await;
    let on = browser.sign_in(&form, "alice", "alice's own").await;
    assert_eq!(on.location(), format!("{}{link}", site.issuer));
    let confirm = browser.get(link).await;
    let user_code = begun["user_code"].as_str().unwrap();
    assert!(confirm.text.contains("Did you start this?") && confirm.text.contains(user_code));
    site.clock.advance(Duration::from_secs(20));
    assert_eq!(poll().await["error"], "authorization_pending", "a link alone confirms nothing");
    let decide = |seal: String| {
        let browser = &browser;
        async move { browser.post("/device", &[("user_code", user_code), ("decision", "allow"), ("seal", &seal)]).await }
    };
    assert_eq!(decide("AAAA".into()).await.status, StatusCode::BAD_REQUEST);
    assert!(decide(confirm.hidden("seal")).await.text.contains("Signed in on the device"));
    let tokens = poll().await;
    assert_eq!(site.claims(&tokens, "tool").await.get("sub"), Some(&json!("sub-of-alice")));
    assert_eq!(poll().await["error"], "invalid_grant");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let refreshed = site.post_as_tool("/token", &refresh).await;
    assert!(refreshed.get("id_token").is_none() && refreshed.get("access_token").is_some(), "as the client is set up");
}

#[tokio::test]
async fn a_device_can_be_refused_and_codes_not_guessed() {
    let site = Site::start();
    let browser = site.browser();
    let begun = site.post_as_tool("/device-authorization", &[]).await;
    let form = browser.get("/device").await;
    browser.sign_in(&form, "alice", "alice's own").await;
    let typed = begun["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    let confirm = browser.post("/device", &[("user_code", &typed)]).await;
    let refuse = [("user_code", &*typed), ("decision", "refuse"), ("seal", &confirm.hidden("seal"))];
    assert!(browser.post("/device", &refuse).await.text.contains("Refused"));
    let poll = [("grant_type", super::token::DEVICE_CODE), ("device_code", begun["device_code"].as_str().unwrap())];
    assert_eq!(site.post_as_tool("/token", &poll).await["error"], "access_denied");
    for _ in 0..10 {
        browser.post("/device", &[("user_code", "BBBB-BBBB")]).await;
    }
    let begun = site.post_as_tool("/device-authorization", &[]).await;
    let late = browser.post("/device", &[("user_code", begun["user_code"].as_str().unwrap())]).await;
    assert!(late.text.contains("Too many codes"), "a right one after ten wrong ones is not looked at");
    assert_eq!(browser.get(&authorize(&[])).await.status, StatusCode::SEE_OTHER, "the session goes on");
}

#[tokio::test]
async fn tokens_of_the_key_before_still_verify() {
    let site = Site::start();
    let (_, before) = site.redeem("app", &site.browser().code(&authorize(&[])).await).await;
    site.provider.rotate().unwrap();
    let (_, after) = site.refresh(&before).await;
    assert!(
        site.claims(&before, "app").await.contains_key("sub") && site.claims(&after, "app").await.contains_key("sub")
    );
    let kid = |tokens: &Value| tokens["id_token"].as_str().unwrap().split('.').next().unwrap().to_owned();
    assert_ne!(kid(&before), kid(&after));
    let revoke = [("token", after["refresh_token"].as_str().unwrap())];
    assert_eq!(site.post("/revoke", "other", &revoke).await.0, StatusCode::OK);
    assert_eq!(site.userinfo(&after).await.status, StatusCode::OK, "another client can't revoke it");
    assert_eq!(site.post("/revoke", "app", &revoke).await.0, StatusCode::OK);
    assert_eq!(site.userinfo(&after).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_what_is_announced_is_there() {
    let site = Site::start();
    let browser = site.browser();
    let document: Value = serde_json::from_str(&browser.get("/.well-known/openid-configuration").await.text).unwrap();
    assert_eq!(document["issuer"], site.issuer);
    for (name, url) in
        document.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
    {
        let path = url.as_str().unwrap().strip_prefix(&site.issuer).unwrap();
        assert_ne!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{name}");
    }
    for (path, status) in [("/", 404), ("/authorize/", 404), ("/op/authorize", 404), ("/token", 405), ("/sign-in", 405)]
    {
        assert_eq!(browser.get(path).await.status.as_u16(), status, "{path}");
    }
    let outside = http::Request::get(site.issuer.replace("/op", "/authorize")).body(Bytes::new()).unwrap();
    assert_eq!(site.send(outside).await.status, StatusCode::NOT_FOUND);
}

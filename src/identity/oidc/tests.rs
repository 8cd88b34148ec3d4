//! The section's keys, and logins at a provider over sockets.

mod idp;

use serde_json::json;

use super::*;
use crate::built_in::{Environment, Surroundings, build};
use crate::clock::{ManualClock, SystemClock};
use crate::identity::{BUILT_INS, LoginError, LoginMemory, Onward, RenewError, SignedIn};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use idp::{Idp, alice};

fn materials() -> Materials {
    Materials {
        fetch: Arc::new(Fetch::new(&Trust::system())),
        metrics: Metrics::new(),
        keys: crate::identity::IssuedKeys::passing(),
    }
}

fn surroundings() -> Surroundings {
    let environment = Environment::from_iter([("OIDC_SECRET".to_owned(), "canary".to_owned())]);
    Surroundings::new(".", environment)
}

fn source(text: &str) -> Result<Arc<dyn IdentitySource>, SettingsError> {
    let (surroundings, clock): (_, Arc<dyn Clock>) = (surroundings(), Arc::new(SystemClock));
    let table = toml::from_str(text).unwrap();
    let settings = Settings { name: "corp", table, surroundings: &surroundings, clock: &clock };
    build(BUILT_INS, settings, &materials())
}

#[test]
fn the_example_builds_and_shows_no_secret() {
    let source = source(BUILT_IN.example).unwrap();
    assert!(!format!("{source:?}").contains("canary"));
    assert_eq!(source.login().unwrap().label(), "Corporate account");
    assert_eq!(source.trouble(), None, "nothing is fetched before it is needed");
}

#[test]
fn wrong_sections_name_the_key() {
    let good = "kind = \"oidc\"\nclient_id = \"claviger\"\nissuer = \"https://idp.example.com\"\n";
    assert!(source(good).is_ok(), "a public client");
    for (text, key) in [
        (format!("{good}extra = 1"), "extra"),
        (format!("{good}client_secret = \"in the open\""), "client_secret"),
        (format!("{good}client_secret = {{ env = \"NOT_SET\" }}"), "client_secret"),
        (format!("{good}login_parameters = {{ redirect_uri = \"https://evil.example\" }}"), "redirect_uri"),
        (good.replace("https://idp", "http://idp"), "issuer"),
        (good.replace("example.com", "example.com/?a=b"), "issuer"),
        (good.replace("https://idp.example.com", "mailto:idp"), "issuer"),
        (good.replace("\"claviger\"", "\"\""), "client_id"),
    ] {
        let error = source(&text).unwrap_err();
        assert!(error.to_string().contains(key), "{text}: {error}");
    }
    for loopback in
        ["http://127.0.0.1:9000/realms/x", "http://[::1]:9000", "http://localhost:9000", "http://idp.localhost"]
    {
        assert!(source(&good.replace("https://idp.example.com", loopback)).is_ok(), "{loopback}");
    }
}

async fn renew(source: &Arc<dyn IdentitySource>, old: &SignedIn) -> Result<SignedIn, RenewError> {
    source.login().unwrap().renew(&old.subject, &old.tokens).await
}

fn groups(signed_in: &SignedIn) -> Vec<&str> {
    signed_in.claims.texts("groups").collect()
}

#[tokio::test]
async fn a_login_brings_claims_and_tokens() {
    let idp = Idp::start(true);
    let signed_in = idp.log_in(&idp.source("")).await.unwrap();
    assert_eq!((&*signed_in.subject.source, &*signed_in.subject.id), ("corp", "sub-of-alice"));
    assert_eq!(groups(&signed_in), ["staff"]);
    assert_eq!(signed_in.claims.value("email_verified"), Some(&json!(false)));
    assert!(signed_in.at_provider.is_some() && signed_in.tokens.refresh.is_some());
    let id_token = signed_in.tokens.id.unwrap();
    assert_eq!(id_token.ends, idp.clock.now() + Duration::from_secs(300));
}

#[tokio::test]
async fn a_public_client_has_no_secret() {
    let idp = Idp::start(true);
    let source = idp.source("client_id = \"public\"");
    let signed_in = idp.log_in(&source).await.unwrap();
    assert!(renew(&source, &signed_in).await.is_ok());
}

#[tokio::test]
async fn groups_come_from_the_configured_claim_only() {
    let idp = Idp::start(true);
    for (claim, expected) in [("realm.roles", &["reader"][..]), ("nothing.there", &[])] {
        let source = idp.source(&format!("groups_claim = \"{claim}\""));
        assert_eq!(groups(&idp.log_in(&source).await.unwrap()), expected, "{claim}");
    }
}

/// A8: each with an answer that is good but for one thing.
#[tokio::test]
async fn a8_a_login_ends_as_it_was_begun() {
    let idp = Idp::start(true);
    let source = idp.source("");
    for name in ["state", "nonce", "verifier", "issuer", "redirect_uri"] {
        let (returned, LoginMemory(mut memory)) = idp.answer(&source).await;
        memory[name] = json!("https://other.example/");
        let outcome = source.login().unwrap().finish(&returned, &LoginMemory(memory)).await;
        assert!(matches!(outcome, Err(LoginError::Refused(_))), "{name}: {outcome:?}");
    }
    let (returned, memory) = idp.answer(&source).await;
    assert!(source.login().unwrap().finish(&returned, &memory).await.is_ok());
    let outcome = source.login().unwrap().finish(&returned, &memory).await;
    assert!(matches!(outcome, Err(LoginError::Refused(_))), "a replayed code");
}

#[tokio::test]
async fn an_expired_id_token_is_none() {
    let idp = Idp::start(true);
    let source = idp.source("");
    let (returned, memory) = idp.answer(&source).await;
    let late = idp.source_by(Arc::new(ManualClock::at(1_800_000_400)), "");
    let outcome = late.login().unwrap().finish(&returned, &memory).await;
    assert!(matches!(outcome, Err(LoginError::Refused(_))), "{outcome:?}");
}

#[tokio::test]
async fn renewals_bring_what_is_true_now() {
    for (id_token_on_refresh, rest) in [(true, ""), (true, "userinfo = true"), (false, "userinfo = true")] {
        let idp = Idp::start(id_token_on_refresh);
        let source = idp.source(rest);
        let first = idp.log_in(&source).await.unwrap();
        idp.clock.advance(Duration::from_secs(250));
        // CVE-2021-41230: a group that is taken away is gone after the next renewal
        idp.users.replace(vec![alice(&[], false)]).unwrap();
        let second = renew(&source, &first).await.unwrap();
        assert!(groups(&second).is_empty(), "{id_token_on_refresh} {rest}");
        assert_eq!(second.subject, first.subject);
        let (old, new) = (first.tokens.id.clone().unwrap(), second.tokens.id.clone().unwrap());
        assert_eq!(new.ends > old.ends, id_token_on_refresh, "without a new ID token the old one is kept");
        let (old, new) = (first.tokens.refresh.clone().unwrap(), second.tokens.refresh.clone().unwrap());
        assert!(!new.matches(old.expose()), "the refresh token rotates");
        assert!(renew(&source, &second).await.is_ok());
    }
}

#[tokio::test]
async fn without_a_new_id_token_the_claims_stay() {
    let idp = Idp::start(false);
    let source = idp.source("");
    let first = idp.log_in(&source).await.unwrap();
    let second = renew(&source, &first).await.unwrap();
    assert_eq!((groups(&second), second.claims.text("name")), (vec!["staff"], Some("Alice".into())));
}

/// A34, CVE-2026-43983.
#[tokio::test]
async fn who_is_disabled_is_not_renewed() {
    let idp = Idp::start(true);
    let source = idp.source("");
    let first = idp.log_in(&source).await.unwrap();
    idp.users.replace(vec![alice(&["staff"], true)]).unwrap();
    assert!(matches!(renew(&source, &first).await, Err(RenewError::Ended(_))));
}

/// A21: tokens of one subject don't renew another's login.
#[tokio::test]
async fn a21_a_renewal_stays_with_its_subject() {
    let idp = Idp::start(true);
    let source = idp.source("");
    let mut first = idp.log_in(&source).await.unwrap();
    first.subject.id = "sub-of-bob".into();
    assert!(matches!(renew(&source, &first).await, Err(RenewError::Ended(_))));
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched() {
    let idp = Idp::start(true);
    let source = idp.source("");
    let first = idp.log_in(&source).await.unwrap();
    idp.provider.rotate().unwrap();
    idp.clock.advance(Duration::from_secs(60));
    assert!(renew(&source, &first).await.is_ok());
}

#[tokio::test]
async fn a_provider_that_is_down_is_unavailable_and_recovers() {
    let idp = Idp::start(true);
    let source = idp.source("userinfo = true");
    *idp.broken.lock().unwrap() = Some("/.well-known/openid-configuration");
    let callback = "https://apps.example.com/.claviger/callback".parse().unwrap();
    assert!(matches!(source.login().unwrap().begin(&callback, false).await, Err(LoginError::Unavailable(_))));
    assert!(source.trouble().is_some());
    idp.clock.advance(Duration::from_secs(600));
    *idp.broken.lock().unwrap() = None;
    let first = idp.log_in(&source).await.unwrap();
    assert_eq!(source.trouble(), None);

    *idp.broken.lock().unwrap() = Some("/token");
    assert!(matches!(renew(&source, &first).await, Err(RenewError::Unavailable(_))));
    assert!(source.trouble().unwrap().contains("token endpoint"), "good documents don't hide it");
    // the tokens are new when userinfo fails: they must not get lost
    *idp.broken.lock().unwrap() = Some("/userinfo");
    let Err(RenewError::Incomplete { tokens, .. }) = renew(&source, &first).await else { panic!("incomplete") };
    *idp.broken.lock().unwrap() = None;
    let second = SignedIn { tokens: *tokens, ..first };
    assert!(renew(&source, &second).await.is_ok());
}

#[tokio::test]
async fn leaving_names_the_login_and_the_way_back() {
    let idp = Idp::start(true);
    let source = idp.source("");
    let signed_in = idp.log_in(&source).await.unwrap();
    let back = "https://apps.example.com/.claviger/signed-out".parse().unwrap();
    let leave = source.login().unwrap().leave(&signed_in.tokens, &back).await.unwrap();
    let Onward::Redirect(url) = leave.to else { panic!("a redirect") };
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query["post_logout_redirect_uri"], "https://apps.example.com/.claviger/signed-out");
    assert_eq!(query["client_id"], "claviger");
    assert!(signed_in.tokens.id.unwrap().text.matches(&query["id_token_hint"]));
}

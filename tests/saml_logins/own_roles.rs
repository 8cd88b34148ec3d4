//! From our own provider's form to requests that are signed with the person's own role, in each of the three ways.

use std::sync::Arc;
use std::time::Duration;

use claviger::authority::{Account, Authority, PolicyText};
use claviger::clock::{Clock, SystemClock};
use claviger::fetch::Fetch;
use claviger::provider::{AwsAttributes, Lifetimes, RelyingParty};
use claviger::saml::{ExpectedMessage, Guarded, Kind, Redirected, Requested, SKEW};
use claviger::secret::Secret;
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use http::{Method, StatusCode};
use serde_json::json;
use url::Url;

use super::our_provider::provider_of;
use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::own_keys::{OWN_KEY, OWN_SECRET};
use crate::support::place::Place;
use crate::support::saml_idp::{ENTITY_ID, KEYS, plan_of};
use crate::support::side::Side;
use crate::support::tap::Tap;
use crate::support::world::{PASSWORD, World, until};

const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/corp";
const ROLE: &str = "arn:aws:iam::123456789012:role/saml";

/// The ways to a role: by the response, by a token of ours, by keys of ours.
const WAYS: &str = r#"
aws = {}

[credentials.shown]
kind = "saml"
region = "eu-west-1"
endpoint = "http://STS"

[credentials.own]
kind = "assume_role"
region = "eu-west-1"
endpoint = "{authority}"
external_id = "agreed-on"
base = ["environment"]

[route.shown]
host = "*"
path = "/shown"
upstream = "{upstream}"
identity = ["corp"]
credentials = "shown"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/saml-{claims.department}"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.minted]
host = "*"
path = "/minted"
upstream = "{upstream}"
identity = ["corp"]
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{claims.department}"
tags = { department = "{claims.department}" }
source_identity = "{subject.id}"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.own]
host = "*"
path = "/own"
upstream = "{upstream}"
identity = ["corp"]
credentials = "own"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/own"
tags = { department = "{claims.department}" }
source_identity = "{subject.id}"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// A claviger between our own SAML provider and an STS where that is registered.
struct Corp {
    world: World,
    idp: Side,
    sts: Side,
    sts_tap: Arc<Tap>,
    authority: Arc<Authority>,
}

impl Corp {
    async fn start(lifetimes: Lifetimes) -> Self {
        let (idp, sts) = (Place::reserve(), Place::reserve());
        // all three name each other: the metadata is written before there is a claviger to send people to
        let metadata = provider_of(&idp, None, lifetimes, for_aws).saml_metadata().unwrap();
        let ways = WAYS.replace("STS", &sts.at().to_string());
        let plan = plan_of(&format!("metadata_file = \"ours.xml\"\n{KEYS}\n{ways}")).file("ours.xml", &metadata);
        let plan = plan.variable("AWS_ACCESS_KEY_ID", OWN_KEY).variable("AWS_SECRET_ACCESS_KEY", OWN_SECRET);
        let world = plan.start().await;

        let provider = provider_of(&idp, Some(&world), lifetimes, for_aws);
        let idp = Side::new("idp", idp, provider);
        idp.start();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let authority = Authority::new(account(&metadata), &fetch, clock, &Metrics::new());
        let sts_tap = Tap::on(Arc::clone(&authority) as _);
        let sts = Side::new("sts", sts, Arc::clone(&sts_tap) as _);
        sts.start();
        Self { world, idp, sts, sts_tap, authority }
    }

    /// Somebody opens a page, fills in the provider's form, and is brought back.
    async fn log_in(&self, browser: &mut Browser, path: &str, name: &str) -> Answer {
        let form = browser.open(&self.world.url(path)).await;
        assert!(form.text().contains("autocomplete=\"current-password\""), "{} {}", form.status, form.text());
        let page = browser.submit(&form, &[("username", name), ("password", PASSWORD)]).await;
        browser.submit(&page, &[]).await
    }

    /// How often STS was shown a response.
    fn shown(&self) -> u64 {
        self.authority.calls("AssumeRoleWithSAML")
    }
}

/// As Okta and OneLogin can have it: the answer is sent to claviger, and made for AWS.
fn for_aws(party: &mut RelyingParty) {
    party.recipient = Some("https://signin.aws.amazon.com/saml".to_owned());
    party.audience = Some("urn:amazon:webservices".to_owned());
    party.aws = Some(AwsAttributes {
        provider: PROVIDER.to_owned(),
        roles: vec![format!("{ROLE}-{{department}}")],
        session_name: "email".to_owned(),
        tags: [("department".to_owned(), "department".to_owned())].into(),
        transitive_tags: Vec::new(),
        source_identity: Some("preferred_username".to_owned()),
        session_duration: Some(3600), // as long as the role allows, which STS is then asked for at once
    });
}

/// The role of the finance department, for whoever the provider says is of it.
fn account(metadata: &str) -> Account {
    let mut account = Account::new("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap());
    let provider = account.add_saml_provider("corp", metadata.as_bytes(), &[], &[]).unwrap();
    assert_eq!(provider, PROVIDER);
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "Federated": provider },
        "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": { "StringEquals": {
            "SAML:aud": "https://signin.aws.amazon.com/saml",
            "aws:RequestTag/department": "finance",
        } },
    }]});
    for department in ["finance", "engineering"] {
        let trust = PolicyText::Json(trust.to_string());
        account.add_role(&format!("saml-{department}"), trust, Duration::from_secs(3600)).unwrap();
    }
    account.set_verdict_token(Secret::new("verdict-token"));
    account
}

#[tokio::test]
async fn the_response_of_a_login_signs_the_request() {
    let mut corp = Corp::start(Lifetimes::default()).await;
    let mut browser = Browser::default();
    let answer = corp.log_in(&mut browser, "/shown/q3?draft=1", "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let again = browser.open(&corp.world.url("/shown/q4")).await;
    assert_eq!((again.status, corp.shown()), (StatusCode::OK, 1), "{}", again.text());

    corp.world.authority_at = corp.sts.at();
    let seen = corp.world.upstream.seen();
    assert_eq!(seen.iter().map(|seen| &*seen.target).collect::<Vec<_>>(), ["/shown/q3?draft=1", "/shown/q4"]);
    let me = corp.world.get("/.claviger/me", &corp.world.cookie(&browser)).await.json();
    for seen in &seen {
        let signer = corp.world.signer(seen, "s3").await;
        assert_eq!(
            (&signer["role"], &signer["session_name"], &signer["source_identity"], &signer["tags"]),
            (
                &json!(format!("{ROLE}-finance")),
                &json!("alice@example.com"),
                &json!("alice"),
                &json!({"department": "finance"})
            ),
            "{signer}"
        );
        assert_eq!((&signer["subject"], &me["source"]), (&me["subject"], &json!("corp")), "{signer}");
    }
    // bob's own role is one that STS does not give him, and alice's is not his
    let answer = corp.log_in(&mut Browser::default(), "/shown/q3", "bob").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(answer.text().contains("role/saml-engineering"), "{}", answer.text());
    assert_eq!(corp.world.upstream.seen().len(), 2);
    // A36: the response is a proof of identity for as long as STS takes it
    let said = corp.sts_tap.said();
    let shown = form_urlencoded::parse(said[0].asked.as_bytes()).find(|(name, _)| name == "SAMLAssertion");
    let shown = shown.unwrap().1;
    assert!(shown.len() > 1000 && !corp.world.log().await.join("\n").contains(&shown[..100]));
}

/// STS takes a response for so long only, so keys can't be renewed then: the provider is asked anew, and the person is not.
#[tokio::test]
async fn when_response_and_keys_have_ended_the_browser_logs_in_anew_and_goes_on() {
    let corp = Corp::start(Lifetimes { assertion: Duration::from_secs(4), ..Lifetimes::default() }).await;
    corp.sts_tap.credentials_live(Duration::from_secs(1));
    let (mut browser, page) = (Browser::default(), corp.world.url("/shown/q3?draft=1"));
    let answer = corp.log_in(&mut browser, "/shown/q3?draft=1", "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let before = corp.world.cookie(&browser);
    let sent = until(async || browser.step(&page).await, |answer| answer.status != StatusCode::OK).await;

    let to = Url::parse(sent.location()).unwrap();
    let sign_on = to.as_str().split('?').next().unwrap();
    assert!(sign_on.starts_with(&format!("http://{}/", corp.idp.at())), "{to}");
    let redirected = Redirected::read(to.query().unwrap()).unwrap();
    let guarded = Guarded::new(redirected.document(), Kind::AuthnRequest).unwrap();
    let now = SystemClock.now();
    let expected = ExpectedMessage { issuer: ENTITY_ID, destination: sign_on, now, skew: SKEW };
    assert!(Requested::unverified(&guarded, &expected).unwrap().is_passive);

    let (shown, seen) = (corp.shown(), corp.world.upstream.seen().len());
    let form = browser.open(to.as_str()).await;
    assert!(form.text().contains("name=\"SAMLResponse\"") && !form.text().contains("password"), "{}", form.text());
    let answer = browser.submit(&form, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let last = corp.world.upstream.last();
    assert_eq!(
        (&*last.target, corp.world.upstream.seen().len(), corp.shown()),
        ("/shown/q3?draft=1", seen + 1, shown + 1)
    );
    let after = corp.world.cookie(&browser);
    assert_ne!(before, after, "A10: a login is a new session");
    let subject = async |cookie: &str| corp.world.get("/.claviger/me", cookie).await.json()["subject"].clone();
    assert!(subject(&after).await.is_string());
}

/// Before the keys end: programs of the page go on with them, and whoever opens a page is sent for a new response.
#[tokio::test]
async fn whoever_passes_by_shortly_before_the_end_brings_a_new_response() {
    let corp = Corp::start(Lifetimes { assertion: Duration::from_secs(1), ..Lifetimes::default() }).await;
    corp.sts_tap.credentials_live(Duration::from_secs(8));
    let (mut browser, page) = (Browser::default(), corp.world.url("/shown/q3"));
    let answer = corp.log_in(&mut browser, "/shown/q3", "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let sent = until(async || browser.step(&page).await, |answer| answer.status != StatusCode::OK).await;
    assert!(sent.location().starts_with(&format!("http://{}/", corp.idp.at())), "{} {}", sent.status, sent.text());
    let program = browser.fetch(Method::GET, &page, &[], "").await;
    assert_eq!(program.status, StatusCode::OK, "{}", program.text());

    // what has ended is said to programs, with what to do
    let ended = async || browser.clone().fetch(Method::GET, &page, &[], "").await;
    let ended = until(ended, |answer| answer.status != StatusCode::OK).await;
    assert_eq!((ended.status, &ended.json()["error"]), (StatusCode::UNAUTHORIZED, &json!("login_expired")));
    assert!(ended.json()["message"].as_str().is_some_and(|message| message.contains("in a browser to log in again")));

    let form = browser.open(sent.location()).await;
    let answer = browser.submit(&form, &[]).await;
    assert_eq!((answer.status, corp.shown()), (StatusCode::OK, 2), "{}", answer.text());
}

/// A token that claviger mints, and keys of its own, ask for whoever came by SAML as for anybody.
#[tokio::test]
async fn tokens_and_keys_of_ours_ask_for_whom_saml_vouches() {
    let corp = Corp::start(Lifetimes::default()).await;
    let mut browser = Browser::default();
    let answer = corp.log_in(&mut browser, "/minted/q3", "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let me = corp.world.get("/.claviger/me", &corp.world.cookie(&browser)).await.json();
    for (path, role) in [("/minted/q4", "finance"), ("/own/q3", "own")] {
        let answer = browser.open(&corp.world.url(path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        let signer = corp.world.signer(&corp.world.upstream.last(), "s3").await;
        assert_eq!(
            (&signer["role"], &signer["source_identity"], &signer["tags"]["department"]),
            (&json!(format!("arn:aws:iam::123456789012:role/{role}")), &me["subject"], &json!("finance")),
            "{path}: {signer}"
        );
    }
    assert_eq!((corp.world.sts_calls(), corp.world.authority.calls("AssumeRole"), corp.shown()), (1, 1, 0));

    // another person is told of by another tag, and these roles are not for them
    let mut browser = Browser::default();
    let answer = corp.log_in(&mut browser, "/minted/q3", "bob").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let signer = corp.world.signer(&corp.world.upstream.last(), "s3").await;
    assert_eq!(signer["role"], "arn:aws:iam::123456789012:role/engineering", "{signer}");
    let answer = browser.open(&corp.world.url("/own/q3")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
}

/// A token of ours needs no response that STS would take: there are new keys for as long as the login lives.
#[tokio::test]
async fn what_claviger_mints_for_them_is_renewed_when_the_response_is_old() {
    let corp = Corp::start(Lifetimes { assertion: Duration::from_secs(1), ..Lifetimes::default() }).await;
    corp.world.sts_tap.credentials_live(Duration::from_secs(1));
    let (mut browser, page) = (Browser::default(), corp.world.url("/minted/q3"));
    let answer = corp.log_in(&mut browser, "/minted/q3", "alice").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let ticket = corp.world.cookie(&browser);
    let renewed = |answer: &Answer| {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        corp.world.sts_calls() >= 4
    };
    until(async || browser.step(&page).await, renewed).await;
    assert_eq!(corp.world.cookie(&browser), ticket, "the session is the same");
    let signer = corp.world.signer(&corp.world.upstream.last(), "s3").await;
    assert_eq!(signer["role"], "arn:aws:iam::123456789012:role/finance", "{signer}");
}

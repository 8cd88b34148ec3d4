//! Our own provider as the SAML provider of a claviger: what it signs is believed by the rules for anybody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger::clock::{Clock, SystemClock};
use claviger::provider::{Lifetimes, OpenIdProvider, RelyingParty, SamlSetup, Setup};
use claviger::saml::{Answer, Expected, Guarded, Kind, Metadata, Pinned, SKEW, SigningKey, Trust, from_post, verify};
use http::StatusCode;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::place::Place;
use crate::support::saml_attacks::PROVIDER;
use crate::support::saml_idp::{ENTITY_ID, ISSUER, KEYS, plan_of};
use crate::support::side::Side;
use crate::support::world::{PASSWORD, World};

/// The provider at this address, over these users; it knows the one party, to which it says nothing of AWS.
fn provider(at: &Place, world: Option<&World>) -> Arc<OpenIdProvider> {
    provider_of(at, world, Lifetimes::default(), |_| ())
}

/// The same, for a party with something to say.
pub(super) fn provider_of(
    at: &Place,
    world: Option<&World>,
    lifetimes: Lifetimes,
    change: impl Fn(&mut RelyingParty),
) -> Arc<OpenIdProvider> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let users = world.map(|world| Arc::clone(&world.users));
    let parties = world.map(|world| {
        let acs_url = world.url("/.claviger/saml/corp/acs");
        let mut party = RelyingParty::inline(ENTITY_ID, &acs_url, None, Vec::new()).unwrap();
        let attributes = [("groups", "groups"), ("mail", "email"), ("department", "department")];
        party.attributes = Some(attributes.map(|(name, claim)| (name.to_owned(), claim.to_owned())).into());
        change(&mut party);
        party
    });
    let setup = Setup {
        issuer: format!("http://{}", at.at()).parse().unwrap(),
        users: users.unwrap_or_else(|| Arc::new(claviger::users::Users::new(Vec::new(), Arc::clone(&clock)).unwrap())),
        clients: Vec::new(),
        lifetimes,
        signing_key: None,
    };
    let saml = SamlSetup {
        entity_id: Some(ISSUER.to_owned()),
        signing: vec![SigningKey::new(&PROVIDER.key_pem, PROVIDER.certificate.clone()).unwrap()],
        parties: parties.into_iter().collect(),
    };
    OpenIdProvider::with_saml(setup, saml, clock).unwrap()
}

#[tokio::test]
async fn a_browser_goes_from_our_form_to_a_session() {
    let place = Place::reserve();
    // both name each other: the metadata is written before there is a claviger to send people to
    let metadata = provider(&place, None).saml_metadata().unwrap();
    let world = plan_of(&format!("metadata_file = \"ours.xml\"\n{KEYS}")).file("ours.xml", &metadata).start().await;
    let idp = provider(&place, Some(&world));
    let side = Side::new("idp", place, idp);
    side.start();

    let mut browser = Browser::default();
    let form = browser.open(&world.url("/reports/q3?draft=1")).await;
    assert!(form.text().contains("autocomplete=\"current-password\""), "{} {}", form.status, form.text());
    let page = browser.submit(&form, &[("username", "alice"), ("password", PASSWORD)]).await;
    let (_, response) = page.text().split_once("name=\"SAMLResponse\" value=\"").expect("a form with a Response");
    let document = from_post(response.split('"').next().unwrap()).unwrap();

    let now = SystemClock.now();
    let read = Metadata::read(metadata.as_bytes(), Pinned { entity_id: Some(ISSUER), ..Pinned::default() }, now);
    let trust = Trust { certificates: read.unwrap().provider.unwrap().certificates, ..Trust::default() };
    let acs = world.url("/.claviger/saml/corp/acs");
    let alice = verify(Guarded::new(&document, Kind::Response).unwrap(), &trust).unwrap();
    let alice = alice.accept(&Expected {
        issuer: ISSUER,
        destination: Some(&acs),
        recipients: &[&acs],
        audiences: &[ENTITY_ID],
        answer: Answer::Any,
        authn_contexts: &[],
        now,
        skew: SKEW,
    });
    let alice = alice.unwrap();
    let said: BTreeMap<_, _> = alice.attributes.iter().map(|a| (a.name.as_str(), a.values.as_slice())).collect();
    assert_eq!(said["mail"], ["alice@example.com"], "{said:?}");

    let answer = browser.submit(&page, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let seen = world.upstream.last();
    assert_eq!(
        (seen.target.as_str(), seen.all("x-forwarded-email")),
        ("/reports/q3?draft=1", vec!["alice@example.com"])
    );
    let me = world.get("/.claviger/me", &world.cookie(&browser)).await.json();
    assert_eq!((&me["source"], &me["subject"]), (&json!("corp"), &json!(alice.name_id.value)));
}

//! A SAML provider of which nothing runs: it reads what a browser would bring it, and writes what a browser would post.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::clock::{Clock as _, SystemClock, epoch_seconds, from_epoch_seconds};
use claviger::saml::{
    AssertionOf, Certificate, ExpectedMessage, Kind, NameId, ProviderOf, Redirected, Requested, ResponseOf, SKEW,
    SUCCESS, Signing, Trust, verify_redirect,
};
use url::Url;

use super::browser::Browser;
use super::client::Answer;
use super::saml_attacks::{OURSELVES, PROVIDER, Stage};
use super::world::Plan;

pub const ISSUER: &str = "https://idp.example.org/saml";
pub const ENTITY_ID: &str = "https://apps.example.org/saml";
pub const SIGN_ON: &str = "https://idp.example.org/sso";
pub const LOGOUT: &str = "https://idp.example.org/slo";

/// The provider's metadata.
pub fn metadata() -> String {
    metadata_with(&[&PROVIDER.certificate])
}

/// The same with these certificates.
pub fn metadata_with(signing: &[&Certificate]) -> String {
    let provider = ProviderOf {
        entity_id: ISSUER,
        sign_on_url: SIGN_ON,
        logout_url: Some(LOGOUT),
        signing,
        wants_signed_requests: true,
        name_id_formats: &[],
        valid_until: None,
    };
    provider.write(None).unwrap()
}

/// A claviger where people log in at this provider, by the source `corp`; `more` of its section.
pub fn plan(more: &str) -> Plan {
    plan_of(&format!("metadata_file = \"idp.xml\"\n{KEYS}\n{more}"))
}

/// The same with this metadata and these keys of ours.
pub fn plan_of(section: &str) -> Plan {
    with_files(Plan::with_routes(&routes(section)))
}

/// The section, and a route for whoever logs in there.
pub fn routes(section: &str) -> String {
    format!("{APP}\n[identity.corp]\nissuer = \"{ISSUER}\"\nentity_id = \"{ENTITY_ID}\"\n{CORP}\n{section}\n")
}

/// The files that such a section names.
pub fn with_files(plan: Plan) -> Plan {
    plan.file("idp.xml", &metadata())
        .file("sp.crt", &pem(&OURSELVES.certificate))
        .file("sp.key", OURSELVES.key_pem.expose())
}

/// The same in front of this upstream.
pub fn plan_to(upstream: &str) -> Plan {
    let mut plan = plan("");
    plan.config = plan.config.replace("{upstream}", upstream);
    plan
}

/// A certificate as a file has it.
pub fn pem(certificate: &Certificate) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", certificate.base64())
}

/// Our keys, as a section names them.
pub const KEYS: &str = r#"
signing = [{ key = { file = "sp.key" }, certificate = "sp.crt" }]
decryption = [{ key = { file = "sp.key" }, certificate = "sp.crt" }]
"#;

const CORP: &str = r#"
kind = "saml"
claims = { groups = "groups", email = "mail" }
emails_are_verified = true
"#;

const APP: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
identity = ["corp"]
allow = "signed-in"
inject = { kind = "headers" }
"#;

/// A login that waits for the provider's answer.
pub struct Waiting {
    pub request: Requested,
    pub relay_state: String,
    pub acs: String,
}

/// What the browser brings: the request, verified by our certificate, with its RelayState.
pub fn asked(answer: &Answer) -> Waiting {
    let url = Url::parse(answer.location()).unwrap();
    assert!(url.as_str().starts_with(SIGN_ON), "{url}");
    let redirected = Redirected::read(url.query().unwrap()).unwrap();
    let trust = Trust { certificates: vec![OURSELVES.certificate.clone()], ..Trust::default() };
    let verified = verify_redirect(&redirected, Kind::AuthnRequest, &trust).unwrap();
    let expected = ExpectedMessage { issuer: ENTITY_ID, destination: SIGN_ON, now: this_second(), skew: SKEW };
    let request = Requested::read(&verified, &expected).unwrap();
    let (relay_state, acs) = (redirected.relay_state.unwrap(), request.acs_url.clone().unwrap());
    Waiting { request, relay_state, acs }
}

impl Waiting {
    /// The stage that a document for this login is made for.
    pub fn stage(&self) -> Stage {
        Stage {
            issuer: ISSUER.into(),
            acs_url: self.acs.clone(),
            audience: ENTITY_ID.into(),
            request: self.request.id.clone(),
            now: this_second(),
            ..Stage::alone()
        }
    }

    /// Has the provider's page post this document.
    pub async fn post(&self, browser: &mut Browser, document: impl AsRef<[u8]>) -> Answer {
        let fields = [("SAMLResponse", field(document)), ("RelayState", self.relay_state.clone())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        browser.post_from_elsewhere(&self.acs, &fields).await
    }
}

/// A Response in which the provider signs for somebody; in answer to this request, or to none.
pub fn signed_for(who: &str, acs: &str, request: Option<&str>) -> String {
    signed_for_login(&format!("_of-{who}"), who, acs, request)
}

/// The same for a login that the provider calls so.
pub fn signed_for_login(session_index: &str, who: &str, acs: &str, request: Option<&str>) -> String {
    let name_id = NameId { value: who.into(), format: None, name_qualifier: None, sp_name_qualifier: None };
    let response = ResponseOf {
        issuer: ISSUER,
        destination: acs,
        in_response_to: request,
        status: SUCCESS,
        status_detail: None,
        assertion: Some(AssertionOf {
            name_id: &name_id,
            recipient: acs,
            audience: ENTITY_ID,
            attributes: &[],
            session_index,
            authn_instant: this_second(),
            authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
            session_ends_at: None,
            lives: Duration::from_secs(300),
        }),
        at: this_second(),
    };
    response.build(Signing { key: &PROVIDER.signing, response: false, assertion: true, encrypt: None }).unwrap().xml()
}

/// The time, without what documents don't say of it: two documents of one second are of one time.
pub fn this_second() -> SystemTime {
    from_epoch_seconds(epoch_seconds(SystemClock.now()))
}

/// A document as a form's field has it.
pub fn field(document: impl AsRef<[u8]>) -> String {
    STANDARD.encode(document)
}

//! A claviger whose people come by SAML, and the provider that they come from: its metadata, and what it would sign.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use claviger::clock::{Clock as _, SystemClock, epoch_seconds, from_epoch_seconds};
use claviger::saml::{AssertionOf, NameId, ProviderOf, Redirected, ResponseOf, SUCCESS, Signing};
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{Method, Request};
use http_body_util::Full;
use url::Url;

use crate::agent::{Agent, Answer, FORM};
use crate::process::{Running, free_port};
use crate::ready::until_answered;
use crate::support::saml_attacks::{OURSELVES, PROVIDER, Stage};

/// A running claviger of one worker.
#[derive(Debug)]
pub(crate) struct SamlSite {
    pub(crate) process: Running,
    url: String,
}

/// A login that a browser has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    agent: Agent,
    site: String,
    acs: String,
    request: String,
    relay_state: String,
}

impl SamlSite {
    pub(crate) async fn start(binary: &Path, upstream: &str, kept: &Path) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let folder = kept.join("claviger-saml");
        fs::create_dir_all(&folder).expect("the folder is writable");
        let config = include_str!("../saml.toml")
            .replace("@state@", &folder.join("state").to_string_lossy())
            .replace("@port@", &port.to_string())
            .replace("@issuer@", ISSUER)
            .replace("@entity@", ENTITY_ID)
            .replace("@upstream@", upstream);
        let certificate = OURSELVES.certificate.base64();
        let certificate = format!("-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n");
        for (name, text) in [
            ("claviger.toml", config.as_str()),
            ("idp.xml", &metadata()),
            ("sp.crt", &certificate),
            ("sp.key", OURSELVES.key_pem.expose()),
        ] {
            fs::write(folder.join(name), text).expect("the folder is writable");
        }
        let file = folder.join("claviger.toml");
        let start = || Running::start("claviger-saml", binary, kept, |command| command.arg("serve").arg(&file));
        let (process, _) = until_answered(start, &format!("{url}/public/small")).await;
        Self { process, url }
    }

    /// A new browser, on its way to the provider.
    pub(crate) async fn begin(&self) -> Begun {
        let mut agent = Agent::new();
        let app = Url::parse(&format!("{}/small", self.url)).expect("a URL");
        let answer = agent.open(&app).await.expect("an answer");
        let onward = answer.location().unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text()));
        let sent = Redirected::read(onward.query().expect("a request")).expect("a request");
        let document = String::from_utf8_lossy(sent.document()).into_owned();
        let request = document.split(" ID=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an ID");
        Begun {
            agent,
            site: self.url.clone(),
            acs: format!("{}/.claviger/saml/corp/acs", self.url),
            request: request.to_owned(),
            relay_state: sent.relay_state.expect("a state"),
        }
    }
}

impl Begun {
    /// What a document for this login is made for.
    pub(crate) fn stage(&self) -> Stage {
        Stage {
            issuer: ISSUER.into(),
            acs_url: self.acs.clone(),
            audience: ENTITY_ID.into(),
            request: self.request.clone(),
            now: now(),
            ..Stage::alone()
        }
    }

    /// What the provider says of this person, with as many groups as people have.
    pub(crate) fn response_of(&self, who: &str) -> Vec<u8> {
        let groups = (0..6).map(|n| format!("a-group-of-{n}")).collect();
        let signing = Signing { key: &PROVIDER.signing, response: false, assertion: true, encrypt: None };
        self.response(who, groups, signing).into()
    }

    /// A Response for somebody with these groups, signed and encrypted so.
    pub(crate) fn response(&self, who: &str, groups: Vec<String>, signing: Signing<'_>) -> String {
        let name_id = NameId { value: who.into(), format: None, name_qualifier: None, sp_name_qualifier: None };
        let attributes = [("mail", vec![format!("{who}@example.org")]), ("groups", groups)];
        let response = ResponseOf {
            issuer: ISSUER,
            destination: &self.acs,
            in_response_to: Some(&self.request),
            status: SUCCESS,
            status_detail: None,
            assertion: Some(AssertionOf {
                name_id: &name_id,
                recipient: &self.acs,
                audience: ENTITY_ID,
                attributes: &attributes,
                session_index: &format!("_of-{who}"),
                authn_instant: now(),
                authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
                session_ends_at: None,
                lives: Duration::from_secs(300),
            }),
            at: now(),
        };
        response.build(signing).expect("a Response").xml()
    }

    /// The form in which the provider's page has a document posted.
    pub(crate) fn form(&self, document: impl AsRef<[u8]>) -> String {
        let fields = [("SAMLResponse", STANDARD.encode(document)), ("RelayState", self.relay_state.clone())];
        form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
    }

    /// Posts a form at the ACS as the provider's page does, and follows nothing.
    pub(crate) async fn post(&mut self, form: String) -> Answer {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.acs)
            .header(CONTENT_TYPE, FORM)
            .header(ORIGIN, "https://idp.example.org")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "cross-site")
            .body(Full::from(Bytes::from(form)));
        self.agent.send(request.expect("a request")).await.expect("an answer")
    }

    /// Posts a document that is good, and comes for the session.
    pub(crate) async fn log_in(&mut self, document: &[u8]) {
        let answer = self.post(self.form(document)).await;
        let arrive = answer.location().unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text()));
        let answer = self.agent.open(&arrive).await.expect("an answer");
        assert!(answer.status.is_redirection(), "{}: {}", answer.status, answer.text());
    }

    /// Who this browser is signed in as.
    pub(crate) async fn who(&mut self) -> String {
        let me = Url::parse(&format!("{}/.claviger/me", self.site)).expect("a URL");
        let answer = self.agent.open(&me).await.expect("an answer");
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        told["subject"].as_str().unwrap_or_default().to_owned()
    }
}

fn metadata() -> String {
    let provider = ProviderOf {
        entity_id: ISSUER,
        sign_on_url: "https://idp.example.org/sso",
        logout_url: None,
        signing: &[&PROVIDER.certificate],
        wants_signed_requests: true,
        name_id_formats: &[],
        valid_until: None,
    };
    provider.write(None).expect("a document")
}

/// Without what documents don't say of it.
fn now() -> SystemTime {
    from_epoch_seconds(epoch_seconds(SystemClock.now()))
}

const ISSUER: &str = "https://idp.example.org/saml";
const ENTITY_ID: &str = "https://apps.example.org/saml";

//! What our identity provider signs, as it goes to a browser.

use std::sync::Arc;

use claviger::clock::{Clock, SystemClock};
use claviger::provider::{Lifetimes, OpenIdProvider, RelyingParty, SamlSetup, Setup, Signs};
use claviger::saml::{AuthnRequest, Certificate, SigningKey, from_post};
use claviger::secret::Secret;
use claviger::server::Handler as _;
use claviger::users::{Email, User, Users, hash_password};
use claviger::web::{Body, Connection};
use http::Request;
use http::header::{COOKIE, SET_COOKIE};

const ISSUER: &str = "http://127.0.0.1:9400";
const PARTY: &str = "https://apps.example.org/saml";
const ACS: &str = "https://apps.example.org/acs";

/// Its metadata, a Response for each way to sign one, and a request to log out, all by this key.
pub(crate) async fn documents(key: &Secret, certificate: &Certificate) -> Vec<(String, Vec<u8>)> {
    let mut documents = Vec::new();
    for signs in [Signs::Assertion, Signs::Response, Signs::Both] {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let logout = Some("https://apps.example.org/slo");
        let mut party = RelyingParty::inline(PARTY, ACS, logout, vec![certificate.clone()]).expect("a party");
        party.signs = signs;
        let setup = Setup {
            issuer: ISSUER.parse().expect("a URL"),
            users: Arc::new(Users::new(vec![alice()], Arc::clone(&clock)).expect("a directory")),
            clients: Vec::new(),
            lifetimes: Lifetimes::default(),
            signing_key: None,
        };
        let signing = vec![SigningKey::new(key, certificate.clone()).expect("a pair")];
        let saml = SamlSetup { entity_id: None, signing, parties: vec![party] };
        let provider = OpenIdProvider::with_saml(setup, saml, Arc::clone(&clock)).expect("a provider");
        documents.push(("the provider's metadata".to_owned(), provider.saml_metadata().expect("it has some").into()));

        let mut cookies = Vec::new();
        let request = AuthnRequest {
            issuer: PARTY,
            destination: &format!("{ISSUER}/saml/sign-on"),
            acs_url: ACS,
            force_authn: false,
            is_passive: false,
            name_id_format: None,
            authn_contexts: &[],
            at: clock.now(),
        };
        let url = request.build().redirect(Some("<state>"), None).expect("it needs no key");
        let form = ask(&provider, Request::get(url), "", &mut cookies).await;
        let filled = [
            ("next", field(&form, "next")),
            ("seal", field(&form, "seal")),
            ("username", "alice".to_owned()),
            ("password", "wonderland".to_owned()),
        ];
        let page = ask(&provider, Request::post(format!("{ISSUER}/sign-in")), &encoded(&filled), &mut cookies).await;
        let response = from_post(&field(&page, "SAMLResponse")).expect("it is ours");
        documents.push((format!("a Response that signs {signs:?}"), response));

        let leave = ask(&provider, Request::get(format!("{ISSUER}/sign-out")), "", &mut cookies).await;
        let filled = [("next", String::new()), ("seal", field(&leave, "seal"))];
        let page = ask(&provider, Request::post(format!("{ISSUER}/sign-out")), &encoded(&filled), &mut cookies).await;
        documents.push((
            "the provider's LogoutRequest".to_owned(),
            from_post(&field(&page, "SAMLRequest")).expect("it is ours"),
        ));
    }
    documents
}

fn alice() -> User {
    let hash = hash_password(&Secret::new("wonderland")).expect("a hash");
    User {
        name: "alice".parse().expect("a name"),
        sub: "u-1".into(),
        password: hash.parse().expect("it is ours"),
        display_name: Some("Alice & <Co> \"é\"".to_owned()),
        email: Some(Email { address: "alice@example.org".to_owned(), verified: true }),
        groups: vec!["staff".into(), "a\tb\r\nc".into()],
        claims: serde_json::Map::new(),
        disabled: false,
    }
}

/// What a browser with these cookies is answered.
async fn ask(
    provider: &OpenIdProvider,
    request: http::request::Builder,
    form: &str,
    cookies: &mut Vec<String>,
) -> String {
    let request = request.header(COOKIE, cookies.join("; ")).body(Body::full(form.to_owned())).expect("a request");
    let connection = Connection::new("provider".into(), ([127, 0, 0, 1], 9400).into(), false);
    let (head, body) = provider.handle(&connection, request).await.into_parts();
    let set = head.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()?.split(';').next());
    cookies.extend(set.map(str::to_owned));
    String::from_utf8(body.collect(1 << 20).await.expect("a body").to_vec()).expect("a page")
}

/// The value of a hidden field, as a browser reads it.
fn field(page: &str, name: &str) -> String {
    let (_, after) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{page}"));
    let value = after.split('"').next().unwrap_or_default();
    value.replace("&#38;", "&").replace("&#34;", "\"").replace("&#60;", "<").replace("&#62;", ">").replace("&#39;", "'")
}

fn encoded(form: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

//! The provider as SAML parties see it: Responses they can verify, refusals, and logouts from either end.

use std::time::SystemTime;

use super::site::*;
use crate::clock::Clock as _;
use crate::provider::*;
use crate::saml::{
    Answer, Assertion, AuthnRequest, Certificate, DecryptionKey, Expected, ExpectedMessage, Guarded, Kind, Leaving,
    Left, LogoutRequest, LogoutResponse, Metadata, NameId, PartyOf, Pinned, Reason, Redirected, Refused, SKEW, SUCCESS,
    SigningKey, Trust, from_post, verify, verify_redirect,
};

const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
const EMAIL: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
const PASSWORD: &str = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password";
const AWS: &str = "https://aws.amazon.com/SAML/Attributes/";

/// A service provider.
struct Sp {
    name: &'static str,
    entity_id: String,
    acs_url: String,
    logout_url: String,
    key: SigningKey,
    decryption: DecryptionKey,
}

impl Sp {
    fn fresh(name: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let params = rcgen::CertificateParams::new(["sp.example.com".to_owned()]).unwrap();
        let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
        let pem = Secret::new(pair.serialize_pem());
        let origin = format!("https://{name}.example.com");
        Self {
            name,
            entity_id: format!("{origin}/saml"),
            acs_url: format!("{origin}/acs"),
            logout_url: format!("{origin}/slo"),
            key: SigningKey::new(&pem, certificate.clone()).unwrap(),
            decryption: DecryptionKey::new(&pem, certificate).unwrap(),
        }
    }

    /// As its metadata has it; it signs its requests.
    fn party(&self) -> RelyingParty {
        let metadata = PartyOf {
            entity_id: &self.entity_id,
            acs_url: &self.acs_url,
            logout_url: Some(&self.logout_url),
            signing: &[self.key.certificate()],
            encryption: std::slice::from_ref(&self.decryption),
            wants_signed_assertions: false,
            valid_until: None,
        };
        let party = RelyingParty::from_metadata(metadata.write(None).unwrap().as_bytes()).unwrap();
        RelyingParty { name: self.name.to_owned(), ..party }
    }

    fn request<'a>(&'a self, at: &'a str, now: SystemTime) -> AuthnRequest<'a> {
        AuthnRequest {
            issuer: &self.entity_id,
            destination: at,
            acs_url: &self.acs_url,
            force_authn: false,
            is_passive: false,
            name_id_format: None,
            authn_contexts: &[],
            at: now,
        }
    }
}

/// A provider with two parties, and what they know of it.
struct House {
    site: Site,
    one: Sp,
    two: Sp,
}

impl House {
    fn start(change: impl FnOnce(RelyingParty) -> RelyingParty) -> Self {
        let (one, two) = (Sp::fresh("one"), Sp::fresh("two"));
        let parties = vec![change(one.party()), two.party()];
        let setup = SamlSetup { parties, ..SamlSetup::default() };
        Self { site: Site::with(|other, clock| OpenIdProvider::with_saml(other, setup, clock)), one, two }
    }

    fn now(&self) -> SystemTime {
        self.site.clock.now()
    }

    fn sign_on(&self) -> String {
        format!("{}/saml/sign-on", self.site.issuer)
    }

    fn metadata(&self) -> Metadata {
        let text = self.site.provider.saml_metadata().unwrap();
        Metadata::read(text.as_bytes(), Pinned::default(), self.now()).unwrap()
    }

    fn trust(&self, sp: &Sp) -> Trust {
        let certificates = self.metadata().provider.unwrap().certificates;
        Trust { certificates, decryption: vec![sp.decryption.clone()], cbc: false }
    }

    /// Sends a browser there with a request by redirect: the page it gets, and the request's ID.
    async fn ask(&self, browser: &Browser<'_>, sp: &Sp, change: impl FnOnce(&mut AuthnRequest<'_>)) -> (Page, String) {
        let at = self.sign_on();
        let mut request = sp.request(&at, self.now());
        change(&mut request);
        let outgoing = request.build();
        let url = outgoing.redirect(Some("r&<s>"), Some(&sp.key)).unwrap();
        (browser.get(url.strip_prefix(&self.site.issuer).unwrap()).await, outgoing.id().to_owned())
    }

    fn accept(&self, page: &Page, sp: &Sp, id: &str) -> Result<Assertion, Refused> {
        self.accept_as(page, sp, id, &sp.acs_url, &sp.entity_id)
    }

    fn accept_as(&self, page: &Page, sp: &Sp, id: &str, recipient: &str, audience: &str) -> Result<Assertion, Refused> {
        assert!(page.text.contains(&format!("action=\"{}\"", sp.acs_url)), "{}", page.text);
        assert_eq!(page.hidden("RelayState"), "r&<s>");
        let document = from_post(&page.hidden("SAMLResponse"))?;
        verify(Guarded::new(&document, Kind::Response)?, &self.trust(sp))?.accept(&Expected {
            issuer: &self.metadata().entity_id,
            destination: Some(&sp.acs_url),
            recipients: &[recipient],
            audiences: &[audience],
            answer: Answer::To(id),
            authn_contexts: &[],
            now: self.now(),
            skew: SKEW,
        })
    }

    /// Signs alice in for a party.
    async fn sign_in(&self, browser: &Browser<'_>, sp: &Sp) -> Assertion {
        let (page, id) = self.ask(browser, sp, |_| {}).await;
        let page = if page.text.contains("current-password") {
            browser.sign_in(&page, "alice", "alice's own").await
        } else {
            page
        };
        self.accept(&page, sp, &id).unwrap()
    }

    async fn is_signed_in(&self, browser: &Browser<'_>) -> bool {
        browser.get(&authorize(&[("prompt", "none")])).await.parameter("error").is_empty()
    }
}

fn reason(refused: Result<Assertion, Refused>) -> Reason {
    refused.unwrap_err().reason().clone()
}

fn detail(refused: Result<Assertion, Refused>) -> String {
    match reason(refused) {
        Reason::Status { detail, .. } => detail.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_party_learns_who_signed_in() {
    let house = House::start(|party| party);
    let browser = house.site.browser();
    let (form, id) = house.ask(&browser, &house.one, |_| {}).await;
    assert!(form.text.contains("to go on to one"), "{}", form.text);
    let page = browser.sign_in(&form, "alice", "alice's own").await;
    let alice = house.accept(&page, &house.one, &id).unwrap();
    assert_eq!(alice.name_id.format.as_deref(), Some(PERSISTENT));
    assert!(!alice.name_id.value.contains("alice"));
    for (name, value) in [("email", "alice@example.com"), ("groups", "staff"), ("department", "finance")] {
        assert_eq!(alice.values(name), [value], "{name}");
    }
    assert_eq!(alice.authn_instant, house.now());
    // another party is answered at once, and can't tell who of its people that is
    let (page, id) = house.ask(&browser, &house.two, |_| {}).await;
    let elsewhere = house.accept(&page, &house.two, &id).unwrap();
    assert_ne!(elsewhere.name_id.value, alice.name_id.value);
    let again = house.sign_in(&browser, &house.one).await;
    assert_eq!(again.name_id, alice.name_id);
    assert!(house.is_signed_in(&browser).await, "one sign-in serves clients as well");
    // nobody else's Response will do
    assert!(matches!(reason(house.accept(&page, &house.two, "_other")), Reason::Mismatch { .. }));
}

#[tokio::test]
async fn a_request_that_is_posted_finds_the_session_too() {
    let house = House::start(|party| party);
    let browser = house.site.browser();
    house.sign_in(&browser, &house.two).await;
    let at = house.sign_on();
    let outgoing = house.one.request(&at, house.now()).build();
    let posted = outgoing.post(&house.one.key).unwrap();
    let form = [(posted.name, &*posted.value), ("RelayState", "r&<s>")];
    // a form on another site brings no `Lax` cookies
    let stranger = house.site.browser();
    let onward = stranger.post("/saml/sign-on", &form).await;
    assert_eq!(onward.status, StatusCode::SEE_OTHER, "{}", onward.text);
    let path = onward.location().strip_prefix(&house.site.issuer).unwrap().to_owned();
    let page = browser.get(&path).await;
    house.accept(&page, &house.one, outgoing.id()).unwrap();
    for (from, to) in [("tag=", "tag=A"), ("until=", "until=9"), ("request=", "request=x%3Dy%26")] {
        let refused = browser.get(&path.replacen(from, to, 1)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{to}");
    }
    house.site.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(browser.get(&path).await.status, StatusCode::BAD_REQUEST, "its time is over");
}

#[tokio::test]
async fn responses_are_signed_encrypted_and_filled_as_set_up() {
    for signs in [Signs::Assertion, Signs::Response, Signs::Both] {
        for encrypt in [false, true] {
            let house = House::start(|party| RelyingParty { signs, encrypt, ..party });
            let browser = house.site.browser();
            let (form, id) = house.ask(&browser, &house.one, |_| {}).await;
            let page = browser.sign_in(&form, "alice", "alice's own").await;
            let document = String::from_utf8(from_post(&page.hidden("SAMLResponse")).unwrap()).unwrap();
            assert_eq!(document.contains("EncryptedAssertion"), encrypt);
            assert_eq!(document.contains("alice@example.com"), !encrypt);
            house.accept(&page, &house.one, &id).unwrap_or_else(|e| panic!("{signs:?} {encrypt}: {:?}", e.reason()));
        }
    }
}

#[tokio::test]
async fn aws_is_told_what_it_wants_to_know() {
    let aws: AwsAttributes = toml::toml! {
        provider = "arn:aws:iam::123456789012:saml-provider/demo"
        roles = ["arn:aws:iam::123456789012:role/{department}", "arn:aws:iam::123456789012:role/{nothing}"]
        tags = { Department = "department", Nothing = "nothing" }
        transitive_tags = ["Department", "Nothing"]
        source_identity = "sub"
        session_duration = 900
    }
    .try_into()
    .unwrap();
    let (recipient, audience) = ("https://signin.aws.amazon.com/saml", "urn:amazon:webservices");
    let house = House::start(|party| RelyingParty {
        recipient: Some(recipient.to_owned()),
        audience: Some(audience.to_owned()),
        attributes: Some([("mail".to_owned(), "email".to_owned())].into()),
        aws: Some(aws),
        ..party
    });
    let browser = house.site.browser();
    let (form, id) = house.ask(&browser, &house.one, |_| {}).await;
    let page = browser.sign_in(&form, "alice", "alice's own").await;
    let alice = house.accept_as(&page, &house.one, &id, recipient, audience).unwrap();
    let said: Vec<(String, String)> =
        alice.attributes.iter().map(|a| (a.name.replace(AWS, ""), a.values.join("|"))).collect();
    let pair = "arn:aws:iam::123456789012:role/finance,arn:aws:iam::123456789012:saml-provider/demo";
    let expected = [
        ("mail", "alice@example.com"),
        ("Role", pair),
        ("RoleSessionName", "alice"),
        ("PrincipalTag:Department", "finance"),
        ("TransitiveTagKeys", "Department"),
        ("SourceIdentity", "sub-of-alice"),
        ("SessionDuration", "900"),
    ];
    assert_eq!(said, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn what_is_asked_for_is_given_or_said_to_be_none() {
    let house = House::start(|party| party);
    let browser = house.site.browser();
    let (page, id) = house.ask(&browser, &house.one, |request| request.is_passive = true).await;
    assert_eq!(detail(house.accept(&page, &house.one, &id)), "urn:oasis:names:tc:SAML:2.0:status:NoPassive");
    house.sign_in(&browser, &house.one).await;
    let (page, id) = house.ask(&browser, &house.one, |request| request.is_passive = true).await;
    house.accept(&page, &house.one, &id).unwrap();
    let (form, id) = house.ask(&browser, &house.one, |request| request.force_authn = true).await;
    assert!(form.text.contains("current-password"));
    house.site.clock.advance(std::time::Duration::from_secs(400)); // people take their time
    let page = browser.sign_in(&form, "alice", "alice's own").await;
    assert_eq!(house.accept(&page, &house.one, &id).unwrap().authn_instant, house.now());
    let (page, id) = house
        .ask(&browser, &house.one, |request| {
            request.force_authn = true;
            request.is_passive = true;
        })
        .await;
    assert_eq!(detail(house.accept(&page, &house.one, &id)), "urn:oasis:names:tc:SAML:2.0:status:NoPassive");

    let transient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
    let (page, id) = house.ask(&browser, &house.one, |request| request.name_id_format = Some(EMAIL)).await;
    assert_eq!(house.accept(&page, &house.one, &id).unwrap().name_id.value, "alice@example.com");
    let mut names = Vec::new();
    for _ in 0..2 {
        let (page, id) = house.ask(&browser, &house.one, |request| request.name_id_format = Some(transient)).await;
        names.push(house.accept(&page, &house.one, &id).unwrap().name_id.value);
    }
    assert_ne!(names[0], names[1]);
    let (page, id) = house.ask(&browser, &house.one, |request| request.name_id_format = Some("urn:x")).await;
    assert_eq!(detail(house.accept(&page, &house.one, &id)), "urn:oasis:names:tc:SAML:2.0:status:InvalidNameIDPolicy");
    let (page, id) = house.ask(&browser, &house.one, |request| request.authn_contexts = &["urn:x", PASSWORD]).await;
    assert_eq!(house.accept(&page, &house.one, &id).unwrap().authn_context.as_deref(), Some(PASSWORD));
    let (page, id) = house.ask(&browser, &house.one, |request| request.authn_contexts = &["urn:x"]).await;
    assert_eq!(detail(house.accept(&page, &house.one, &id)), "urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext");
}

/// A7: a page, and never a form or redirect to an address that the request names.
#[tokio::test]
async fn a7_nobody_is_sent_to_a_stranger() {
    let house = House::start(|party| party);
    let browser = house.site.browser();
    house.sign_in(&browser, &house.one).await;
    let at = house.sign_on();
    let now = house.now();
    let good = house.one.request(&at, now);
    let url = |request: &AuthnRequest<'_>, key: Option<&SigningKey>| request.build().redirect(None, key).unwrap();
    let own = Some(&house.one.key);
    let signed = url(&good, own);
    for (name, url) in [
        ("another address", url(&AuthnRequest { acs_url: "https://evil.test/acs", ..good.clone() }, own)),
        (
            "an address that begins so",
            url(&AuthnRequest { acs_url: "https://one.example.com/acs/x", ..good.clone() }, own),
        ),
        ("the other party's", url(&AuthnRequest { acs_url: &house.two.acs_url, ..good.clone() }, own)),
        ("nobody", url(&AuthnRequest { issuer: "https://nobody.example.com", ..good.clone() }, own)),
        ("unsigned", url(&good, None)),
        ("the other party's key", url(&good, Some(&house.two.key))),
        ("for somebody else", url(&AuthnRequest { destination: "https://idp.example.com/", ..good.clone() }, own)),
        ("old", url(&AuthnRequest { at: now - std::time::Duration::from_secs(400), ..good.clone() }, own)),
        ("another state than was signed", format!("{signed}&RelayState=x")),
        ("twice", format!("{signed}&SAMLRequest=x")),
        ("a response", signed.replacen("SAMLRequest", "SAMLResponse", 1)),
        ("nothing", at.clone()),
    ] {
        let destination = url.replace("https://idp.example.com/", &at);
        let page = browser.get(destination.strip_prefix(&house.site.issuer).unwrap()).await;
        assert_eq!((page.status, page.location()), (StatusCode::BAD_REQUEST, ""), "{name}");
        assert!(!page.text.contains("<form") && !page.text.contains("evil.test"), "{name}");
    }
    // what the login form leads to is looked at anew, and only where we sealed it
    let other = house.site.browser();
    let (form, _) = house.ask(&other, &house.one, |_| {}).await;
    let next = form.hidden("next").replace("one.example.com%2Facs", "evil.test");
    let forged = [("next", &*next), ("seal", &form.hidden("seal")), ("username", "alice"), ("password", "alice's own")];
    assert_eq!(other.post("/sign-in", &forged).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_party_without_keys_asks_unsigned() {
    let house = House::start(|party| {
        let inline = RelyingParty::inline(&party.entity_id, "https://one.example.com/acs", None, vec![]).unwrap();
        RelyingParty { name: party.name, ..inline }
    });
    let browser = house.site.browser();
    let at = house.sign_on();
    let outgoing = house.one.request(&at, house.now()).build();
    let url = outgoing.redirect(Some("r&<s>"), None).unwrap();
    let form = browser.get(url.strip_prefix(&house.site.issuer).unwrap()).await;
    let page = browser.sign_in(&form, "alice", "alice's own").await;
    house.accept(&page, &house.one, outgoing.id()).unwrap();
    for url in ["http://one.example.com/acs", "javascript:alert(1)", "/acs"] {
        assert!(RelyingParty::inline("urn:one", url, None, vec![]).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_party_signs_out_for_all() {
    let house = House::start(|party| party);
    let browser = house.site.browser();
    let (at_one, at_two) = (house.sign_in(&browser, &house.one).await, house.sign_in(&browser, &house.two).await);
    let here = format!("{}/saml/sign-out", house.site.issuer);
    let now = house.now();
    let ask = |sp: &Sp, name_id: &NameId, index: &str, key: Option<&SigningKey>| {
        let request =
            LogoutRequest { issuer: &sp.entity_id, destination: &here, name_id, session_indexes: &[index], at: now };
        let outgoing = request.build();
        let url = outgoing.redirect(Some("s"), key).unwrap();
        (url.strip_prefix(&house.site.issuer).unwrap().to_owned(), outgoing.id().to_owned())
    };
    let (one, index) = (&house.one, at_one.session_index.clone().unwrap());
    // GHSA-pcgw-qcv5-h8ch: unsigned, another's key
    for key in [None, Some(&house.two.key)] {
        let (url, _) = ask(one, &at_one.name_id, &index, key);
        assert_eq!(browser.get(&url).await.status, StatusCode::BAD_REQUEST);
    }
    // somebody else's session
    let (url, _) = ask(&house.two, &at_one.name_id, &index, Some(&house.two.key));
    assert!(browser.get(&url).await.status.is_redirection());
    assert!(house.is_signed_in(&browser).await);

    let (url, id) = ask(one, &at_one.name_id, &index, Some(&one.key));
    let told = browser.get(&url).await;
    assert!(!house.is_signed_in(&browser).await);
    let received =
        Redirected::read(told.location().strip_prefix(&format!("{}?", house.two.logout_url)).unwrap()).unwrap();
    let verified = verify_redirect(&received, Kind::LogoutRequest, &house.trust(&house.two)).unwrap();
    let entity_id = house.metadata().entity_id;
    let expected = |destination| ExpectedMessage { issuer: &entity_id, destination, now: house.now(), skew: SKEW };
    let leaving = Leaving::read(&verified, &expected(&house.two.logout_url)).unwrap();
    assert_eq!((&leaving.name_id, &leaving.session_indexes[0]), (&at_two.name_id, &at_two.session_index.unwrap()));
    let left = |sp: &Sp| {
        let response = LogoutResponse {
            issuer: &sp.entity_id,
            destination: &here,
            in_response_to: &leaving.id,
            status: SUCCESS,
            at: now,
        };
        let url = response.build().redirect(None, Some(&sp.key)).unwrap();
        url.strip_prefix(&house.site.issuer).unwrap().to_owned()
    };
    assert_eq!(browser.get(&left(one)).await.status, StatusCode::BAD_REQUEST, "the other one was asked");
    let back = browser.get(&left(&house.two)).await;
    let received = Redirected::read(back.location().strip_prefix(&format!("{}?", one.logout_url)).unwrap()).unwrap();
    assert_eq!(received.relay_state.as_deref(), Some("s"));
    let verified = verify_redirect(&received, Kind::LogoutResponse, &house.trust(one)).unwrap();
    let answered = Left::read(&verified, &expected(&one.logout_url)).unwrap();
    assert_eq!((answered.in_response_to, answered.status), (id, SUCCESS.to_owned()));
    assert_eq!(browser.get(&left(&house.two)).await.status, StatusCode::BAD_REQUEST, "once");
    // A17: what ended one login is kept by somebody, and ends no other
    assert_eq!(browser.get(&url).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn signing_out_here_tells_the_parties() {
    let house = House::start(|party| party);
    let browser = house.site.browser();
    house.sign_in(&browser, &house.one).await;
    let ask = browser.get("/sign-out?client_id=app&post_logout_redirect_uri=https://app.example.com/").await;
    let told = browser.post("/sign-out", &[("next", &ask.hidden("next")), ("seal", &ask.hidden("seal"))]).await;
    let received =
        Redirected::read(told.location().strip_prefix(&format!("{}?", house.one.logout_url)).unwrap()).unwrap();
    let verified = verify_redirect(&received, Kind::LogoutRequest, &house.trust(&house.one)).unwrap();
    let (issuer, now) = (house.metadata().entity_id, house.now());
    let expected = ExpectedMessage { issuer: &issuer, destination: &house.one.logout_url, now, skew: SKEW };
    let leaving = Leaving::read(&verified, &expected).unwrap();
    let response = LogoutResponse {
        issuer: &house.one.entity_id,
        destination: &format!("{}/saml/sign-out", house.site.issuer),
        in_response_to: &leaving.id,
        status: SUCCESS,
        at: now,
    };
    let posted = response.build().post(&house.one.key).unwrap();
    let back = browser.post("/saml/sign-out", &[(posted.name, &posted.value)]).await;
    assert_eq!(back.location(), "https://app.example.com/", "{}", back.text);
    assert!(!house.is_signed_in(&browser).await);
}

#[tokio::test]
async fn its_metadata_is_signed_and_a_provider_without_saml_has_none() {
    let house = House::start(|party| party);
    let metadata = house.metadata();
    let provider = metadata.provider.unwrap();
    let pins = Pinned { entity_id: Some(&metadata.entity_id), certificates: &provider.certificates };
    let page = house.site.browser().get("/saml/metadata").await;
    assert_eq!(page.headers["content-type"], "application/samlmetadata+xml");
    assert_eq!(metadata.entity_id, format!("{}/saml/metadata", house.site.issuer));
    Metadata::read(page.text.as_bytes(), pins, house.now()).unwrap();
    // a new config keeps the key that was made at the start, and who is signed in
    let setup = Setup {
        issuer: house.site.issuer.parse().unwrap(),
        users: Arc::clone(&house.site.users),
        clients: vec![],
        lifetimes: Lifetimes::default(),
        signing_key: None,
    };
    let next = OpenIdProvider::with_saml(setup, SamlSetup::default(), Arc::clone(&house.site.clock) as _).unwrap();
    let next = next.in_place_of(&house.site.provider).saml_metadata().unwrap();
    let next = Metadata::read(next.as_bytes(), Pinned::default(), house.now()).unwrap();
    assert_eq!(next.provider.unwrap().certificates, provider.certificates);

    let site = Site::start();
    for path in ["/saml/metadata", "/saml/sign-on", "/saml/sign-out"] {
        assert_eq!(site.browser().get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(site.provider.saml_metadata().is_none());
}

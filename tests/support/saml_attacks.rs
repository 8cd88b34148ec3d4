//! Attack documents against a SAML service provider, made anew each time with fresh keys.
//!
//! They are written against a [`Stage`]: whose provider, which ACS, in answer to what. So the same ones serve the library
//! and a whole ACS over HTTP, where each is made for the login that it is posted to.

mod conditions;
mod encryption;
mod parsers;
mod signatures;
mod wrapping;

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::clock::rfc3339;
use claviger::saml::{
    AssertionOf, Certificate, DecryptionKey, NameId, ResponseOf, SUCCESS, Signing, SigningKey, fresh_id,
};
use claviger::secret::Secret;

/// What a Response is made for.
#[derive(Clone, Debug)]
pub struct Stage {
    pub issuer: String,
    pub acs_url: String,
    pub audience: String,
    /// The ID of the request that the browser was sent with.
    pub request: String,
    pub now: SystemTime,
    /// The service provider's certificate that assertions are encrypted to.
    pub encrypt_to: Certificate,
    /// Addresses that nobody may come to: a listener's, and a file's.
    pub forbidden_url: String,
    pub forbidden_file: String,
}

/// A document, and what must come of it.
pub struct Attack {
    pub name: String,
    pub verdict: Verdict,
    forge: Forge,
}

/// Makes the document for a stage.
type Forge = Box<dyn Fn(&Stage) -> Vec<u8> + Send + Sync>;

/// What must come of a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// No session, for a reason whose name begins so.
    Refused(&'static str),
    /// A session of Alice, who was signed for, and of nobody else.
    Alice,
}

/// Who has a key.
pub struct Party {
    pub signing: SigningKey,
    pub certificate: Certificate,
    pub key_pem: Secret,
    rsa: RsaKeyPair,
}

/// The provider whose certificate is pinned.
pub static PROVIDER: LazyLock<Party> = LazyLock::new(Party::fresh);
/// Somebody who has a key of their own.
pub static STRANGER: LazyLock<Party> = LazyLock::new(Party::fresh);
/// The service provider.
pub static OURSELVES: LazyLock<Party> = LazyLock::new(Party::fresh);

/// Who was signed for, and who the attacker wants to be.
pub const ALICE: &str = "alice@example.org";
pub const ADMIN: &str = "admin@example.org";

/// All of them, controls among them.
pub fn attacks() -> Vec<Attack> {
    [wrapping::attacks(), signatures::attacks(), parsers::attacks(), conditions::attacks(), encryption::attacks()]
        .into_iter()
        .flatten()
        .collect()
}

/// Whatever it says, encrypted to us as anybody can do it; none where there is nothing to encrypt.
pub fn encrypted(response: &str, stage: &Stage) -> Option<String> {
    encryption::encrypted(response, stage)
}

/// Whatever it says, signed by the provider, which is hostile then, or confused; none where there is nothing to sign.
pub fn signed(response: &str) -> Option<String> {
    let from = response.find("<saml:Assertion ")?;
    let assertion = &response[from..from + response[from..].find("</saml:Assertion>")?];
    let is_whole = assertion.contains(" ID=\"") && assertion.contains("</saml:Issuer>");
    is_whole.then(|| resigned(response, "saml:Assertion", &PROVIDER, &Shape::usual()))
}

/// A Response that says Alice, which nobody signed.
pub fn unsigned(stage: &Stage) -> String {
    honest(stage, false, false)
}

impl Attack {
    pub fn document(&self, stage: &Stage) -> Vec<u8> {
        (self.forge)(stage)
    }

    fn new<D: Into<Vec<u8>>>(
        name: impl Into<String>,
        verdict: Verdict,
        forge: impl Fn(&Stage) -> D + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), verdict, forge: Box::new(move |stage| forge(stage).into()) }
    }
}

impl Stage {
    /// For the library by itself.
    pub fn alone() -> Self {
        Self {
            issuer: "https://idp.example.org/saml".into(),
            acs_url: "https://apps.example.org/.claviger/saml/acs".into(),
            audience: "https://apps.example.org/saml".into(),
            request: fresh_id(),
            now: claviger::clock::from_epoch_seconds(1_800_000_000),
            encrypt_to: OURSELVES.certificate.clone(),
            forbidden_url: "http://127.0.0.1:9/forbidden".into(),
            forbidden_file: "/nonexistent/canary".into(),
        }
    }

    fn at(&self, seconds: i64) -> String {
        let by = Duration::from_secs(seconds.unsigned_abs());
        rfc3339(if seconds < 0 { self.now - by } else { self.now + by })
    }
}

impl Party {
    fn fresh() -> Self {
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let params = rcgen::CertificateParams::new(["party.example.org".to_owned()]).unwrap();
        let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
        let key_pem = Secret::new(pair.serialize_pem());
        Self {
            signing: SigningKey::new(&key_pem, certificate.clone()).unwrap(),
            rsa: RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap(),
            certificate,
            key_pem,
        }
    }

    pub fn decryption(&self) -> DecryptionKey {
        DecryptionKey::new(&self.key_pem, self.certificate.clone()).unwrap()
    }
}

/// A Response that says Alice, with which parts of it signed by the provider.
fn honest(stage: &Stage, response: bool, assertion: bool) -> String {
    honest_by(stage, &PROVIDER, ALICE, response, assertion)
}

fn honest_by(stage: &Stage, by: &Party, who: &str, response: bool, assertion: bool) -> String {
    let name_id = NameId {
        value: who.to_owned(),
        format: Some("urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress".into()),
        name_qualifier: None,
        sp_name_qualifier: None,
    };
    let attributes = [("groups", vec!["staff".to_owned(), "wiki".to_owned()]), ("mail", vec![who.to_owned()])];
    ResponseOf {
        issuer: &stage.issuer,
        destination: &stage.acs_url,
        in_response_to: Some(&stage.request),
        status: SUCCESS,
        status_detail: None,
        assertion: Some(AssertionOf {
            name_id: &name_id,
            recipient: &stage.acs_url,
            audience: &stage.audience,
            attributes: &attributes,
            session_index: "_session-1",
            authn_instant: stage.now,
            authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            session_ends_at: Some(stage.now + Duration::from_secs(3600)),
            lives: Duration::from_secs(300),
        }),
        at: stage.now,
    }
    .build(Signing { key: &by.signing, response, assertion, encrypt: None })
    .unwrap()
    .xml()
}

/// The first element of that name, tags and all.
fn cut<'t>(text: &'t str, name: &str) -> &'t str {
    let tag = [format!("<{name}>"), format!("<{name} ")];
    let from = tag.iter().filter_map(|tag| text.find(tag)).min().unwrap_or_else(|| panic!("no {name} in {text}"));
    let end = format!("</{name}>");
    let to = text[from..].find(&end).unwrap() + from + end.len();
    &text[from..to]
}

/// Without the first element of that name.
fn without(text: &str, name: &str) -> String {
    text.replacen(cut(text, name), "", 1)
}

/// The value of the first attribute of that name.
fn value<'t>(text: &'t str, attribute: &str) -> &'t str {
    let from = text.find(&format!(" {attribute}=\"")).unwrap() + attribute.len() + 3;
    &text[from..from + text[from..].find('"').unwrap()]
}

/// With something changed; the test that would change nothing fails.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in {text}");
    text.replacen(from, to, 1)
}

/// How a signature of ours comes to be, so that one thing of it can be another.
#[derive(Clone)]
struct Shape {
    method: String,
    digest_method: String,
    canonical: String,
    transforms: String,
    uri: Option<String>,
    digest: Option<String>,
}

impl Shape {
    fn usual() -> Self {
        let exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#";
        let transform = |algorithm: &str| format!("<ds:Transform Algorithm=\"{algorithm}\"></ds:Transform>");
        Self {
            method: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256".into(),
            digest_method: "http://www.w3.org/2001/04/xmlenc#sha256".into(),
            canonical: format!("<ds:CanonicalizationMethod Algorithm=\"{exclusive}\"></ds:CanonicalizationMethod>"),
            transforms: transform("http://www.w3.org/2000/09/xmldsig#enveloped-signature") + &transform(exclusive),
            uri: None,
            digest: None,
        }
    }
}

/// The first element of that name in a text that is canonical already, signed in its place: truly, by that party, and in
/// whatever shape is wanted.
fn resigned(text: &str, name: &str, by: &Party, shape: &Shape) -> String {
    let element = cut(text, name);
    let uri = shape.uri.clone().unwrap_or_else(|| format!("#{}", value(element, "ID")));
    let uri = if uri == "none" { String::new() } else { format!(" URI=\"{uri}\"") };
    let hashed = shape.digest.clone().unwrap_or_else(|| STANDARD.encode(digest(&SHA256, element.as_bytes())));
    let inner = format!(
        "{}<ds:SignatureMethod Algorithm=\"{}\"></ds:SignatureMethod><ds:Reference{uri}><ds:Transforms>{}</ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{}\"></ds:DigestMethod><ds:DigestValue>{hashed}</ds:DigestValue></ds:Reference>",
        shape.canonical, shape.method, shape.transforms, shape.digest_method
    );
    let canonical = format!("<ds:SignedInfo xmlns:ds=\"{DSIG}\">{inner}</ds:SignedInfo>");
    let mut signature = vec![0; by.rsa.public_modulus_len()];
    by.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), canonical.as_bytes(), &mut signature).unwrap();
    let signature = format!(
        "<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo>{inner}</ds:SignedInfo>\
         <ds:SignatureValue>{}</ds:SignatureValue></ds:Signature>",
        STANDARD.encode(signature)
    );
    let signed = changed(element, "</saml:Issuer>", &format!("</saml:Issuer>{signature}"));
    text.replacen(element, &signed, 1)
}

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

//! Forms that cost by their weight rather than by wit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::saml::{Encryption, Signing};

use super::site::Begun;
use crate::support::saml_attacks::{OURSELVES, STRANGER};

type Form = Box<dyn Fn(&Begun) -> String>;

/// Of 432 KB, each by its name: the size at which a single element took libxml2 eight seconds.
pub(crate) fn large() -> Vec<(&'static str, Form)> {
    vec![
        ("40,000 attributes", Box::new(|begun: &Begun| begun.form(extended(begun, "", &forty_thousand())))),
        ("a document of 432 KB", Box::new(|begun| begun.form(extended(begun, "", &"x".repeat(HOSTILE))))),
        ("a form of 432 KB", Box::new(|begun| begun.form(extended(begun, "", &"x".repeat(HOSTILE / 4 * 3 - 2048))))),
        ("432 KB of fields", Box::new(|begun| begun.form("") + &"&a=".repeat(HOSTILE / 3))),
        ("432 KB of escapes", Box::new(|_| format!("SAMLResponse={}", "%41".repeat(HOSTILE / 3)))),
        ("432 KB of state", Box::new(|begun| begun.form(extended(begun, "", "")) + &"x".repeat(HOSTILE))),
    ]
}

/// As dear as a document can be that is small enough to be read.
pub(crate) fn dear() -> Vec<(&'static str, Form)> {
    vec![
        ("as many attributes as fit", Box::new(|begun: &Begun| by_element(begun, |_| attributes()))),
        ("as many IDs as fit", Box::new(|begun| by_element(begun, |n| format!("<a ID='{n:x}'/>")))),
        ("as many references as fit", Box::new(|begun| by_text(begun, "&#65;"))),
        ("as much depth as is read", Box::new(|begun| by_element(begun, |_| "<a>".repeat(28) + &"</a>".repeat(28)))),
        ("as many namespaces as are read", Box::new(|begun| by_element(begun, |n| format!("<p{}:a/>", n % 60)))),
        ("as many namespaced attributes as fit", Box::new(|begun| by_element(begun, |_| namespaced_attributes()))),
        ("declared again and again", Box::new(|begun| by_element(begun, |_| "<a xmlns='urn:b'/>".to_owned()))),
        ("a long value of a signature", Box::new(long_signature)),
        ("as much about keys as fits", Box::new(about_keys)),
        ("encrypted to us", Box::new(|begun| begun.form(encrypted(begun)))),
    ]
}

/// As many of these elements as the guard may read, in a Response that is signed with nothing.
fn by_element(begun: &Begun, element: impl Fn(usize) -> String) -> String {
    let mut elements = String::new();
    for n in 0..4000 {
        let next = element(n);
        if elements.len() + next.len() > PARSED {
            break;
        }
        elements.push_str(&next);
    }
    begun.form(extended(begun, &namespaces(), &elements))
}

/// As much of this text as fits.
fn by_text(begun: &Begun, text: &str) -> String {
    begun.form(extended(begun, "", &text.repeat(PARSED / text.len())))
}

/// A Response with this in its extensions, and a signature of the right shape around all of it: the last that is looked at
/// before the provider's key is.
fn extended(begun: &Begun, declared: &str, extensions: &str) -> String {
    signed_so(begun, declared, extensions, &STANDARD.encode([7; 256]))
}

fn signed_so(begun: &Begun, declared: &str, extensions: &str, value: &str) -> String {
    let stage = begun.stage();
    let kept: String = (0..if declared.is_empty() { 0 } else { 16 }).map(|n| format!("p{n} ")).collect();
    let exclusive =
        format!("Algorithm='{EXCLUSIVE}'><ec:InclusiveNamespaces xmlns:ec='{EXCLUSIVE}' PrefixList='{kept}'/>");
    let digest = STANDARD.encode([7; 32]);
    format!(
        "<samlp:Response xmlns:samlp='urn:oasis:names:tc:SAML:2.0:protocol' \
         xmlns:saml='urn:oasis:names:tc:SAML:2.0:assertion' ID='_1' Version='2.0' IssueInstant='2026-01-01T00:00:00Z' \
         Destination='{}' InResponseTo='{}' {declared}><saml:Issuer>{}</saml:Issuer>\
         <ds:Signature xmlns:ds='http://www.w3.org/2000/09/xmldsig#'><ds:SignedInfo>\
         <ds:CanonicalizationMethod {exclusive}</ds:CanonicalizationMethod>\
         <ds:SignatureMethod Algorithm='http://www.w3.org/2001/04/xmldsig-more#rsa-sha256'/>\
         <ds:Reference URI='#_1'><ds:Transforms>\
         <ds:Transform Algorithm='http://www.w3.org/2000/09/xmldsig#enveloped-signature'/>\
         <ds:Transform {exclusive}</ds:Transform></ds:Transforms>\
         <ds:DigestMethod Algorithm='http://www.w3.org/2001/04/xmlenc#sha256'/><ds:DigestValue>{digest}</ds:DigestValue>\
         </ds:Reference></ds:SignedInfo><ds:SignatureValue>{value}</ds:SignatureValue></ds:Signature>\
         <samlp:Extensions>{extensions}</samlp:Extensions>\
         <samlp:Status><samlp:StatusCode Value='urn:oasis:names:tc:SAML:2.0:status:Success'/></samlp:Status>\
         <saml:Assertion ID='_2' Version='2.0' IssueInstant='2026-01-01T00:00:00Z'/></samlp:Response>",
        stage.acs_url, stage.request, stage.issuer
    )
}

/// All that may be in scope, but for those that the document has of its own.
fn namespaces() -> String {
    (0..60).map(|n| format!("xmlns:p{n}='urn:{n}' ")).collect()
}

/// On one element.
fn forty_thousand() -> String {
    format!("<a {}/>", (0..40_000).map(|n| format!("a{n:x}='' ")).collect::<String>())
}

/// All that an element may have.
fn attributes() -> String {
    format!("<a {}/>", (0..60).map(|n| format!("a{n}='' ")).collect::<String>())
}

fn namespaced_attributes() -> String {
    format!("<a {}/>", (0..60).map(|n| format!("p{n}:a='' ")).collect::<String>())
}

fn long_signature(begun: &Begun) -> String {
    begun.form(signed_so(begun, "", "", &"QUFB".repeat(PARSED / 4)))
}

/// Half of the elements in the signature, which is cut out of the others node by node.
fn about_keys(begun: &Begun) -> String {
    let document = extended(begun, "", &"<a>b</a>".repeat(1900));
    let keys = format!("<ds:KeyInfo>{}</ds:KeyInfo>", "<ds:KeyName>b</ds:KeyName>".repeat(1900));
    begun.form(document.replacen("</ds:SignatureValue>", &format!("</ds:SignatureValue>{keys}"), 1))
}

/// An assertion as large as is read, signed by a stranger: anybody can encrypt to the certificate in our metadata.
fn encrypted(begun: &Begun) -> String {
    let encrypt = Some((&OURSELVES.certificate, Encryption::default()));
    let groups = (0..1500).map(|n| format!("group-{n}")).collect();
    begun.response("somebody", groups, Signing { key: &STRANGER.signing, response: false, assertion: true, encrypt })
}

const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const HOSTILE: usize = 432 * 1024;
/// What is parsed at all, but for the Response around it.
const PARSED: usize = 124 * 1024;

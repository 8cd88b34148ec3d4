//! Signing what we write: enveloped (XML-DSig §4) in a document.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{Certificate, SigningKey};
use super::names;
use super::write::Element;

/// The element with a signature over it in its place: behind the Issuer, or first where there is none. `None` where the
/// library fails. Needs an ID.
pub(super) fn enveloped(element: Element, key: &SigningKey) -> Option<Element> {
    let id = element.attribute("ID")?;
    let digest = STANDARD.encode(digest(&SHA256, element.write().as_bytes()));
    let exclusive = || Element::new("ds:Transform").with("Algorithm", names::EXCLUSIVE_C14N);
    let reference = Element::new("ds:Reference")
        .with("URI", format!("#{id}"))
        .child(
            Element::new("ds:Transforms")
                .child(Element::new("ds:Transform").with("Algorithm", names::ENVELOPED))
                .child(exclusive()),
        )
        .child(Element::new("ds:DigestMethod").with("Algorithm", names::SHA256))
        .child(Element::new("ds:DigestValue").text(digest));
    let info = Element::new("ds:SignedInfo")
        .child(Element::new("ds:CanonicalizationMethod").with("Algorithm", names::EXCLUSIVE_C14N))
        .child(Element::new("ds:SignatureMethod").with("Algorithm", key.algorithm()))
        .child(reference);
    // by itself, as canonicalisation sees it: with the declaration that the Signature around it has in the document
    let value = STANDARD.encode(key.sign(info.write().as_bytes())?);
    let signature = Element::new("ds:Signature")
        .child(info)
        .child(Element::new("ds:SignatureValue").text(value))
        .child(key_info(key.certificate()));
    let at = usize::from(element.begins_with("saml:Issuer"));
    Some(element.insert(at, signature))
}

/// A certificate, as a hint for whom it may concern.
pub(super) fn key_info(certificate: &Certificate) -> Element {
    let x509 = Element::new("ds:X509Certificate").text(certificate.base64());
    Element::new("ds:KeyInfo").child(Element::new("ds:X509Data").child(x509))
}

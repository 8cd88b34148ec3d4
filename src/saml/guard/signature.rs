//! The one shape of signature that reaches the verifier (XML-DSig §4, narrowed by SAML-Core §5.4).
//!
//! ```text
//! Signature → SignedInfo → CanonicalizationMethod   exclusive, without comments
//!                          SignatureMethod          RSA or ECDSA, over SHA-2
//!                          Reference, one           URI = "#" + the parent's ID
//!                            Transforms             enveloped-signature, exclusive canonicalisation; no others
//!                            DigestMethod           SHA-2
//!                            DigestValue            as long as that digest
//!           → SignatureValue
//!           → KeyInfo                               read by nobody
//! ```

use roxmltree::Node;

use super::KeyKind;
use crate::saml::names::{
    DSIG, DSIG11, ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512, ENVELOPED, EXCLUSIVE_C14N, RSA_SHA256, RSA_SHA384,
    RSA_SHA512, SHA256, SHA384, SHA512,
};
use crate::saml::reason::{Reason, shown};
use crate::saml::tree;

/// What kind of key the signature says to be made with, where its shape is the one.
pub(super) fn shape(signature: Node<'_, '_>, parent: Node<'_, '_>) -> Result<KeyKind, Reason> {
    attributes(signature, &["Id"])?;
    // several SignedInfo, or an Object with what a reference could mean: CVE-2025-29774, XSW
    let (info, value, key_info) = match *children(signature)? {
        [info, value] => (info, value, None),
        [info, value, key_info] => (info, value, Some(key_info)),
        _ => return Err(refuse("it has other parts than SignedInfo, SignatureValue, KeyInfo")),
    };
    named(value, "SignatureValue")?;
    attributes(value, &["Id"])?;
    let is_value = tree::bytes(value).is_some_and(|bytes| (1..=LONGEST_VALUE).contains(&bytes.len()));
    if !is_value {
        return Err(refuse("its value is no base64, or longer than any key's"));
    }
    if let Some(key_info) = key_info {
        named(key_info, "KeyInfo")?;
        unread(key_info)?;
    }
    named(info, "SignedInfo")?;
    attributes(info, &["Id"])?;
    let [canonical, method, reference] = *children(info)? else {
        return Err(refuse("its SignedInfo has other parts than two methods and one Reference"));
    };
    named(canonical, "CanonicalizationMethod")?;
    exclusive(canonical)?;
    named(method, "SignatureMethod")?;
    // an HMAC's output length, and whatever else a method could be told
    empty(method)?;
    let key = match algorithm(method)? {
        RSA_SHA256 | RSA_SHA384 | RSA_SHA512 => KeyKind::Rsa,
        ECDSA_SHA256 | ECDSA_SHA384 | ECDSA_SHA512 => KeyKind::Ecdsa,
        other => return Err(Reason::SignatureShape(format!("its method is `{}`", shown(other)))),
    };
    self::reference(reference, parent)?;
    Ok(key)
}

fn reference(reference: Node<'_, '_>, parent: Node<'_, '_>) -> Result<(), Reason> {
    named(reference, "Reference")?;
    attributes(reference, &["Id", "URI"])?;
    // SAML-Core §5.4.2. Anything else xmlsec1 would fetch, before it looks at the signature
    let id = tree::attribute(parent, "ID").filter(|id| is_name(id));
    let id = id.ok_or_else(|| refuse("what it stands in has no ID that could be referred to"))?;
    if tree::attribute(reference, "URI").and_then(|uri| uri.strip_prefix('#')) != Some(id) {
        return Err(refuse("its Reference is not to the element that it stands in"));
    }
    let [transforms, method, value] = *children(reference)? else {
        return Err(refuse("its Reference has other parts than Transforms, DigestMethod, DigestValue"));
    };
    named(transforms, "Transforms")?;
    attributes(transforms, &[])?;
    // SAML-Core §5.4.4: XSLT, XPath and the rest are not among them
    let [enveloped, canonical] = *children(transforms)? else {
        return Err(refuse("it has other transforms than enveloped-signature and exclusive canonicalisation"));
    };
    named(enveloped, "Transform")?;
    empty(enveloped)?;
    if algorithm(enveloped)? != ENVELOPED {
        return Err(refuse("its first transform is not enveloped-signature"));
    }
    named(canonical, "Transform")?;
    exclusive(canonical)?;
    named(method, "DigestMethod")?;
    empty(method)?;
    let length = match algorithm(method)? {
        SHA256 => 32,
        SHA384 => 48,
        SHA512 => 64,
        other => return Err(Reason::SignatureShape(format!("its digest is `{}`", shown(other)))),
    };
    named(value, "DigestValue")?;
    attributes(value, &[])?;
    if tree::bytes(value).is_none_or(|digest| digest.len() != length) {
        return Err(refuse("its digest's value is not as long as such a digest"));
    }
    Ok(())
}

/// Exclusive canonicalisation without comments, and the prefixes that some providers (Okta) have it keep.
fn exclusive(method: Node<'_, '_>) -> Result<(), Reason> {
    if algorithm(method)? != EXCLUSIVE_C14N {
        return Err(refuse("its canonicalisation is not the exclusive one without comments"));
    }
    let mut kept = tree::elements(method);
    let inclusive = kept.next();
    let is_well_formed = inclusive.is_none_or(|node| {
        let prefixes = tree::attribute(node, "PrefixList");
        tree::is(node, EXCLUSIVE_C14N, "InclusiveNamespaces")
            && node.attributes().len() == 1
            && prefixes.is_some_and(|list| list.split_ascii_whitespace().count() <= MOST_PREFIXES)
            && tree::text(node).is_some_and(|text| text.trim_ascii().is_empty())
    });
    if !is_well_formed || kept.next().is_some() {
        return Err(refuse("its canonicalisation is told other things than prefixes to keep"));
    }
    only_space(method)
}

/// A key in the document is nobody's word: the pinned certificates are tried, and xmlsec1, which has one of them in hand,
/// does not look here (CVE-2023-48703). What would have to be fetched to be looked at is refused all the same.
fn unread(key_info: Node<'_, '_>) -> Result<(), Reason> {
    const REFUSED: [&str; 5] = ["RetrievalMethod", "KeyInfoReference", "Object", "Signature", "Manifest"];
    // node by node xmlsec1 cuts the signature out of what it covers: many here cost as many times as there are others (A16)
    if key_info.descendants().nth(MOST_ABOUT_KEYS).is_some() {
        return Err(refuse("its KeyInfo has more parts than any key needs"));
    }
    for element in key_info.descendants().filter(Node::is_element) {
        let is_dsig = [DSIG, DSIG11].contains(&tree::namespace(element));
        if !is_dsig || REFUSED.contains(&element.tag_name().name()) {
            let name = shown(element.tag_name().name());
            return Err(Reason::SignatureShape(format!("its KeyInfo has the element `{name}`")));
        }
    }
    Ok(())
}

/// The child elements, where there is nothing between them.
fn children<'a, 'i>(node: Node<'a, 'i>) -> Result<Vec<Node<'a, 'i>>, Reason> {
    only_space(node)?;
    Ok(tree::elements(node).collect())
}

fn only_space(node: Node<'_, '_>) -> Result<(), Reason> {
    let is_space = |text: Option<&str>| text.is_none_or(|text| text.trim_ascii().is_empty());
    if node.children().all(|child| child.is_element() || (child.is_text() && is_space(child.text()))) {
        Ok(())
    } else {
        Err(refuse("text stands between its parts"))
    }
}

fn empty(node: Node<'_, '_>) -> Result<(), Reason> {
    only_space(node)?;
    if tree::elements(node).next().is_none() { Ok(()) } else { Err(refuse("a method of it has a parameter")) }
}

fn algorithm<'a>(node: Node<'a, '_>) -> Result<&'a str, Reason> {
    attributes(node, &["Algorithm"])?;
    tree::attribute(node, "Algorithm").ok_or_else(|| refuse("a method of it names no algorithm"))
}

fn named(node: Node<'_, '_>, name: &str) -> Result<(), Reason> {
    if tree::is(node, DSIG, name) {
        return Ok(());
    }
    let found = shown(node.tag_name().name());
    Err(Reason::SignatureShape(format!("it has a `{found}` in the place of its {name}")))
}

fn attributes(node: Node<'_, '_>, known: &[&str]) -> Result<(), Reason> {
    match node.attributes().find(|a| a.namespace().is_some() || !known.contains(&a.name())) {
        None => Ok(()),
        Some(other) => Err(Reason::SignatureShape(format!("it has the attribute `{}`", shown(other.name())))),
    }
}

/// An NCName of ASCII, which `xs:ID` is everywhere: nothing that a pointer could be read in.
fn is_name(id: &str) -> bool {
    id.len() <= LONGEST_ID
        && id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn refuse(what: &str) -> Reason {
    Reason::SignatureShape(what.to_owned())
}

const MOST_PREFIXES: usize = 16;
const LONGEST_ID: usize = 256;
/// Of RSA with 16,384 bits.
const LONGEST_VALUE: usize = 2048;
/// A chain of certificates, each with its issuer and serial number, indented: texts count as well.
const MOST_ABOUT_KEYS: usize = 128;

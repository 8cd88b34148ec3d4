//! The strict guard: what it lets through is the narrow XML that honest providers send, in the one structure that the
//! schema has, signed in the one shape that is verified.
//!
//! It sees a document's bytes before any C code does. xmlsec1 behind it would fetch the URLs of references, run style
//! sheets, take several references, keys from the document, SHA-1; libxml2 would mend what is broken. None of that is
//! configured away here: a document that asks for it doesn't arrive. And it leaves attackers nowhere to hide a second
//! assertion (A15): there is one in the whole document, where the schema puts it, and every signature covers its own
//! parent.
//!
//! The reader is roxmltree: it refuses what is not well-formed, expands no entities of a document's own, and gives a
//! tree with namespaces resolved, which is the level at which signatures speak. quick-xml's events would leave matching
//! of tags, prefixes and duplicate attributes to us.

use std::collections::HashSet;

use roxmltree::Node;

mod signature;

use super::names::{self, ASSERTION, DSIG, DSIG11, PROTOCOL, XENC, XENC11};
use super::reason::{Reason, Refused};
use super::scan::{self, scan};
use super::tree;

/// A document that the guard let through. Nothing in it is believed yet: [`verify`](super::verify()) does that.
#[derive(Clone, Debug)]
pub struct Guarded {
    text: String,
    kind: Kind,
    body: Body,
    signatures: Vec<Signed>,
}

/// Which document is expected: the root that it must have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `samlp:Response`, with one assertion, encrypted or not.
    Response,
    /// `samlp:AuthnRequest`.
    AuthnRequest,
    /// `samlp:LogoutRequest`.
    LogoutRequest,
    /// `samlp:LogoutResponse`.
    LogoutResponse,
    /// `md:EntityDescriptor`, or `md:EntitiesDescriptor` around it.
    Metadata,
}

/// What a Response is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Body {
    Assertion,
    EncryptedAssertion,
    /// Other documents.
    None,
}

/// A signature, by what it covers: the element that holds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Signed {
    pub(super) part: Part,
    pub(super) key: KeyKind,
}

/// The elements that may be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Root,
    Assertion,
}

/// What kind of key makes such a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeyKind {
    Rsa,
    Ecdsa,
}

impl Guarded {
    /// Lets a document through, or says why not. Linear in its length.
    ///
    /// # Errors
    /// [`Reason::Exceeds`], [`Reason::Xml`], [`Reason::Structure`], [`Reason::SignatureShape`], [`Reason::DuplicateId`],
    /// [`Reason::Encryption`]; [`Reason::Unsigned`] for a Response whose plain assertion nobody signed, and
    /// [`Reason::Status`] for one without an assertion.
    pub fn new(bytes: &[u8], kind: Kind) -> Result<Self, Refused> {
        let guarded = Self::read(bytes, kind)?;
        if matches!(guarded.body, Body::Assertion) && guarded.signatures.is_empty() {
            return Err(Reason::Unsigned.into());
        }
        Ok(guarded)
    }

    /// A Response after its assertion was decrypted and put in place. Only where what was decrypted had been signed
    /// around may nothing be signed within.
    pub(super) fn decrypted(text: &str, was_signed: bool) -> Result<Self, Reason> {
        let guarded = Self::read(text.as_bytes(), Kind::Response)?;
        match guarded.body {
            Body::Assertion if was_signed || !guarded.signatures.is_empty() => Ok(guarded),
            Body::Assertion => Err(Reason::Unsigned),
            _ => Err(Reason::Encryption("an encrypted assertion in an encrypted assertion".into())),
        }
    }

    fn read(bytes: &[u8], kind: Kind) -> Result<Self, Reason> {
        let limits = if kind == Kind::Metadata { scan::METADATA } else { scan::MESSAGE };
        let text = scan(bytes, limits)?;
        let document = tree::parse(text)?;
        let root = document.root_element();
        if !kind.roots().iter().any(|(namespace, name)| tree::is(root, namespace, name)) {
            return Err(Reason::structure("the root is", root.tag_name().name()));
        }
        unique_ids(root)?;
        if kind != Kind::Metadata {
            unsupported(root)?;
        }
        let (body, assertion) = match kind {
            Kind::Response => response(root)?,
            _ => (Body::None, None),
        };
        let signatures = match kind {
            // federations sign with what they like; who pins a certificate has it checked when it is verified
            Kind::Metadata => Vec::new(),
            _ => placed_signatures(root, assertion)?,
        };
        if kind != Kind::Metadata
            && (tree::attribute(root, "ID").is_none() || tree::attribute(root, "Version") != Some("2.0"))
        {
            return Err(Reason::Structure("the message has no ID, or its version is not 2.0".into()));
        }
        Ok(Self { text: text.to_owned(), kind, body, signatures })
    }

    /// Metadata whose signature is to be verified: the signature's shape is held to what messages are held to.
    pub(super) fn signed_metadata(bytes: &[u8]) -> Result<Self, Reason> {
        let mut guarded = Self::read(bytes, Kind::Metadata)?;
        let document = tree::parse(&guarded.text)?;
        let signatures = placed_signatures(document.root_element(), None)?;
        if signatures.is_empty() {
            return Err(Reason::Unsigned);
        }
        guarded.signatures = signatures;
        Ok(guarded)
    }

    /// Which document it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether somebody signed it, or its assertion; by whom is not known yet.
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// Whether its assertion is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.body == Body::EncryptedAssertion
    }

    /// The document, without an XML declaration.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn body(&self) -> Body {
        self.body
    }

    pub(super) fn signatures(&self) -> &[Signed] {
        &self.signatures
    }
}

impl Kind {
    fn roots(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Response => &[(PROTOCOL, "Response")],
            Self::AuthnRequest => &[(PROTOCOL, "AuthnRequest")],
            Self::LogoutRequest => &[(PROTOCOL, "LogoutRequest")],
            Self::LogoutResponse => &[(PROTOCOL, "LogoutResponse")],
            Self::Metadata => &[(names::METADATA, "EntityDescriptor"), (names::METADATA, "EntitiesDescriptor")],
        }
    }
}

/// Every attribute that some reader takes for an ID: what a reference names is one element for all of them.
fn unique_ids(root: Node<'_, '_>) -> Result<(), Reason> {
    let mut ids = HashSet::new();
    for element in root.descendants().filter(Node::is_element) {
        for attribute in element.attributes() {
            let is_id = IDS.iter().any(|id| attribute.name().eq_ignore_ascii_case(id));
            if is_id && !ids.insert(attribute.value()) {
                return Err(Reason::DuplicateId(super::reason::shown(attribute.value())));
            }
        }
    }
    Ok(())
}

/// SAML-Core §3.2.2: Issuer, Signature, Extensions, Status, then one assertion, encrypted or not, and that the only one
/// in the whole document.
fn response<'a, 'i>(root: Node<'a, 'i>) -> Result<(Body, Option<Node<'a, 'i>>), Reason> {
    const ORDER: [(&str, &str); 6] = [
        (ASSERTION, "Issuer"),
        (DSIG, "Signature"),
        (PROTOCOL, "Extensions"),
        (PROTOCOL, "Status"),
        (ASSERTION, "Assertion"),
        (ASSERTION, "EncryptedAssertion"),
    ];
    let mut before = None;
    let mut found = None;
    for child in tree::elements(root) {
        let place = ORDER.iter().position(|(namespace, name)| tree::is(child, namespace, name));
        let place = place.ok_or_else(|| Reason::structure("the Response has the child", child.tag_name().name()))?;
        if before.is_some_and(|before| before >= place) || (found.is_some() && place >= FIRST_ASSERTION) {
            return Err(Reason::structure(
                "the Response has, once more or too late, the child",
                child.tag_name().name(),
            ));
        }
        before = Some(place);
        found = (place >= FIRST_ASSERTION).then_some(child);
    }
    for element in root.descendants().filter(|node| node.is_element() && *node != root && Some(*node) != found) {
        let name = element.tag_name().name();
        match name {
            "Assertion" | "EncryptedAssertion" | "Response" => {
                return Err(Reason::structure("where the schema has none, there is the element", name));
            }
            _ => {}
        }
    }
    let Some(found) = found else { return Err(status(root)) };
    outside_of_encryption(root, found)?;
    if tree::is(found, ASSERTION, "EncryptedAssertion") {
        return Ok((Body::EncryptedAssertion, None));
    }
    if tree::attribute(found, "ID").is_none() || tree::attribute(found, "Version") != Some("2.0") {
        return Err(Reason::Structure("the assertion has no ID, or its version is not 2.0".into()));
    }
    Ok((Body::Assertion, Some(found)))
}

/// Encryption of other things than a whole assertion, by name.
fn unsupported(root: Node<'_, '_>) -> Result<(), Reason> {
    const NAMES: [&str; 3] = ["EncryptedID", "NewEncryptedID", "EncryptedAttribute"];
    let names = root.descendants().filter(Node::is_element).map(|node| node.tag_name().name());
    match names.into_iter().find(|name| NAMES.contains(name)) {
        Some(name) => Err(Reason::Encryption(format!("{name} is not supported"))),
        None => Ok(()),
    }
}

/// XML encryption stands in an EncryptedAssertion and nowhere else.
fn outside_of_encryption(root: Node<'_, '_>, body: Node<'_, '_>) -> Result<(), Reason> {
    let is_encrypted = tree::is(body, ASSERTION, "EncryptedAssertion");
    for element in root.descendants().filter(Node::is_element) {
        let within = is_encrypted && element.ancestors().any(|ancestor| ancestor == body);
        if !within && [XENC, XENC11].contains(&tree::namespace(element)) {
            return Err(Reason::structure("outside of an EncryptedAssertion there is", element.tag_name().name()));
        }
    }
    Ok(())
}

/// Of a Response without an assertion: what the provider says instead of one.
fn status(root: Node<'_, '_>) -> Reason {
    let code = tree::one(root, PROTOCOL, "Status").and_then(|status| tree::one(status, PROTOCOL, "StatusCode"));
    let value = |node| tree::attribute(node, "Value").map(super::reason::shown);
    match code.and_then(value) {
        Some(code_text) if code_text != names::SUCCESS => Reason::Status {
            code: code_text,
            detail: code.and_then(|code| tree::one(code, PROTOCOL, "StatusCode")).and_then(value),
        },
        _ => Reason::Missing("assertion"),
    }
}

/// Every signature of the document, which are children of the root or of its assertion: at most one of each, at the
/// place that the schema has for it. Nothing else of XML signatures may stand anywhere.
fn placed_signatures(root: Node<'_, '_>, assertion: Option<Node<'_, '_>>) -> Result<Vec<Signed>, Reason> {
    let mut signatures = Vec::new();
    let mut held = Vec::new();
    for (part, parent) in [(Part::Root, Some(root)), (Part::Assertion, assertion)] {
        let Some(parent) = parent else { continue };
        let mut all = tree::all(parent, DSIG, "Signature");
        let Some(node) = all.next() else { continue };
        if all.next().is_some() {
            return Err(Reason::SignatureShape("an element has several".into()));
        }
        // SAML-Core §2.3.3, §3.2.1: the issuer is all that stands before it; metadata has nothing before
        let is_placed = node
            .prev_sibling_element()
            .is_none_or(|before| tree::is(before, ASSERTION, "Issuer") && before.prev_sibling_element().is_none());
        if !is_placed {
            return Err(Reason::SignatureShape("it does not stand behind the Issuer".into()));
        }
        let key = signature::shape(node, parent)?;
        signatures.push(Signed { part, key });
        held.push(node);
    }
    let encrypted = tree::one(root, ASSERTION, "EncryptedAssertion");
    let is_metadata = tree::namespace(root) == names::METADATA;
    for element in root.descendants().filter(|node| [DSIG, DSIG11].contains(&tree::namespace(*node))) {
        let is_signature = element.tag_name().name() == "Signature";
        let is_known = element.ancestors().any(|ancestor| held.contains(&ancestor) && ancestor != element)
            || held.contains(&element)
            || encrypted.is_some_and(|encrypted| element.ancestors().any(|ancestor| ancestor == encrypted))
            || is_metadata;
        if !is_known || (is_signature && !held.contains(&element)) {
            return Err(Reason::structure("at a place where none may be, there is", element.tag_name().name()));
        }
    }
    Ok(signatures)
}

/// What some reader takes for an ID, in whatever case.
const IDS: [&str; 4] = ["id", "assertionid", "responseid", "requestid"];
/// Where in the order of a Response's children assertions begin.
const FIRST_ASSERTION: usize = 4;

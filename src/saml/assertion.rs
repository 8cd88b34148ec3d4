//! What a verified assertion says of somebody.

use std::time::SystemTime;

use roxmltree::Node;

use super::names::{ASSERTION, XSI};
use super::reason::Reason;
use super::tree;

/// Who somebody is, by the word of a provider that is believed, for us and now. Only
/// [`Verified::accept`](super::Verified::accept) makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assertion {
    /// The provider's entity ID.
    pub issuer: String,
    /// Whom it speaks of.
    pub name_id: NameId,
    /// What it says of them. Elements of one name are one attribute with all their values.
    pub attributes: Vec<Attribute>,
    /// The provider's name for this login; a LogoutRequest names it.
    pub session_index: Option<String>,
    /// When they proved who they are.
    pub authn_instant: SystemTime,
    /// How they proved it.
    pub authn_context: Option<String>,
    /// When the provider wants the login to end.
    pub session_ends_at: Option<SystemTime>,
    /// The request it answers; `None` where nobody asked.
    pub in_response_to: Option<String>,
    /// Which of the accepted recipients it is for.
    pub recipient: String,
    /// Which of the accepted audiences it is for.
    pub audience: String,
    /// When it was issued.
    pub issued_at: SystemTime,
    /// It counts once: the caller refuses an ID it has seen, and remembers this one (A17).
    pub once: Once,
}

/// What must not come twice.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Once {
    /// Its ID. Unique at its issuer, so the key to remember is issuer and ID, apart.
    pub id: String,
    /// Until when it would be accepted again.
    pub until: SystemTime,
}

/// A subject's name (SAML-Core §2.2.2).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NameId {
    /// The name.
    pub value: String,
    /// What kind of name; `None` is unspecified.
    pub format: Option<String>,
    /// At whom it is unique.
    pub name_qualifier: Option<String>,
    /// For whom it is unique.
    pub sp_name_qualifier: Option<String>,
}

/// An attribute with its values (SAML-Core §2.7.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribute {
    /// Its name: often a URI.
    pub name: String,
    /// Its name for people, which says nothing to programs.
    pub friendly_name: Option<String>,
    /// Its values, as texts and in order. Values that are markup themselves are no texts and not among them.
    pub values: Vec<String>,
}

impl Assertion {
    /// The values of the attribute of this name; none where it isn't there.
    pub fn values(&self, name: &str) -> &[String] {
        self.attributes.iter().find(|attribute| attribute.name == name).map_or(&[], |found| &found.values)
    }
}

impl NameId {
    /// A `NameID` element that is not empty.
    pub(super) fn read(node: Node<'_, '_>) -> Result<Self, Reason> {
        let value = tree::trimmed(node).filter(|value| !value.is_empty()).ok_or(Reason::Missing("NameID"))?;
        let attribute = |name| tree::attribute(node, name).map(str::to_owned);
        Ok(Self {
            value,
            format: attribute("Format"),
            name_qualifier: attribute("NameQualifier"),
            sp_name_qualifier: attribute("SPNameQualifier"),
        })
    }
}

/// The attributes of every AttributeStatement of an assertion.
pub(super) fn attributes(assertion: Node<'_, '_>) -> Result<Vec<Attribute>, Reason> {
    let mut attributes: Vec<Attribute> = Vec::new();
    let statements = tree::all(assertion, ASSERTION, "AttributeStatement");
    for node in statements.flat_map(|statement| tree::all(statement, ASSERTION, "Attribute")) {
        let name = tree::attribute(node, "Name")
            .filter(|name| !name.is_empty())
            .ok_or(Reason::Missing("Name of an attribute"))?;
        let values = tree::all(node, ASSERTION, "AttributeValue");
        let values = values.filter(|value| value.attribute((XSI, "nil")).is_none_or(|nil| nil != "true" && nil != "1"));
        let values = values.filter_map(tree::text);
        if let Some(known) = attributes.iter_mut().find(|known| known.name == name) {
            known.values.extend(values);
        } else {
            let friendly_name = tree::attribute(node, "FriendlyName").map(str::to_owned);
            attributes.push(Attribute { name: name.to_owned(), friendly_name, values: values.collect() });
        }
    }
    Ok(attributes)
}

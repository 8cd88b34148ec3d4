//! Reading elements: by full name, whole texts, and nothing that is not there.

use std::time::SystemTime;

use roxmltree::{Document, Node, ParsingOptions};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::reason::Reason;

/// The tree of a text that [`scan`](super::scan::scan) has looked over.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Reason> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|e| Reason::Xml(super::reason::shown(&e.to_string())))
}

/// Whether the element has this full name.
pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.has_tag_name((namespace, name))
}

/// Its namespace, or nothing.
pub(super) fn namespace<'a>(node: Node<'a, '_>) -> &'a str {
    node.tag_name().namespace().unwrap_or_default()
}

/// The child elements, in order.
pub(super) fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// The child elements of this full name, in order.
pub(super) fn all<'a, 'i>(node: Node<'a, 'i>, namespace: &str, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    elements(node).filter(move |child| is(*child, namespace, name))
}

/// The one child element of this full name; none where there are several, so that nobody takes the wrong one.
pub(super) fn one<'a, 'i>(node: Node<'a, 'i>, namespace: &str, name: &str) -> Option<Node<'a, 'i>> {
    let mut found = all(node, namespace, name);
    let first = found.next();
    if found.next().is_some() { None } else { first }
}

/// The whole text of an element that has nothing but text. A reader that takes the first text node of several is how
/// `admin@x<!---->.evil` became `admin@x` (CVE-2017-11427).
pub(super) fn text(node: Node<'_, '_>) -> Option<String> {
    if elements(node).next().is_some() {
        return None;
    }
    Some(node.children().filter_map(|child| if child.is_text() { child.text() } else { None }).collect())
}

/// The text without the white space around it, as URIs and codes are written in documents that were indented.
pub(super) fn trimmed(node: Node<'_, '_>) -> Option<String> {
    text(node).map(|text| text.trim_ascii().to_owned())
}

/// The base64 in an element, broken into lines or not.
pub(super) fn bytes(node: Node<'_, '_>) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let text: String = text(node)?.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// An attribute that stands in no namespace.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.namespace().is_none() && attribute.name() == name).map(|a| a.value())
}

/// An attribute that is a time: SAML-Core §1.3.3, `xs:dateTime` in UTC. `None` where it is not there.
pub(super) fn time(node: Node<'_, '_>, name: &'static str) -> Result<Option<SystemTime>, Reason> {
    let Some(value) = attribute(node, name) else { return Ok(None) };
    let at = OffsetDateTime::parse(value, &Rfc3339).map_err(|_| Reason::mismatch(name, value))?;
    Ok(Some(at.into()))
}

/// Tags and texts together; [`scan`](super::scan::scan) has bounded the elements already.
const MOST_NODES: u32 = 65_536;

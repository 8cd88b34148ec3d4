//! Writing XML: directly in the canonical form, so that what is hashed is what is sent.
//!
//! Exclusive Canonical XML 1.0 has one way to write an element: declarations where their prefix is first used, attributes
//! in order, no short forms. A document that is *written* so needs no canonicalisation before it is signed, and no C.

/// An element to be written.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Child>,
}

#[derive(Clone, Debug)]
enum Child {
    Element(Element),
    Text(String),
}

/// Prefixes are ours, and mean the same everywhere.
const PREFIXES: [(&str, &str); 7] = [
    ("ds", super::names::DSIG),
    ("ec", super::names::EXCLUSIVE_C14N),
    ("md", super::names::METADATA),
    ("saml", super::names::ASSERTION),
    ("samlp", super::names::PROTOCOL),
    ("xenc", super::names::XENC),
    ("xenc11", super::names::XENC11),
];

impl Element {
    /// An empty one, by prefix and name: `saml:Issuer`.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), children: Vec::new() }
    }

    /// With an attribute, in no namespace.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// With an attribute, where there is a value.
    pub(super) fn with_some(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a child at the end.
    pub(super) fn child(mut self, child: Self) -> Self {
        self.children.push(Child::Element(child));
        self
    }

    /// With children at the end.
    pub(super) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children.into_iter().map(Child::Element));
        self
    }

    /// With a text at the end.
    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Child::Text(text.into()));
        self
    }

    /// With an element at this place among the children.
    pub(super) fn insert(mut self, at: usize, child: Self) -> Self {
        self.children.insert(at.min(self.children.len()), Child::Element(child));
        self
    }

    /// The value of an attribute that was set.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(set, _)| *set == name).map(|(_, value)| value.as_str())
    }

    /// Whether the first child is that element.
    pub(super) fn begins_with(&self, name: &str) -> bool {
        matches!(self.children.first(), Some(Child::Element(child)) if child.name == name)
    }

    /// The document: canonical XML, without an XML declaration.
    pub(super) fn write(&self) -> String {
        let mut out = String::new();
        self.write_into(&mut out, &mut Vec::new());
        out
    }

    fn write_into(&self, out: &mut String, declared: &mut Vec<&'static str>) {
        let before = declared.len();
        let prefix = self.name.split_once(':').map_or("", |(prefix, _)| prefix);
        out.extend(["<", self.name]);
        if let Some((prefix, uri)) = PREFIXES.iter().find(|(known, _)| *known == prefix && !declared.contains(known)) {
            declared.push(prefix);
            out.extend([" xmlns:", prefix, "=\"", uri, "\""]);
        }
        let mut attributes: Vec<_> = self.attributes.iter().collect();
        attributes.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in attributes {
            out.extend([" ", name, "=\""]);
            escape(value, true, out);
            out.push('"');
        }
        out.push('>');
        for child in &self.children {
            match child {
                Child::Element(element) => element.write_into(out, declared),
                Child::Text(text) => escape(text, false, out),
            }
        }
        out.extend(["</", self.name, ">"]);
        declared.truncate(before);
    }
}

/// Canonical XML 1.0 §2.3; what XML can't hold at all becomes U+FFFD.
fn escape(text: &str, is_attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' if !is_attribute => out.push_str("&gt;"),
            '"' if is_attribute => out.push_str("&quot;"),
            '\t' if is_attribute => out.push_str("&#x9;"),
            '\n' if is_attribute => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}')
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_canonical() {
        let written = Element::new("samlp:Response")
            .with("Version", "2.0")
            .with("ID", "_1")
            .child(Element::new("saml:Issuer").text("a&<>\"\r\u{1}"))
            .child(Element::new("samlp:Status").with("X", "a&<>\"\t\n\r"))
            .child(Element::new("saml:Assertion").child(Element::new("saml:Subject")))
            .write();
        let expected = "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_1\" Version=\"2.0\">\
            <saml:Issuer xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">a&amp;&lt;&gt;\"&#xD;\u{fffd}</saml:Issuer>\
            <samlp:Status X=\"a&amp;&lt;>&quot;&#x9;&#xA;&#xD;\"></samlp:Status>\
            <saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"><saml:Subject></saml:Subject>\
            </saml:Assertion></samlp:Response>";
        assert_eq!(written, expected);
    }
}

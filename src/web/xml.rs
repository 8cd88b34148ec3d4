//! Writing the small XML documents that AWS-shaped services answer with.

use std::fmt::Write as _;

use http::StatusCode;

use super::{Response, answer};

/// An XML document being written. Element names are ours; only texts can be someone else's, and those are escaped.
#[derive(Debug)]
pub struct Xml(String);

impl Xml {
    /// A document whose root is `name` in the namespace `xmlns`; an empty `xmlns` is none.
    pub fn document(name: &'static str, xmlns: &'static str, content: impl FnOnce(&mut Self)) -> Self {
        let mut xml = Self(String::with_capacity(1024));
        xml.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
        xml.0.push_str(name);
        if !xmlns.is_empty() {
            let _ = write!(xml.0, " xmlns=\"{xmlns}\"");
        }
        xml.0.push('>');
        content(&mut xml);
        xml.close(name);
        xml
    }

    /// An element with elements inside.
    pub fn element(&mut self, name: &'static str, content: impl FnOnce(&mut Self)) {
        let _ = write!(self.0, "<{name}>");
        content(self);
        self.close(name);
    }

    /// An element with a text inside.
    pub fn text(&mut self, name: &'static str, text: &str) {
        let _ = write!(self.0, "<{name}>");
        self.escaped(text);
        self.close(name);
    }

    /// The document as an answer.
    pub fn answer(self, status: StatusCode) -> Response {
        answer(status, "text/xml", self.0)
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&apos;"),
                // a raw CR is read back as a line feed (XML 1.0 §2.11)
                '\r' => self.0.push_str("&#13;"),
                '\t' | '\n' => self.0.push(c),
                // XML 1.0 §2.2: these can't be in a document, not even as references
                c if c.is_ascii_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
    }

    fn close(&mut self, name: &str) {
        let _ = write!(self.0, "</{name}>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_markup() {
        let xml = Xml::document("A", "urn:a", |xml| xml.element("B", |xml| xml.text("C", "<x a=\"&'\">\u{0}\r")));
        let body = "<A xmlns=\"urn:a\"><B><C>&lt;x a=&quot;&amp;&apos;&quot;&gt;\u{fffd}&#13;</C></B></A>";
        assert_eq!(xml.0.split_once('\n').unwrap().1, body);
    }
}

//! Whether two elements say the same: names, attributes, children, texts.

use roxmltree::Node;

/// Whether `one` says what `other` says, but for `except`, a child of `one`. Prefixes and declarations may differ: they
/// are how it is written, not what it says.
pub(super) fn same(one: Node<'_, '_>, other: Node<'_, '_>, except: Option<Node<'_, '_>>) -> bool {
    if one.tag_name() != other.tag_name() || one.attributes().len() != other.attributes().len() {
        return false;
    }
    let equal = one.attributes().all(|attribute| {
        let twin = other.attributes().find(|a| a.name() == attribute.name() && a.namespace() == attribute.namespace());
        twin.is_some_and(|twin| twin.value() == attribute.value())
    });
    if !equal {
        return false;
    }
    let (mine, theirs) = (contents(one, except), contents(other, None));
    // as deep as the scan allows, and no deeper
    mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(mine, theirs)| mine.is_same(theirs))
}

enum Content<'a, 'i> {
    Element(Node<'a, 'i>),
    Text(String),
}

impl Content<'_, '_> {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Element(one), Self::Element(other)) => same(*one, *other, None),
            (Self::Text(one), Self::Text(other)) => one == other,
            _ => false,
        }
    }
}

/// Texts that meet are one: where a child is left out, where a comment was.
fn contents<'a, 'i>(node: Node<'a, 'i>, except: Option<Node<'a, 'i>>) -> Vec<Content<'a, 'i>> {
    let mut contents = Vec::new();
    for child in node.children().filter(|child| Some(*child) != except) {
        match (contents.last_mut(), child.text().filter(|_| child.is_text())) {
            (Some(Content::Text(before)), Some(text)) => before.push_str(text),
            (_, Some(text)) => contents.push(Content::Text(text.to_owned())),
            _ if child.is_element() => contents.push(Content::Element(child)),
            _ => {}
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saml::tree::parse;

    #[test]
    fn only_what_is_said_counts() {
        for (one, other, expected) in [
            ("<a b='1' c='2'>t<d/></a>", "<a c='2' b='1'>t<d></d></a>", true),
            ("<x:a xmlns:x='urn:x'/>", "<a xmlns='urn:x'/>", true),
            ("<a>b&amp;c</a>", "<a>b&#38;c</a>", true),
            ("<a/>", "<a xmlns='urn:x'/>", false),
            ("<a b='1'/>", "<a/>", false),
            ("<a b='1'/>", "<a b='2'/>", false),
            ("<a b='1'/>", "<a x:b='1' xmlns:x='urn:x'/>", false),
            ("<a>b</a>", "<a>c</a>", false),
            ("<a>b</a>", "<a>b </a>", false),
            ("<a><b/><c/></a>", "<a><c/><b/></a>", false),
            ("<a><b/></a>", "<a><b/><b/></a>", false),
            ("<a><b>c</b></a>", "<a><b>d</b></a>", false),
        ] {
            let (mine, theirs) = (parse(one).unwrap(), parse(other).unwrap());
            assert_eq!(same(mine.root_element(), theirs.root_element(), None), expected, "{one} and {other}");
        }
    }

    #[test]
    fn a_child_can_be_left_out_and_the_texts_meet() {
        let (mine, theirs) = (parse("<a>b<s/>c</a>").unwrap(), parse("<a>bc</a>").unwrap());
        let except = mine.root_element().children().find(Node::is_element);
        assert!(same(mine.root_element(), theirs.root_element(), except));
        assert!(!same(mine.root_element(), theirs.root_element(), None));
    }
}

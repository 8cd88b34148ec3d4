//! Changes of a document that leave it well-formed, so that they come past a strict parser: elements are taken out,
//! doubled, moved and wrapped, and given what attackers give them.

use std::ops::Range;

/// The text after these steps, three bytes each: what is done, to which element, with which other.
pub(super) fn changed(text: &str, steps: &[u8], other: &str) -> String {
    let mut text = text.to_owned();
    for step in steps.chunks_exact(3).take(MOST) {
        let &[what, this, that] = step else { continue };
        let found = elements(&text);
        let Some(this) = pick(&found, this) else { break };
        let element = text[this.clone()].to_owned();
        match what % 7 {
            0 => text.replace_range(this, ""),
            1 => put(&mut text, pick(&found, that), &element),
            2 => {
                // behind first, so that the places stay
                let Some(to) = pick(&found, that) else { continue };
                if to.start >= this.end {
                    text.insert_str(to.end, &element);
                    text.replace_range(this, "");
                } else if to.end <= this.start {
                    text.replace_range(this, "");
                    text.insert_str(to.start, &element);
                }
            }
            3 => {
                let Some(around) = pick(&found, that).map(|around| text[around].to_owned()) else { continue };
                if let (Some(open), Some(close)) = (around.find('>'), around.rfind("</")) {
                    text.replace_range(this, &format!("{}{element}{}", &around[..=open], &around[close..]));
                }
            }
            4 => {
                // one of another document, signed elsewhere
                let theirs = elements(other);
                if let Some(from) = pick(&theirs, that) {
                    text.replace_range(this, &other[from]);
                }
            }
            5 => {
                let content = element.find('>').map_or(this.start, |end| this.start + end + 1);
                text.insert_str(content, INSIDE[usize::from(that) % INSIDE.len()]);
            }
            _ => {
                let name = element.find(['>', ' ', '/']).map_or(this.start, |end| this.start + end);
                text.insert_str(name, BESIDE[usize::from(that) % BESIDE.len()]);
            }
        }
        if text.len() > LONGEST {
            break;
        }
    }
    text
}

fn put(text: &mut String, before: Option<Range<usize>>, element: &str) {
    if let Some(before) = before {
        text.insert_str(before.start, element);
    }
}

fn pick(found: &[Range<usize>], which: u8) -> Option<Range<usize>> {
    found.get(usize::from(which) % found.len().max(1)).cloned()
}

/// Where its elements are, tags and all, in the order in which they begin.
fn elements(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    for (from, _) in text.match_indices('<') {
        let Some(to) = text[from..].find('>').map(|end| from + end + 1) else { break };
        let tag = &text[from..to];
        if tag.starts_with("</") {
            if let Some(n) = open.pop() {
                let begun: &mut Range<usize> = &mut found[n];
                begun.end = to;
            }
        } else if !tag.starts_with("<!") && !tag.starts_with("<?") {
            if !tag.ends_with("/>") {
                open.push(found.len());
            }
            found.push(from..to);
        }
    }
    found
}

/// So many steps, as with each more of them a strict reader sooner stops; and so long a text.
const MOST: usize = 4;
const LONGEST: usize = 64 * 1024;

const INSIDE: [&str; 10] = [
    "<!---->",
    "<?p q?>",
    "<![CDATA[x]]>",
    "&#97;",
    "admin",
    "&x;",
    "<a xmlns=\"\"></a>",
    "\u{301}\u{202e}",
    "<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"></ds:Object>",
    "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_x\" Version=\"2.0\"></saml:Assertion>",
];

const BESIDE: [&str; 9] = [
    " ID=\"_x\"",
    " Id=\"_x\"",
    " xml:id=\"_x\"",
    " xmlns:a=\"urn:x\"",
    " xmlns=\"urn:x\"",
    " xmlns:a=\"b\"",
    " xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"",
    " a=\"&#10;&lt;\"",
    " xml:space=\"preserve\"",
];

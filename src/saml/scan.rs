//! One linear look over a document's bytes, before any parser: how large, how deep, how wide, and whether it is made of
//! nothing but tags, attributes, text and plain references.
//!
//! What two parsers read differently (DOCTYPE, entities, comments, processing instructions, CDATA, encodings) is not
//! weighed but absent, so that libxml2 and our reader are left with the one part of XML on which all agree
//! (CVE-2017-11427, CVE-2025-25291, -25292). Whether the tags match is the parser's to say.

use super::reason::Reason;

/// What an honest document stays below.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) depth: usize,
    pub(super) elements: usize,
    /// Of one element, namespace declarations among them.
    pub(super) attributes: usize,
    /// Declarations in scope at one place.
    pub(super) namespaces: usize,
    /// Those in scope wherever one is declared, summed: readers copy the lot each time.
    pub(super) copied: usize,
    /// Files that people write have comments; messages have none.
    pub(super) comments: bool,
}

/// A message between parties: the largest seen of real providers, with hundreds of groups, has some 60 KB.
pub(super) const MESSAGE: Limits = Limits {
    bytes: 128 * 1024,
    depth: 32,
    elements: 4096,
    attributes: 64,
    namespaces: 64,
    copied: 16_384,
    comments: false,
};

/// Metadata: a federation's own entity with logos and several certificates; no aggregates of thousands.
pub(super) const METADATA: Limits =
    Limits { bytes: 1024 * 1024, elements: 16_384, copied: 131_072, comments: true, ..MESSAGE };

/// The text without its XML declaration, where nothing in it is refused.
pub(super) fn scan(bytes: &[u8], limits: Limits) -> Result<&str, Reason> {
    if bytes.len() > limits.bytes {
        return Err(Reason::Exceeds("bytes than a message may have"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(refuse("it begins with a byte order mark"));
    }
    let text = without_declaration(text)?.trim_ascii();
    Scan { rest: text.as_bytes(), limits, declared: Vec::new(), in_scope: 0, copied: 0, elements: 0 }.run()?;
    Ok(text)
}

/// XML 1.0 §2.8: version 1.0 and UTF-8 is all it may say. A declared encoding makes libxml2 read the same bytes as other
/// characters, so it is cut off here and nobody after us sees one.
fn without_declaration(text: &str) -> Result<&str, Reason> {
    let Some(declared) = text.strip_prefix("<?xml") else { return Ok(text) };
    let end = declared.as_bytes().iter().take(LONGEST_DECLARATION).position(|b| *b == b'>');
    let Some((declaration, rest)) = end.and_then(|end| declared.split_at_checked(end)) else {
        return Err(refuse("its XML declaration does not end"));
    };
    let declaration = declaration.strip_suffix('?').ok_or_else(|| refuse("its XML declaration is malformed"))?;
    let mut before = None;
    for word in declaration.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').ok_or_else(|| refuse("its XML declaration is malformed"))?;
        let value = unquoted(value).ok_or_else(|| refuse("its XML declaration is malformed"))?;
        let place = match name {
            "version" if value == "1.0" => 0,
            "encoding" if value.eq_ignore_ascii_case("utf-8") => 1,
            "standalone" if value == "yes" || value == "no" => 2,
            _ => return Err(refuse("its XML declaration says other than version 1.0 and UTF-8")),
        };
        if before.map_or(place != 0, |before| before >= place) {
            return Err(refuse("its XML declaration is malformed"));
        }
        before = Some(place);
    }
    if before.is_none() {
        return Err(refuse("its XML declaration is malformed"));
    }
    Ok(rest.strip_prefix('>').unwrap_or(rest))
}

fn unquoted(value: &str) -> Option<&str> {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\''))
}

struct Scan<'a> {
    rest: &'a [u8],
    limits: Limits,
    /// How many namespaces each open element declares.
    declared: Vec<usize>,
    in_scope: usize,
    copied: usize,
    elements: usize,
}

impl<'a> Scan<'a> {
    fn run(mut self) -> Result<(), Reason> {
        while !self.rest.is_empty() {
            self.text()?;
            match self.rest {
                [] => break,
                [b'<', b'/', rest @ ..] => {
                    let end = position(rest, b'>').ok_or_else(|| refuse("an end tag does not end"))?;
                    self.rest = after(rest, end + 1);
                    let declared = self.declared.pop().ok_or_else(|| refuse("an element ends that did not begin"))?;
                    self.in_scope -= declared;
                }
                [b'<', b'!', b'-', b'-', rest @ ..] if self.limits.comments => {
                    let end = memchr::memmem::find(rest, b"-->");
                    self.rest = after(rest, 3 + end.ok_or_else(|| refuse("a comment does not end"))?);
                }
                [b'<', b'!', ..] => return Err(refuse("it has a DOCTYPE, a comment or a CDATA section")),
                [b'<', b'?', ..] => return Err(refuse("it has a processing instruction")),
                [_, rest @ ..] => {
                    self.rest = rest;
                    self.start_tag()?;
                }
            }
        }
        if self.declared.is_empty() { Ok(()) } else { Err(refuse("an element does not end")) }
    }

    /// Up to the next tag.
    fn text(&mut self) -> Result<(), Reason> {
        let end = position(self.rest, b'<').unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        // XML 1.0 §2.4
        if memchr::memmem::find(text, b"]]>").is_some() {
            return Err(refuse("`]]>` stands in a text"));
        }
        plain(text)?;
        self.rest = rest;
        Ok(())
    }

    fn start_tag(&mut self) -> Result<(), Reason> {
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(Reason::Exceeds("elements than a message may have"));
        }
        if self.declared.len() >= self.limits.depth {
            return Err(Reason::Exceeds("depth than a message may have"));
        }
        if self.name().is_empty() {
            return Err(refuse("a tag has no name"));
        }
        let (mut attributes, mut declared) = (0, 0);
        loop {
            let spaced = self.white_space();
            match self.rest {
                [b'>', rest @ ..] => {
                    self.rest = rest;
                    self.copies(declared)?;
                    self.declared.push(declared);
                    self.in_scope += declared;
                    return Ok(());
                }
                [b'/', b'>', rest @ ..] => {
                    self.rest = rest;
                    return self.copies(declared);
                }
                [] => return Err(refuse("a tag does not end")),
                _ if !spaced => return Err(refuse("two attributes are not parted")),
                _ => {
                    attributes += 1;
                    // RUSTSEC-2026-0194, -0195: readers are quadratic in these
                    if attributes > self.limits.attributes {
                        return Err(Reason::Exceeds("attributes than an element may have"));
                    }
                    declared += usize::from(self.attribute()?);
                    if self.in_scope + declared > self.limits.namespaces {
                        return Err(Reason::Exceeds("namespaces than may be in scope"));
                    }
                }
            }
        }
    }

    fn copies(&mut self, declared: usize) -> Result<(), Reason> {
        if declared > 0 {
            self.copied += self.in_scope + declared;
        }
        if self.copied > self.limits.copied {
            Err(Reason::Exceeds("namespaces than a message may have"))
        } else {
            Ok(())
        }
    }

    /// One attribute; whether it declares a namespace.
    fn attribute(&mut self) -> Result<bool, Reason> {
        let name = self.name();
        self.white_space();
        let [b'=', rest @ ..] = self.rest else { return Err(refuse("an attribute has no value")) };
        self.rest = rest;
        self.white_space();
        let [quote @ (b'"' | b'\''), rest @ ..] = self.rest else {
            return Err(refuse("an attribute's value is not quoted"));
        };
        let end = position(rest, *quote).ok_or_else(|| refuse("an attribute's value does not end"))?;
        let (value, _) = rest.split_at(end);
        if value.contains(&b'<') {
            return Err(refuse("`<` stands in an attribute's value"));
        }
        plain(value)?;
        self.rest = after(rest, end + 1);
        let declares = name == b"xmlns" || name.starts_with(b"xmlns:");
        if declares && !is_absolute_uri(value) && !(name == b"xmlns" && value.is_empty()) {
            // canonicalisation fails on a relative one, and the digest becomes that of nothing (CVE-2025-66568)
            return Err(refuse("a namespace is no absolute URI"));
        }
        Ok(declares)
    }

    fn name(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|b| matches!(b, b'=' | b'/' | b'>' | b'<' | b'"' | b'\'') || is_space(*b));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name
    }

    fn white_space(&mut self) -> bool {
        let end = self.rest.iter().position(|b| !is_space(*b)).unwrap_or(self.rest.len());
        self.rest = after(self.rest, end);
        end > 0
    }
}

/// Whether a text holds nothing but characters of XML, and of references only the five names and numbers.
fn plain(text: &[u8]) -> Result<(), Reason> {
    if text.iter().any(|b| *b < 0x20 && !is_space(*b)) {
        return Err(refuse("it has a control character"));
    }
    let mut rest = text;
    while let Some(at) = position(rest, b'&') {
        rest = after(rest, at + 1);
        let end = rest.iter().take(LONGEST_REFERENCE).position(|b| *b == b';');
        let (name, _) = rest.split_at(end.ok_or_else(|| refuse("a reference does not end"))?);
        let is_known = match name {
            b"amp" | b"lt" | b"gt" | b"quot" | b"apos" => true,
            [b'#', b'x', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit),
            [b'#', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        if !is_known {
            return Err(refuse("it refers to an entity"));
        }
    }
    Ok(())
}

/// RFC 3986 §4.3, without what an XML namespace never has: references, spaces, characters beyond ASCII.
fn is_absolute_uri(value: &[u8]) -> bool {
    let Some(colon) = position(value, b':') else { return false };
    let (scheme, rest) = value.split_at(colon);
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
        && rest.len() > 1
        && value.iter().all(|b| b.is_ascii_graphic() && !b"&<>\"{}|\\^`".contains(b))
}

fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    memchr::memchr(byte, bytes)
}

fn after(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn refuse(what: &str) -> Reason {
    Reason::Xml(what.to_owned())
}

/// `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` with some room.
const LONGEST_DECLARATION: usize = 100;
/// `&#x10FFFF;`
const LONGEST_REFERENCE: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_documents_pass_without_their_declaration() {
        for document in [
            "<a/>",
            "<?xml version=\"1.0\"?><a/>",
            "<?xml version='1.0' encoding='utf-8' standalone='no'?>\n<a/>",
            "<a b='1' c=\"2\"\n d = 'x&amp;&#x41;&#65;'>t&lt;<b xmlns='urn:x' xmlns:c='http://c/'/> </a >",
            "<a xmlns='urn:x'><b xmlns=''/></a>",
        ] {
            let text = scan(document.as_bytes(), MESSAGE).unwrap_or_else(|e| panic!("{document}: {e}"));
            assert!(text.starts_with("<a"), "{document}");
        }
        assert!(scan(b"<!-- a > b --><a><!----></a>", METADATA).is_ok());
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for document in [
            "\u{feff}<a/>",
            "<?xml version='1.1'?><a/>",
            "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
            "<?xml version='1.0' encoding='UTF-16'?><a/>",
            "<?xml encoding='UTF-8'?><a/>",
            "<?xml version='1.0' version='1.0'?><a/>",
            "<?xml?><a/>",
            "<?xml version='1.0' ",
            " <?xml version='1.0'?><a/>",
            "<a/><?xml version='1.0'?>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<a><!-- b --></a>",
            "<a><![CDATA[b]]></a>",
            "<a><?b c?></a>",
            "<a>&b;</a>",
            "<a b='&c;'/>",
            "<a>&#xZ;</a>",
            "<a>&#;</a>",
            "<a>&amp</a>",
            "<a>]]></a>",
            "<a b='<'/>",
            "<a b=c/>",
            "<a b/>",
            "<a b='1'c='2'/>",
            "<a",
            "<a b='",
            "<a>",
            "<a></a></a>",
            "< a/>",
            "<>",
            "<a>\u{0}</a>",
            "<a>\u{8}</a>",
            "<a xmlns='relative'/>",
            "<a xmlns:b='../b'/>",
            "<a xmlns:b=''/>",
            "<a xmlns:b=':'/>",
            "<a xmlns:b='urn:x y'/>",
            "<a xmlns:b='urn:&amp;'/>",
        ] {
            assert!(scan(document.as_bytes(), MESSAGE).is_err(), "{document} passes");
        }
        assert!(scan(b"<a>\xff</a>", MESSAGE).is_err());
        assert!(scan(&"<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), MESSAGE).is_err());
    }

    /// A16: each just over its limit, and just below.
    #[test]
    fn hostile_sizes_are_refused() {
        let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
        let wide = |n: usize| format!("<a {}/>", (0..n).map(|i| format!("b{i}='' ")).collect::<String>());
        let spaces = |n: usize| format!("<a {}/>", (0..n).map(|i| format!("xmlns:b{i}='urn:x' ")).collect::<String>());
        let many = |n: usize| format!("<a>{}</a>", "<b/>".repeat(n - 1));
        let redeclared = |n: usize| spaces(60).replace("/>", &format!(">{}</a>", "<b xmlns=''/>".repeat(n)));
        let nested = |n: usize| {
            let open: String =
                (0..n).map(|i| format!("<a xmlns:b{i}='urn:x' xmlns:c{i}='urn:x' xmlns:d{i}='urn:x'>")).collect();
            open + &"</a>".repeat(n)
        };
        for (good, bad) in [
            (deep(32), deep(33)),
            (wide(64), wide(65)),
            (spaces(64), spaces(65)),
            (many(4096), many(4097)),
            (redeclared(240), redeclared(280)),
            (nested(21), nested(22)),
            (format!("<a>{}</a>", "x".repeat(128 * 1024 - 7)), format!("<a>{}</a>", "x".repeat(128 * 1024 - 6))),
        ] {
            assert_eq!(scan(good.as_bytes(), MESSAGE).err(), None);
            assert!(matches!(scan(bad.as_bytes(), MESSAGE), Err(Reason::Exceeds(_))), "{} bytes pass", bad.len());
        }
    }
}

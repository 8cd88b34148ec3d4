//! The canonical request: one spelling for everything that is signed.

use super::digest::HexDigest;

/// What a canonical request is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    /// The path as it is sent.
    pub(super) path: &'a str,
    /// The query as it is sent.
    pub(super) query: Option<&'a str>,
    /// Name and value of each header that is signed, sorted by name; a name may come more than once.
    pub(super) headers: &'a [(&'a str, &'a [u8])],
    /// The names of these, once each, joined by `;`.
    pub(super) signed_headers: &'a str,
    /// The body's digest, or the word for a mode without one.
    pub(super) payload: &'a str,
}

/// How a service spells paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathRule {
    /// S3: a key may hold `//` or `/../`, so the path stays as it is; encoded once.
    Once,
    /// Everyone else: normalised (RFC 3986 §5.2.4, empty segments dropped), then encoded again.
    NormalizedTwice,
}

impl Canonical<'_> {
    /// The digest that goes into the string to sign.
    pub(super) fn digest(&self, rule: PathRule) -> HexDigest {
        HexDigest::of(&self.text(rule))
    }

    /// The whole text.
    pub(super) fn text(&self, rule: PathRule) -> Vec<u8> {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let rest = self.path.len() + self.query.map_or(0, str::len) + self.signed_headers.len();
        let mut out = Vec::with_capacity(headers + 2 * rest + 128);
        out.extend_from_slice(self.method.as_bytes());
        out.push(b'\n');
        write_path(&mut out, self.path, rule);
        out.push(b'\n');
        write_query(&mut out, self.query.unwrap_or_default());
        out.push(b'\n');
        write_headers(&mut out, self.headers);
        out.push(b'\n');
        out.extend_from_slice(self.signed_headers.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.payload.as_bytes());
        out
    }
}

fn write_path(out: &mut Vec<u8>, path: &str, rule: PathRule) {
    if !path.starts_with('/') {
        out.push(b'/');
    }
    match rule {
        // S3 services decode the path and encode it anew before they compare, so a client's `*` or `%e4` must be
        // signed as the `%2A` or `%E4` they will see.
        PathRule::Once => write_decoded(out, path.as_bytes(), Plus::Itself, Slash::Kept),
        PathRule::NormalizedTwice if path.contains("//") || path.contains("/.") => write_normalized(out, path),
        PathRule::NormalizedTwice => write_encoded(out, path.as_bytes()),
    }
}

fn write_normalized(out: &mut Vec<u8>, path: &str) {
    let mut kept: Vec<&str> = Vec::new();
    let mut last = "";
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
        last = segment;
    }
    for segment in &kept {
        out.push(b'/');
        write_encoded(out, segment.as_bytes());
    }
    if kept.is_empty() || matches!(last, "" | "." | "..") {
        out.push(b'/');
    }
}

/// Sorted by the encoded name, then by the encoded value; `a` is `a=`. The signature itself is never part of it.
fn write_query(out: &mut Vec<u8>, query: &str) {
    if query.is_empty() {
        return;
    }
    let mut text = Vec::with_capacity(query.len() * 2);
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let start = text.len();
        write_decoded(&mut text, name.as_bytes(), Plus::Space, Slash::Encoded);
        let middle = text.len();
        write_decoded(&mut text, value.as_bytes(), Plus::Space, Slash::Encoded);
        pairs.push((start..middle, middle..text.len()));
    }
    let slice = |range: &std::ops::Range<usize>| text.get(range.clone()).unwrap_or_default();
    pairs.retain(|(name, _)| slice(name) != b"X-Amz-Signature");
    pairs.sort_by(|a, b| (slice(&a.0), slice(&a.1)).cmp(&(slice(&b.0), slice(&b.1))));
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(slice(name));
        out.push(b'=');
        out.extend_from_slice(slice(value));
    }
}

/// `name:value`, one line a name; the values of a name that came more than once are joined by commas.
fn write_headers(out: &mut Vec<u8>, headers: &[(&str, &[u8])]) {
    let mut previous = None;
    for &(name, value) in headers {
        if previous == Some(name) {
            out.pop();
            out.push(b',');
        } else {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
        }
        write_trimmed(out, value);
        out.push(b'\n');
        previous = Some(name);
    }
}

/// Without spaces around it and with runs of spaces as one. Only spaces: S3 leaves other white space alone.
fn write_trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let start = value.iter().position(|&b| b != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|&b| b != b' ').map_or(start, |last| last + 1);
    let value = value.get(start..end).unwrap_or_default();
    // session tokens are long and have no space at all
    if !value.contains(&b' ') || !value.windows(2).any(|pair| pair == b"  ") {
        return out.extend_from_slice(value);
    }
    for (index, word) in value.split(|&b| b == b' ').filter(|word| !word.is_empty()).enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// What `+` stands for: itself in a path, a space in a query.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Plus {
    Itself,
    Space,
}

/// Whether a `/` is encoded: not in a path.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Slash {
    Kept,
    Encoded,
}

/// Undoes whatever percent-encoding `text` has and encodes it as AWS does. A `%` that encodes nothing is a `%`.
fn write_decoded(out: &mut Vec<u8>, text: &[u8], plus: Plus, slash: Slash) {
    let is_plain = |byte: u8| is_unreserved(byte) || (byte == b'/' && slash == Slash::Kept);
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len());
        let (plain, special) = rest.split_at(plain);
        out.extend_from_slice(plain);
        let [byte, after @ ..] = special else { break };
        rest = after;
        let byte = match (*byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (b'+', _) if plus == Plus::Space => b' ',
            (byte, _) => byte,
        };
        if is_plain(byte) { out.push(byte) } else { out.extend_from_slice(&percent_encoded(byte)) }
    }
}

/// Encodes every byte of a path that is not unreserved, its `%` too.
fn write_encoded(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if byte == b'/' || is_unreserved(byte) { out.push(byte) } else { out.extend_from_slice(&percent_encoded(byte)) }
    }
}

/// RFC 3986 §2.3
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn percent_encoded(byte: u8) -> [u8; 3] {
    [b'%', upper_hex(byte >> 4), upper_hex(byte & 15)]
}

const fn upper_hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn s3_paths_keep_their_shape_and_get_one_spelling() {
        for (sent, canonical) in [
            ("/", "/"),
            ("", "/"),
            ("/a//b/./../c/", "/a//b/./../c/"),
            ("/a%20b", "/a%20b"),
            ("/a*(b)", "/a%2A%28b%29"),
            ("/a%2a", "/a%2A"),
            ("/%41", "/A"),
            ("/a+b", "/a%2Bb"),
            ("/%zz%", "/%25zz%25"),
            ("/ü/%c3%bc", "/%C3%BC/%C3%BC"),
            ("/a%2Fb", "/a/b"),
            ("/%25", "/%25"),
        ] {
            assert_eq!(written(|out| write_path(out, sent, PathRule::Once)), canonical, "{sent}");
        }
    }

    #[test]
    fn other_paths_are_normalised_and_encoded_again() {
        for (sent, canonical) in [
            ("/", "/"),
            ("", "/"),
            ("/a//b/./../c/", "/a/c/"),
            ("/..", "/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/../x", "/x"),
            ("/.hidden", "/.hidden"),
            ("/a%20b", "/a%2520b"),
            ("/@connections/x%3D", "/%40connections/x%253D"),
            ("/a*", "/a%2A"),
        ] {
            assert_eq!(written(|out| write_path(out, sent, PathRule::NormalizedTwice)), canonical, "{sent}");
        }
    }

    #[test]
    fn queries_are_sorted_by_what_is_written() {
        for (sent, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1&a", "a=&a=1&a=2"),
            ("a-=1&a=1", "a=1&a-=1"),
            ("a=%2f/", "a=%2F%2F"),
            ("a+b=c+d%2B", "a%20b=c%20d%2B"),
            ("&&a=b=c&", "a=b%3Dc"),
            ("%ff=%FF", "%FF=%FF"),
            ("a=1&X-Amz-Signature=x", "a=1"),
        ] {
            assert_eq!(written(|out| write_query(out, sent)), canonical, "{sent}");
        }
    }

    #[test]
    fn header_values_lose_spaces_only() {
        let headers: &[(&str, &[u8])] =
            &[("a", b"  x   y  "), ("a", b""), ("b", b"   "), ("c", b"\"p   q\"\t\t"), ("c", b" 2")];
        assert_eq!(written(|out| write_headers(out, headers)), "a:x y,\nb:\nc:\"p q\"\t\t,2\n");
    }
}

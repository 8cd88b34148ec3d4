//! The path of a request in its one normal form: what the policy decides on is, byte for byte, what goes upstream.
//!
//! Every bypass of this class (CVE-2023-33189, CVE-2026-33494, CVE-2026-40912, CVE-2026-26205 …) is two readers with
//! two opinions of one path (A5). So what can be read in two ways is refused, not guessed at, and what is only
//! spelled in two ways (`%7E` and `~`, `%c3` and `%C3`) is spelled in one from here on (RFC 3986 §6.2.2).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

/// An absolute path without dot segments, with escapes only where they are needed, in upper case, of valid UTF-8.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NormalPath<'a> {
    text: Cow<'a, str>,
    oddities: Oddities,
}

/// A form that some servers read differently from others. A route may tolerate it, where its upstream is known to
/// take paths to the letter, as S3 does with object keys.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// `//`: some servers read `//admin` as `/admin`.
    EmptySegment,
    /// `%2F`: some servers decode it and see one more segment.
    EncodedSlash,
    /// `%5C`: some servers take a backslash for a slash.
    EncodedBackslash,
    /// `%23`: some servers decode it and cut a fragment off (CVE-2026-41059).
    EncodedHash,
    /// `%252F` and the like: some servers decode twice.
    DoubleEncoding,
    /// `;`: some servers cut path parameters off and read `/admin;x` as `/admin`.
    Parameter,
}

/// A set of [`Oddity`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Oddities(u8);

/// Why a path is not acceptable. The texts hold nothing of the path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("the path does not start with `/`")]
    Relative,
    /// `%` without two hexadecimal digits after it.
    #[error("the path has a `%` without two hexadecimal digits")]
    BadEscape,
    /// A control character, plain or escaped.
    #[error("the path has a control character")]
    Control,
    /// A character that never stands in a path: a plain backslash, space, `#` or `?`.
    #[error("the path has a character that must be escaped")]
    Unescaped,
    /// The escapes don't make UTF-8; overlong forms of `/` and `.` are among these.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// `.` or `..`, in any spelling. Clients resolve them before they send (RFC 3986 §5.2.4).
    #[error("the path has a dot segment")]
    DotSegment,
    /// A form that the route does not tolerate.
    #[error("the path has {0}, which this route does not tolerate")]
    Odd(Oddity),
}

impl<'a> NormalPath<'a> {
    /// Reads the path of a request's target, without query.
    ///
    /// # Errors
    /// [`PathError`] for what can't be normalised; it is answered with 400.
    pub fn parse(raw: &'a str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::Relative);
        }
        if is_plain(raw) {
            return Ok(Self { text: Cow::Borrowed(raw), oddities: Oddities::default() });
        }
        let (text, mut oddities) = respell(raw)?;
        look_at_segments(&text, &mut oddities)?;
        let text = if text == raw { Cow::Borrowed(raw) } else { Cow::Owned(text) };
        Ok(Self { text, oddities })
    }

    /// The path, as it is decided on and sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Passes where each oddity of this path is tolerated.
    ///
    /// # Errors
    /// [`PathError::Odd`] with the first that is not; it is answered with 400.
    pub fn keep_to(&self, tolerated: Oddities) -> Result<(), PathError> {
        Oddity::ALL
            .into_iter()
            .find(|&oddity| self.oddities.contains(oddity) && !tolerated.contains(oddity))
            .map_or(Ok(()), |oddity| Err(PathError::Odd(oddity)))
    }
}

impl Oddity {
    const ALL: [Self; 6] = [
        Self::EmptySegment,
        Self::EncodedSlash,
        Self::EncodedBackslash,
        Self::EncodedHash,
        Self::DoubleEncoding,
        Self::Parameter,
    ];
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptySegment => "an empty segment",
            Self::EncodedSlash => "an encoded slash",
            Self::EncodedBackslash => "an encoded backslash",
            Self::EncodedHash => "an encoded hash",
            Self::DoubleEncoding => "a doubly encoded character",
            Self::Parameter => "a path parameter",
        })
    }
}

impl Oddities {
    /// Every one: for upstreams that take the whole path as one key, to the letter.
    pub const ALL: Self = Self(0b11_1111);

    /// Whether this one is in the set.
    pub fn contains(self, oddity: Oddity) -> bool {
        self.0 & 1 << oddity as u8 != 0
    }

    fn add(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u8;
    }
}

impl FromIterator<Oddity> for Oddities {
    fn from_iter<I: IntoIterator<Item = Oddity>>(oddities: I) -> Self {
        let mut set = Self::default();
        oddities.into_iter().for_each(|oddity| set.add(oddity));
        set
    }
}

/// Whether the path is in normal form at first sight, as nearly all are: no escape, no `;`, no `//`, no `/.`.
fn is_plain(raw: &str) -> bool {
    let mut after_slash = false;
    for byte in raw.bytes() {
        if !is_pchar(byte) && byte != b'/' || byte == b';' || after_slash && matches!(byte, b'/' | b'.') {
            return false;
        }
        after_slash = byte == b'/';
    }
    true
}

/// Escapes what needs it, and nothing else, in upper case.
fn respell(raw: &str) -> Result<(String, Oddities), PathError> {
    let mut text = String::with_capacity(raw.len() + 16);
    let mut decoded = Vec::with_capacity(raw.len());
    let mut oddities = Oddities::default();
    let mut rest = raw.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let (value, escaped) = if *byte == b'%' {
            let [high, low, tail @ ..] = tail else { return Err(PathError::BadEscape) };
            rest = tail;
            (escape(*high, *low).ok_or(PathError::BadEscape)?, true)
        } else {
            (*byte, false)
        };
        decoded.push(value);
        match (value, escaped) {
            (0..=0x1F | 0x7F, _) => return Err(PathError::Control),
            (b'\\' | b' ' | b'#' | b'?', false) => return Err(PathError::Unescaped),
            (b'/', true) => oddities.add(Oddity::EncodedSlash),
            (b'\\', true) => oddities.add(Oddity::EncodedBackslash),
            (b'#', true) => oddities.add(Oddity::EncodedHash),
            (b';', false) => oddities.add(Oddity::Parameter),
            _ => {}
        }
        let plain = if escaped { is_unreserved(value) } else { is_pchar(value) || value == b'/' };
        if plain {
            text.push(char::from(value));
        } else {
            text.push_str(&format!("%{value:02X}"));
        }
    }
    std::str::from_utf8(&decoded).map_err(|_| PathError::NotUtf8)?;
    // seen in what comes out, as `%25%32%65` is `%252e` too
    if text
        .match_indices("%25")
        .any(|(at, escape)| starts_like_an_escape(text.as_bytes().get(at + escape.len()..).unwrap_or_default()))
    {
        oddities.add(Oddity::DoubleEncoding);
    }
    Ok((text, oddities))
}

/// Refuses dot segments and notes empty ones, as the most liberal server would see them: slashes decoded,
/// backslashes taken for slashes, parameters cut off (`/..;/`).
fn look_at_segments(text: &str, oddities: &mut Oddities) -> Result<(), PathError> {
    let liberal = if oddities.contains(Oddity::EncodedSlash) || oddities.contains(Oddity::EncodedBackslash) {
        Cow::Owned(text.replace("%2F", "/").replace("%5C", "/"))
    } else {
        Cow::Borrowed(text)
    };
    let mut segments = liberal.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let without_parameters = segment.split(';').next().and_then(|s| s.split("%3B").next()).unwrap_or_default();
        if matches!(without_parameters, "." | "..") {
            return Err(PathError::DotSegment);
        }
        let trailing_slash = segment.is_empty() && segments.peek().is_none();
        if without_parameters.is_empty() && !trailing_slash {
            oddities.add(Oddity::EmptySegment);
        }
    }
    Ok(())
}

fn escape(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn starts_like_an_escape(rest: &[u8]) -> bool {
    matches!(rest, [high, low, ..] if escape(*high, *low).is_some())
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §3.3, without escapes.
fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strictly(raw: &str) -> Result<String, PathError> {
        let path = NormalPath::parse(raw)?;
        path.keep_to(Oddities::default())?;
        Ok(path.as_str().to_owned())
    }

    #[test]
    fn one_meaning_has_one_spelling() {
        for (raw, normal) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/%61dmin", "/admin"),
            ("/%7euser", "/~user"),
            ("/file%2etxt", "/file.txt"),
            ("/%c3%a4", "/%C3%A4"),
            ("/ä", "/%C3%A4"),
            ("/a|b[c]", "/a%7Cb%5Bc%5D"),
            ("/a%20b", "/a%20b"),
            ("/a%3Bb", "/a%3Bb"),
            ("/100%25", "/100%25"),
            ("/a:b@c+d=e,f!$&'()*", "/a:b@c+d=e,f!$&'()*"),
        ] {
            assert_eq!(strictly(raw).as_deref(), Ok(normal), "{raw}");
        }
    }

    /// A5
    #[test]
    fn hostile_spellings_are_refused() {
        use Oddity::*;
        use PathError::*;
        for (raw, error) in [
            ("", Relative),
            ("*", Relative),
            ("admin", Relative),
            ("/public/../admin", DotSegment),
            ("/public/./admin", DotSegment),
            ("/public/..", DotSegment),
            ("/public/%2e%2e/admin", DotSegment),
            ("/public/.%2E/admin", DotSegment),
            ("/%2e/admin", DotSegment),
            ("/public/..%2fadmin", DotSegment),
            ("/public%2f..%2fadmin", DotSegment),
            ("/public/..%5cadmin", DotSegment),
            ("/x/..;/admin", DotSegment),
            ("/x/..;a=b/admin", DotSegment),
            ("/x/..%3b/admin", DotSegment),
            ("/public/;/../admin", DotSegment),
            ("/public/..\\admin", Unescaped),
            ("/public\\admin", Unescaped),
            ("/admin#/public", Unescaped),
            ("/a b", Unescaped),
            ("/admin%00.png", Control),
            ("/admin%0d%0aX: y", Control),
            ("/admin%7f", Control),
            ("/a\tb", Control),
            ("/a%", BadEscape),
            ("/a%2", BadEscape),
            ("/a%zz", BadEscape),
            ("/a%+1", BadEscape),
            ("/%c0%ae%c0%ae/admin", NotUtf8),
            ("/%c0%afadmin", NotUtf8),
            ("/%ff", NotUtf8),
            ("//admin", Odd(EmptySegment)),
            ("/x//admin", Odd(EmptySegment)),
            ("/x//", Odd(EmptySegment)),
            ("/;/admin", Odd(EmptySegment)),
            ("/public%2fadmin", Odd(EncodedSlash)),
            ("/public%5Cadmin", Odd(EncodedBackslash)),
            ("/admin%23/public", Odd(EncodedHash)),
            ("/%252e%252e/admin", Odd(DoubleEncoding)),
            ("/public%252fadmin", Odd(DoubleEncoding)),
            ("/%25%32%65%25%32%65/admin", Odd(DoubleEncoding)),
            ("/%252%65%25%32e/admin", Odd(DoubleEncoding)),
            ("/admin;x/y", Odd(Parameter)),
        ] {
            assert_eq!(strictly(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn object_keys_pass_to_the_letter_where_they_are_tolerated() {
        for key in ["/b/a//b", "/b/a%2Fb", "/b/C%23%20notes", "/b/a;b", "/b/50%2525"] {
            let path = NormalPath::parse(key).unwrap();
            assert_eq!((path.as_str(), path.keep_to(Oddities::ALL)), (key, Ok(())));
        }
        let only_slashes: Oddities = [Oddity::EncodedSlash].into_iter().collect();
        assert!(NormalPath::parse("/b/a%2Fb").unwrap().keep_to(only_slashes).is_ok());
        assert!(NormalPath::parse("/b//a%2Fb").unwrap().keep_to(only_slashes).is_err());
    }

    proptest! {
        /// A5: what was normalised stays as it is, however often the next hop normalises it again.
        #[test]
        fn normal_is_normal(raw in "/([a-z./;%~ä]|%[0-9a-fA-F]{2}|//){0,24}") {
            if let Ok(path) = NormalPath::parse(&raw) {
                let again = NormalPath::parse(path.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), path.as_str());
                prop_assert!(!path.as_str().split('/').any(|s| s == "." || s == ".."));
            }
        }
    }
}

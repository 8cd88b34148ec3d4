//! The bearer token that a request shows.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};

/// What stands in `Authorization`, as far as it is bearer tokens.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Shown<'h> {
    /// None.
    Nothing,
    /// This one, and no other `Authorization`.
    One(&'h str),
    /// These, among several `Authorization`s; a request may have one only (RFC 9110 §11.6.2).
    Several(Vec<&'h str>),
}

/// Reads the header and nothing else: not the query, not the body (RFC 6750 §2.2 and §2.3 are optional, and unwise).
pub(super) fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Shown::Nothing,
        (Some(only), None) => bearer(only).map_or(Shown::Nothing, Shown::One),
        (Some(_), Some(_)) => Shown::Several(headers.get_all(AUTHORIZATION).iter().filter_map(bearer).collect()),
    }
}

/// What follows `Bearer`, in any case (RFC 9110 §11.1), and one or more spaces.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value.as_bytes()).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (AUTHORIZATION, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_nothing_else_is_a_token() {
        for (line, expected) in [
            ("Bearer a.b.c", Some("a.b.c")),
            ("bearer a.b.c", Some("a.b.c")),
            ("BEARER   a.b.c", Some("a.b.c")),
            ("Bearer a.b.c, Bearer d.e.f", Some("a.b.c, Bearer d.e.f")), // one text, which verifies as nothing
            ("Bearer", None),
            ("Bearera.b.c", None),
            ("Basic YTpi", None),
            ("DPoP a.b.c", None),
            ("a.b.c", None),
            ("", None),
        ] {
            let headers = of(&[line]);
            assert_eq!(shown(&headers), expected.map_or(Shown::Nothing, Shown::One), "{line}");
        }
        assert_eq!(shown(&HeaderMap::new()), Shown::Nothing);
    }

    #[test]
    fn several_headers_are_several_whatever_the_others_are() {
        assert_eq!(shown(&of(&["Basic YTpi", "Bearer a.b.c"])), Shown::Several(vec!["a.b.c"]));
        assert_eq!(shown(&of(&["Bearer a.b.c", "Bearer a.b.c"])), Shown::Several(vec!["a.b.c", "a.b.c"]));
    }
}

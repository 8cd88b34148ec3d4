//! Which paths a rule means: one path, or all below one.

use std::fmt;
use std::str::FromStr;

use super::path::{NormalPath, Oddities};

/// `/reports` is that path alone. `/reports/*` is everything below it, `/reports/` included, `/reports` and
/// `/reports-old` not. `/*` is every path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum PathPattern {
    Exactly(Box<str>),
    /// With the slash at its end.
    Below(Box<str>),
}

impl PathPattern {
    pub(super) fn matches(&self, path: &NormalPath<'_>) -> bool {
        match self {
            Self::Exactly(exact) => path.as_str() == &**exact,
            Self::Below(prefix) => path.as_str().starts_with(&**prefix),
        }
    }
}

impl FromStr for PathPattern {
    type Err = String;

    /// A pattern that is not in normal form would never match; it is an error (A5).
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, below) = match text.strip_suffix("/*") {
            Some(above) => (&text[..=above.len()], true),
            None => (text, false),
        };
        if path.contains('*') {
            return Err(format!("`{text}` has a `*` elsewhere than in `/*` at its end"));
        }
        let normal = NormalPath::parse(path).map_err(|e| format!("`{text}` can't match: {e}"))?;
        if normal.as_str() != path {
            return Err(format!("`{text}` can't match: its normal form is `{}`", normal.as_str()));
        }
        normal.keep_to(Oddities::ALL).map_err(|e| e.to_string())?;
        Ok(if below { Self::Below(path.into()) } else { Self::Exactly(path.into()) })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(path) => f.write_str(path),
            Self::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_end_on_segment_borders() {
        for (pattern, path, matches) in [
            ("/reports", "/reports", true),
            ("/reports", "/reports/", false),
            ("/reports/*", "/reports/", true),
            ("/reports/*", "/reports/a/b", true),
            ("/reports/*", "/reports", false),
            ("/reports/*", "/reports-old/a", false),
            ("/reports/*", "//reports/a", false),
            ("/*", "/", true),
            ("/*", "/x", true),
        ] {
            let path = NormalPath::parse(path).unwrap();
            assert_eq!(pattern.parse::<PathPattern>().unwrap().matches(&path), matches, "{pattern} {path:?}");
        }
    }

    #[test]
    fn patterns_that_never_match_are_refused() {
        for bad in ["", "reports", "*", "/re*", "/*/x", "/a/../b", "/%61", "/ä", "/a?b", "/x/**"] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }
}

//! What a claim must be.

use serde::{Deserialize, Deserializer};

/// This text, one of these, or one like this.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, a list of texts, or { like = \"repo:acme/shop:ref:refs/tags/*\" }")]
pub(super) enum Wanted {
    One(String),
    OneOf(Vec<String>),
    Like(Like),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Like {
    like: Pattern,
}

/// A text in which each `*` stands for one or more characters of one part: never for a `:` or `/`, as a branch or a
/// repository that anybody may name must not become the parts after it (A20).
#[derive(Debug)]
struct Pattern {
    start: String,
    /// What follows each `*`.
    rest: Vec<String>,
}

impl Wanted {
    pub(super) fn is(&self, found: &str) -> bool {
        match self {
            Self::One(wanted) => wanted == found,
            Self::OneOf(wanted) => wanted.iter().any(|wanted| wanted == found),
            Self::Like(Like { like }) => like.fits(found),
        }
    }

    /// What every text that fits begins with.
    pub(super) fn starts(&self) -> Vec<&str> {
        match self {
            Self::One(wanted) => vec![wanted],
            Self::OneOf(wanted) => wanted.iter().map(String::as_str).collect(),
            Self::Like(Like { like }) => vec![&like.start],
        }
    }

    /// Whether it names each text that fits.
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::OneOf(wanted) => !wanted.is_empty(),
            Self::Like(_) => false,
        }
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        text.len() <= LONGEST && text.strip_prefix(&*self.start).is_some_and(|text| fits(&self.rest, text))
    }
}

/// Whether the text is a `*` and what follows it, again and again.
fn fits(rest: &[String], text: &str) -> bool {
    let Some((next, others)) = rest.split_first() else { return text.is_empty() };
    let ends = text.char_indices().take_while(|(_, c)| !SEPARATORS.contains(c)).map(|(at, c)| at + c.len_utf8());
    ends.into_iter().any(|end| {
        text.get(end..).and_then(|after| after.strip_prefix(&**next)).is_some_and(|after| fits(others, after))
    })
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut parts = text.split('*').map(str::to_owned);
        let start = parts.next().unwrap_or_default();
        let rest: Vec<String> = parts.collect();
        let is_sound = !start.is_empty() && (1..=MOST_STARS).contains(&rest.len()) && !text.contains("**");
        if is_sound { Ok(Self { start, rest }) } else { Err(serde::de::Error::custom("is no pattern")) }
    }
}

const SEPARATORS: [char; 2] = [':', '/'];
/// More would take long to compare with a text that was made for it.
const MOST_STARS: usize = 2;
/// As a subject.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::parse_table;

    #[derive(Debug, Deserialize)]
    struct Section {
        sub: Wanted,
    }

    fn like(pattern: &str) -> Result<Wanted, String> {
        let table: toml::Table = toml::from_str(&format!("sub = {{ like = {pattern:?} }}")).unwrap();
        parse_table::<Section>(table).map(|section| section.sub).map_err(|error| error.to_string())
    }

    /// A20
    #[test]
    fn a20_a_star_is_one_part() {
        for (pattern, text, fits) in [
            ("repo:acme/shop:ref:refs/tags/v*", "repo:acme/shop:ref:refs/tags/v1.2", true),
            ("repo:acme/shop:ref:refs/tags/v*", "repo:acme/shop:ref:refs/tags/v", false),
            ("repo:acme/shop:ref:refs/tags/v*", "repo:acme/shop:ref:refs/tags/v1/x", false),
            ("repo:acme/shop:ref:refs/tags/v*", "repo:acme/shop:ref:refs/heads/v1", false),
            ("repo:acme/*:environment:production", "repo:acme/shop:environment:production", true),
            ("repo:acme/*:environment:production", "repo:acme/x:pull_request:environment:production", false),
            ("repo:acme/*:environment:production", "repo:acme/:environment:production", false),
            ("repo:acme/*:environment:production", "repo:acme/shop:environment:production:x", false),
            ("repo:acme/*:environment:production", "repo:acme-evil/shop:environment:production", false),
            ("repo:acme/*:environment:production", "xrepo:acme/shop:environment:production", false),
            ("repo:acme/*-*:ref:refs/heads/main", "repo:acme/a-b-c:ref:refs/heads/main", true),
            ("repo:acme/*", "repo:acme/shop:pull_request", false),
            ("repo:acme@65/*:environment:production", "repo:acme@65/shop@74:environment:production", true),
            ("repo:acme@65/*:environment:production", "repo:acme@66/shop@74:environment:production", false),
            ("repo:acme@65/*:environment:production", "repo:acme/shop:environment:production", false),
            ("repo:acme/*", "repo:acme/shöp", true),
        ] {
            assert_eq!(like(pattern).unwrap().is(text), fits, "{pattern}: {text}");
        }
        assert!(!like("a*").unwrap().is(&format!("a{}", "b".repeat(300))));
        assert!(!Wanted::One("repo:acme/*".into()).is("repo:acme/shop"), "a text is a text");
    }

    #[test]
    fn patterns_that_say_nothing_are_refused() {
        for pattern in ["*", "*x", "a**", "a*b*c*", "no star", ""] {
            assert!(like(pattern).is_err(), "{pattern}");
        }
    }
}

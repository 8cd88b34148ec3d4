//! Templates: `reports-{claims.department}`.
//!
//! Placeholders are `{claims.NAME}` (by name, or by path: `{claims.realm.team}`), `{subject.id}` and
//! `{subject.source}`. What a claim may put into a template is decided by the place it is put into: text that a
//! person may have chosen for themselves must not become another role's ARN (A20).

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::Value;

use crate::identity::Identity;

/// A text with placeholders, read when the config is loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(String),
    Claim(String),
    SubjectId,
    SubjectSource,
}

/// Which characters one placeholder may bring, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charset {
    pub(super) has: fn(char) -> bool,
    pub(super) longest: usize,
}

impl Charset {
    /// `[A-Za-z0-9_+=,.@-]{1,64}`, for role ARNs, session names and source identities: no `/`, `:` or `*`.
    pub(super) const NAME: Self = Self {
        has: |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=' | ',' | '.' | '@' | '-'),
        longest: 64,
    };

    /// What a session tag's value may hold.
    pub(super) const TAG: Self = Self {
        has: |c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@'),
        longest: 256,
    };
}

impl Template {
    /// Whether it has no placeholder.
    pub(super) fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// The text with every placeholder filled from the identity.
    ///
    /// # Errors
    /// Which placeholder can't be filled, and why; never its value.
    pub(super) fn fill(&self, identity: &Identity, charset: Charset) -> Result<String, String> {
        let mut text = String::with_capacity(64);
        for part in &self.0 {
            let value = match part {
                Part::Literal(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Part::Claim(name) => claim(identity, name).map_err(|why| format!("the claim `{name}` {why}"))?,
                Part::SubjectId => Cow::Borrowed(&*identity.subject.id),
                Part::SubjectSource => Cow::Borrowed(&*identity.subject.source),
            };
            charset.check(&value).map_err(|why| format!("{} {why}", part.name()))?;
            text.push_str(&value);
        }
        Ok(text)
    }

    /// The text with the same sample for every placeholder, to see whether it can become anything at all.
    pub(super) fn sample(&self, sample: &str) -> String {
        self.0.iter().map(|part| if let Part::Literal(literal) = part { literal } else { sample }).collect()
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let Some(open) = rest.find(['{', '}']) else {
                parts.push(Part::Literal(rest.to_owned()));
                break;
            };
            let (literal, braced) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let inside = braced.strip_prefix('{').ok_or_else(|| format!("`{text}` has a `}}` without `{{`"))?;
            let (name, after) =
                inside.split_once('}').ok_or_else(|| format!("`{text}` has a `{{` without `}}` after it"))?;
            parts.push(Part::named(name)?);
            rest = after;
        }
        Ok(Self(parts))
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, String> {
        match name {
            "subject.id" => Ok(Self::SubjectId),
            "subject.source" => Ok(Self::SubjectSource),
            _ => match name.strip_prefix("claims.") {
                Some(claim) if !claim.is_empty() && !claim.contains('{') => Ok(Self::Claim(claim.to_owned())),
                _ => Err(format!(
                    "unknown placeholder `{{{name}}}`; it may be {{claims.NAME}}, {{subject.id}} or {{subject.source}}"
                )),
            },
        }
    }

    fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Literal(_) => Cow::Borrowed("the text"),
            Self::Claim(name) => Cow::Owned(format!("the claim `{name}`")),
            Self::SubjectId => Cow::Borrowed("the subject's id"),
            Self::SubjectSource => Cow::Borrowed("the subject's source"),
        }
    }
}

impl Charset {
    fn check(self, value: &str) -> Result<(), String> {
        if value.is_empty() {
            Err("is empty".to_owned())
        } else if value.chars().count() > self.longest {
            Err(format!("is longer than {} characters", self.longest))
        } else if !value.chars().all(self.has) {
            Err("holds characters that can't stand there".to_owned())
        } else {
            Ok(())
        }
    }
}

/// One text, number or boolean. Of a list nobody knows which entry is meant.
fn claim<'i>(identity: &'i Identity, name: &str) -> Result<Cow<'i, str>, &'static str> {
    match identity.claims.value(name) {
        Some(Value::String(text)) => Ok(Cow::Borrowed(text)),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Cow::Owned(value.to_string())),
        Some(Value::Array(_)) => Err("is a list, where one value is needed"),
        Some(_) => Err("is neither text, number nor boolean"),
        None => Err("is missing"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::tests::identity;

    #[test]
    fn placeholders_are_filled() {
        let who = identity(json!({"department": "sales", "level": 5, "org": {"team": "a-b"}}));
        for (template, text) in [
            ("plain", "plain"),
            ("r-{claims.department}", "r-sales"),
            ("{claims.level}/{claims.org.team}", "5/a-b"),
            ("{subject.source}.{subject.id}", "corp.u-1"),
        ] {
            assert_eq!(template.parse::<Template>().unwrap().fill(&who, Charset::NAME).as_deref(), Ok(text));
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for bad in ["{", "}", "a{claims.x", "{claims.}", "{}", "{claim.x}", "{{claims.x}}", "{claims.{x}}", "{subject}"]
        {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }

    /// A20
    #[test]
    fn hostile_claims_fill_nothing_and_are_not_repeated() {
        let template: Template = "arn:aws:iam::123456789012:role/r-{claims.department}".parse().unwrap();
        for hostile in [
            json!("a/b"),
            json!("*"),
            json!("a\nb"),
            json!("a:b"),
            json!("arn:aws:iam::123456789012:role/admin"),
            json!("x".repeat(65)),
            json!("x".repeat(300)),
            json!(""),
            json!("ä"),
            json!(["sales"]),
            json!({"a": "b"}),
            json!(null),
            json!(-1.5e300),
        ] {
            let result = template.fill(&identity(json!({"department": hostile})), Charset::NAME);
            if hostile.is_number() {
                assert!(result.is_ok()); // `-1.5e+300` is ugly, and harmless
                continue;
            }
            let error = result.unwrap_err();
            assert!(error.starts_with("the claim `department`"), "{error}");
            assert!(!hostile.as_str().is_some_and(|h| h.len() > 3 && error.contains(h)), "{error}");
        }
        assert!(template.fill(&identity(json!({})), Charset::NAME).unwrap_err().contains("is missing"));
    }
}

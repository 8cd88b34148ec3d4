//! A header's value, made from what is known of a person.

use std::borrow::Cow;
use std::str::FromStr;

use http::HeaderValue;
use serde_json::Value;

use crate::identity::{Claims, Email, Identity};

/// `{claims.groups}`, `user={subject.id}`: text with placeholders, read when the config is loaded.
///
/// Placeholders are `{claims.NAME}` (by name, or by path: `{claims.realm_access.roles}`), `{subject.id}` and
/// `{subject.source}`. What they bring is written so that one percent-decoding gives it back, byte for byte: printable
/// ASCII as it is, but `%`, spaces at either end, a comma inside of a list's entry, and everything else encoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ValueTemplate(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(String),
    Claim(String),
    SubjectId,
    SubjectSource,
}

/// Why a template has no value for someone. It never holds what the claim says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoValue {
    /// Nothing is known there.
    Missing,
    /// What is known there is no text, number, boolean or list of these.
    NotText,
    /// It has control characters, which no honest directory holds.
    ControlCharacters,
    /// It is an e-mail address that nobody has verified, or no address at all.
    UnverifiedEmail,
}

impl ValueTemplate {
    /// The value for this identity.
    pub(super) fn fill(&self, identity: &Identity) -> Result<HeaderValue, NoValue> {
        let mut out = Vec::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Part::Claim(name) => write_claim(&mut out, &identity.claims, name)?,
                Part::SubjectId => write_text(&mut out, &identity.subject.id, Place::Alone)?,
                Part::SubjectSource => write_text(&mut out, &identity.subject.source, Place::Alone)?,
            }
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(out)).map_err(|_| NoValue::ControlCharacters)
    }
}

impl FromStr for ValueTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.bytes().all(|b| matches!(b, b' '..=b'~')) || text.trim().is_empty() {
            return Err("must be printable ASCII, and not empty".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let open = rest.find(['{', '}']).unwrap_or(rest.len());
            let (literal, braced) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some(inside) = braced.strip_prefix('{') else {
                if braced.is_empty() {
                    break;
                }
                return Err(format!("`{text}` has a `}}` without `{{`"));
            };
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
}

/// Whether a text stands alone or among others, where a comma would make two of it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Alone,
    InList,
}

fn write_claim(out: &mut Vec<u8>, claims: &Claims, name: &str) -> Result<(), NoValue> {
    let value = claims.value(name).ok_or(NoValue::Missing)?;
    if name == "email" {
        return write_email(out, claims);
    }
    let Value::Array(entries) = value else { return write_text(out, &text(value)?, Place::Alone) };
    if entries.is_empty() {
        return Err(NoValue::Missing);
    }
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, &text(entry)?, Place::InList)?;
    }
    Ok(())
}

/// Upstreams take an address for the person, so an unverified one, which anybody can choose, never gets there; nor one
/// that some reader could take for another's (A21).
fn write_email(out: &mut Vec<u8>, claims: &Claims) -> Result<(), NoValue> {
    let email = Email::verified(claims).ok_or(NoValue::UnverifiedEmail)?;
    write_text(out, email.whole, Place::Alone)
}

fn text(value: &Value) -> Result<Cow<'_, str>, NoValue> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Ok(Cow::Owned(value.to_string())),
        Value::Null => Err(NoValue::Missing),
        Value::Array(_) | Value::Object(_) => Err(NoValue::NotText),
    }
}

fn write_text(out: &mut Vec<u8>, text: &str, place: Place) -> Result<(), NoValue> {
    if text.is_empty() {
        return Err(NoValue::Missing);
    }
    if text.chars().any(char::is_control) {
        return Err(NoValue::ControlCharacters);
    }
    let last = text.len() - 1;
    for (at, byte) in text.bytes().enumerate() {
        let kept = match byte {
            b'%' => false,
            b',' => place == Place::Alone,
            b' ' => at != 0 && at != last,
            byte => byte.is_ascii_graphic(),
        };
        if kept {
            out.push(byte)
        } else {
            out.extend_from_slice(percent_encoding::percent_encode_byte(byte).as_bytes())
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::identity::{Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Subject};

    #[derive(Debug)]
    struct NoEvidence;

    #[async_trait::async_trait]
    impl EvidenceSource for NoEvidence {
        async fn evidence(&self, _: Duration) -> Result<Evidence, EvidenceError> {
            Err(EvidenceError::Expired)
        }
    }

    pub(in crate::inject) fn someone(id: &str, claims: Value) -> Identity {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        let holder = Holder { id: HolderId::random(), ends: SystemTime::UNIX_EPOCH, evidence: Arc::new(NoEvidence) };
        let subject = Arc::new(Subject { source: "corp".into(), id: id.into() });
        Identity { subject, claims: Claims::new(claims), ends_at: SystemTime::UNIX_EPOCH, holder }
    }

    fn filled(template: &str, claims: Value) -> Result<String, NoValue> {
        let value = template.parse::<ValueTemplate>().unwrap().fill(&someone("u-1", claims))?;
        Ok(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn values_are_written_so_that_they_can_be_read_back() {
        for (template, claims, value) in [
            ("{subject.source}/{subject.id}", json!({}), "corp/u-1"),
            ("plain", json!({}), "plain"),
            ("{claims.g}", json!({"g": ["a", "b c", 7, true]}), "a,b c,7,true"),
            ("{claims.g}", json!({"g": "a,b"}), "a,b"),
            ("{claims.g}", json!({"g": ["users,admins"]}), "users%2Cadmins"), // not two groups
            ("{claims.g}", json!({"g": [" admins", "x "]}), "%20admins,x%20"),
            ("{claims.n}", json!({"n": "Größe 100%"}), "Gr%C3%B6%C3%9Fe 100%25"),
            ("{claims.n}", json!({"n": "%61dmin"}), "%2561dmin"),
            ("{claims.realm.roles}", json!({"realm": {"roles": ["r"]}}), "r"),
            ("{claims.email}", json!({"email": "a@b.example", "email_verified": true}), "a@b.example"),
        ] {
            assert_eq!(filled(template, claims).as_deref(), Ok(value), "{template}");
        }
    }

    #[test]
    fn what_is_not_known_or_not_honest_has_no_value() {
        for (claims, why) in [
            (json!({}), NoValue::Missing),
            (json!({"c": null}), NoValue::Missing),
            (json!({"c": ""}), NoValue::Missing),
            (json!({"c": []}), NoValue::Missing),
            (json!({"c": [""]}), NoValue::Missing),
            (json!({"c": {"a": 1}}), NoValue::NotText),
            (json!({"c": ["a", {"b": 1}]}), NoValue::NotText),
            (json!({"c": "a\r\nX-Admin: 1"}), NoValue::ControlCharacters),
            (json!({"c": ["a", "b\u{0}"]}), NoValue::ControlCharacters),
            (json!({"c": "a\u{85}b"}), NoValue::ControlCharacters),
        ] {
            assert_eq!(filled("x{claims.c}", claims.clone()), Err(why), "{claims}");
        }
    }

    #[test]
    fn a21_only_a_verified_address_is_passed_on() {
        for claims in [
            json!({"email": "a@b.example"}),
            json!({"email": "a@b.example", "email_verified": false}),
            json!({"email": "a@b.example", "email_verified": "no"}),
            json!({"email": "a@evil@b.example", "email_verified": true}),
            json!({"email": "@b.example", "email_verified": true}),
            json!({"email": "<a@evil.example>,b.example", "email_verified": true}),
            json!({"email": "a@b.example", "email_verified": 1}),
            json!({"email": ["a@b.example"], "email_verified": true}),
        ] {
            assert_eq!(filled("{claims.email}", claims.clone()), Err(NoValue::UnverifiedEmail), "{claims}");
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for bad in ["", " ", "{", "}", "a{claims.x", "{claims.}", "{}", "{claim.x}", "{{claims.x}}", "ä", "a\nb"] {
            assert!(bad.parse::<ValueTemplate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decoding_gives_the_claim_back(entries in prop::collection::vec("\\PC{1,12}", 1..5)) {
            let value = filled("{claims.g}", json!({ "g": entries })).unwrap();
            let read: Vec<String> =
                value.split(',').map(|e| percent_decode_str(e).decode_utf8().unwrap().into_owned()).collect();
            prop_assert_eq!(read, entries);
        }
    }
}

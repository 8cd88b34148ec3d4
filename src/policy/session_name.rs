//! The role session's name where a route gives none: readable in CloudTrail, and never somebody else's.

use aws_lc_rs::digest;

use super::template::Charset;
use crate::arn::{ArnError, SessionName};
use crate::identity::{Email, Identity};

/// The verified e-mail address, else the `preferred_username`, else the subject's id, as far as STS takes it.
///
/// An address that nobody verified is passed over, also as a user name: a person could put a colleague's there and
/// act under that name in every audit log. Where anything had to be changed or cut, a stable hash of the whole
/// subject follows, so that two long names with one beginning stay two.
pub(super) fn readable(identity: &Identity) -> Result<SessionName, ArnError> {
    let user_name =
        || identity.claims.value("preferred_username").and_then(|v| v.as_str()).filter(|n| !n.contains('@'));
    let text = Email::verified(&identity.claims)
        .map(|email| email.whole)
        .or_else(user_name)
        .filter(|text| !text.is_empty())
        .unwrap_or(&identity.subject.id);
    if let Ok(name) = text.parse() {
        return Ok(name);
    }
    let mut name: String =
        text.chars().take(LONGEST - HASH_DIGITS - 1).map(|c| if (Charset::NAME.has)(c) { c } else { '-' }).collect();
    name.push('-');
    name.push_str(&hash(identity, text));
    name.parse()
}

/// Over fields with their lengths, so that no two subjects hash the same text (A27).
fn hash(identity: &Identity, text: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for field in [&*identity.subject.source, &*identity.subject.id, text] {
        context.update(&field.len().to_be_bytes());
        context.update(field.as_bytes());
    }
    context.finish().as_ref().iter().take(HASH_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// STS's longest `RoleSessionName`.
const LONGEST: usize = 64;
/// 32 bits tell the sessions of one role apart well enough for a reader.
const HASH_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::tests::identity;

    #[test]
    fn readable_names_stay_and_others_get_a_hash() {
        let name = |claims| readable(&identity(claims)).unwrap().as_str().to_owned();
        assert_eq!(name(json!({"email": "a@corp.example", "email_verified": true})), "a@corp.example");
        assert_eq!(name(json!({"preferred_username": "alice"})), "alice");
        assert_eq!(name(json!({})), "u-1");
        // a colleague's address, unverified
        assert_eq!(name(json!({"email": "b@corp.example", "preferred_username": "b@corp.example"})), "u-1");
        let changed = name(json!({"preferred_username": "Åsa B"}));
        assert!(changed.starts_with("-sa-B-") && changed.len() == 6 + 8, "{changed}");
        assert_eq!(changed, name(json!({"preferred_username": "Åsa B"})));
        let (one, two) = (format!("{}1", "x".repeat(80)), format!("{}2", "x".repeat(80)));
        let (one, two) = (name(json!({"preferred_username": one})), name(json!({"preferred_username": two})));
        assert!(one.len() == 64 && two.len() == 64 && one != two);
    }
}

//! What an assertion says of somebody: a name in the format that is wanted, and attributes from their claims.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::party::{AwsAttributes, RelyingParty};
use crate::saml::{NameId, fresh_id};
use crate::users::User;

/// The NameID of a user for a party. `None` for a format that is not given, or where there is nothing to give.
pub(super) fn name_id(user: &User, wanted: Option<&str>, issuer: &str, party: &RelyingParty) -> Option<NameId> {
    // SAML-Core §8.3.1: unspecified leaves it to us
    let format = wanted.filter(|format| *format != UNSPECIFIED).unwrap_or(&party.name_id_format);
    let value = match format {
        PERSISTENT => pseudonym(&user.sub, issuer, &party.entity_id),
        TRANSIENT => fresh_id(),
        // what anybody can write into their own profile names nobody
        EMAIL => user.email.as_ref().filter(|email| email.verified)?.address.clone(),
        UNSPECIFIED => user.name.as_str().to_owned(),
        _ => return None,
    };
    let qualified = format == PERSISTENT || format == TRANSIENT;
    Some(NameId {
        value,
        format: Some(format.to_owned()),
        name_qualifier: qualified.then(|| issuer.to_owned()),
        sp_name_qualifier: qualified.then(|| party.entity_id.to_string()),
    })
}

/// SAML-Core §8.3.7: one for each party, so that two can't put together what they know of somebody. It stays as long as
/// the user's `sub` and the entity IDs do.
fn pseudonym(sub: &str, issuer: &str, party: &str) -> String {
    let text = format!("{}:{issuer}{}:{party}{sub}", issuer.len(), party.len());
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The attributes of a user with these claims, for a party.
pub(super) fn attributes(claims: &Map<String, Value>, party: &RelyingParty) -> Vec<(String, Vec<String>)> {
    let own = match &party.attributes {
        Some(wanted) => wanted.iter().map(|(name, claim)| (name.clone(), texts(claims, claim))).collect::<Vec<_>>(),
        None => claims.keys().map(|claim| (claim.clone(), texts(claims, claim))).collect(),
    };
    let aws = party.aws.iter().flat_map(|aws| of_aws(claims, aws));
    own.into_iter().chain(aws).filter(|(_, values)| !values.is_empty()).collect()
}

/// IAM User Guide, "Configuring SAML assertions for the authentication response".
fn of_aws(claims: &Map<String, Value>, aws: &AwsAttributes) -> Vec<(String, Vec<String>)> {
    let named = |name: &str, values: Vec<String>| (format!("{AWS}{name}"), values);
    let roles = aws.roles.iter().flat_map(|template| filled(template, claims));
    let mut attributes = vec![
        named("Role", roles.map(|role| format!("{role},{}", aws.provider)).collect()),
        named("RoleSessionName", texts(claims, &aws.session_name)),
    ];
    for (key, claim) in &aws.tags {
        attributes.push(named(&format!("PrincipalTag:{key}"), texts(claims, claim)));
    }
    // a transitive key without its tag would be refused
    let has_tag = |key: &&String| aws.tags.get(*key).is_some_and(|claim| !texts(claims, claim).is_empty());
    attributes.push(named("TransitiveTagKeys", aws.transitive_tags.iter().filter(has_tag).cloned().collect()));
    if let Some(claim) = &aws.source_identity {
        attributes.push(named("SourceIdentity", texts(claims, claim)));
    }
    if let Some(duration) = aws.duration() {
        attributes.push(named("SessionDuration", vec![duration.as_secs().to_string()]));
    }
    attributes
}

/// A template with each `{claim}` replaced by its values: one text for each, or none where a claim is missing. Of two
/// claims with several values every pair.
fn filled(template: &str, claims: &Map<String, Value>) -> Vec<String> {
    let Some((before, rest)) = template.split_once('{') else { return vec![template.to_owned()] };
    let Some((claim, after)) = rest.split_once('}') else { return Vec::new() };
    // a value is one word of an ARN, and never the rest of it (A20)
    let is_word = |value: &String| {
        !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=.@_-".contains(&b))
    };
    let values = texts(claims, claim).into_iter().filter(is_word);
    let ends = filled(after, claims);
    values.flat_map(|value| ends.iter().map(move |end| format!("{before}{value}{end}")).collect::<Vec<_>>()).collect()
}

/// A claim as texts; objects are none.
fn texts(claims: &Map<String, Value>, claim: &str) -> Vec<String> {
    fn text(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
    match claims.get(claim) {
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A format by its short name, which is the end of its URI.
pub(super) fn format(short: &str) -> Option<String> {
    FORMATS.iter().find(|uri| uri.rsplit(':').next() == Some(short)).map(|&uri| uri.to_owned())
}

pub(super) const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
const EMAIL: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";
/// The formats we give.
pub(super) const FORMATS: [&str; 4] = [PERSISTENT, TRANSIENT, EMAIL, UNSPECIFIED];
const AWS: &str = "https://aws.amazon.com/SAML/Attributes/";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn roles_are_made_of_claims() {
        let claims = json!({"department": "finance", "teams": ["a", "b"], "odd": "x:role/admin", "level": 3});
        let claims = claims.as_object().unwrap();
        for (template, expected) in [
            ("role/plain", vec!["role/plain"]),
            ("role/{department}", vec!["role/finance"]),
            ("role/{department}-{teams}", vec!["role/finance-a", "role/finance-b"]),
            ("role/{level}x", vec!["role/3x"]),
            ("role/{nothing}", vec![]),
            ("role/{odd}", vec![]), // A20
            ("role/{department", vec![]),
        ] {
            assert_eq!(filled(template, claims), expected, "{template}");
        }
    }

    #[test]
    fn a_pseudonym_is_one_partys() {
        let one = pseudonym("u-1", "https://idp", "https://sp");
        assert_eq!(one, pseudonym("u-1", "https://idp", "https://sp"));
        for other in [
            pseudonym("u-2", "https://idp", "https://sp"),
            pseudonym("u-1", "https://idp", "https://sp2"),
            pseudonym("2u-1", "https://idp", "https://sp"),
            pseudonym("u-1", "https://idphttps://", "sp"),
        ] {
            assert_ne!(one, other);
        }
    }
}

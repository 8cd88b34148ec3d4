//! Session tags: what a session says of its holder, from a token's claims or a call's parameters.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::query::Query;
use super::refusal::Refusal;
use crate::arn::{SourceIdentity, TagKey, TagValue};

/// A session's tags, and which of them go along when it assumes another role.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Tags {
    values: BTreeMap<TagKey, TagValue>,
    transitive: BTreeSet<TagKey>,
}

impl Tags {
    /// The tags in a token: the claim `https://aws.amazon.com/tags`, bare or (as Keycloak writes it) in a list of one, or
    /// flattened into `https://aws.amazon.com/tags/principal_tags/<key>` and `…/transitive_tag_keys`.
    pub(super) fn from_claims(claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut tags = Self::default();
        if let Some(claim) = claims.get(CLAIM) {
            let claim = match claim {
                Value::Array(list) => match list.as_slice() {
                    [one] => one,
                    _ => return Err(rejected("has not exactly one entry")),
                },
                claim => claim,
            };
            let claim = claim.as_object().ok_or_else(|| rejected("is not an object"))?;
            for (name, value) in claim {
                match name.as_str() {
                    "principal_tags" => {
                        let values =
                            value.as_object().ok_or_else(|| rejected("has principal_tags that are no object"))?;
                        for (key, value) in values {
                            tags.add_claim(key, value)?;
                        }
                    }
                    "transitive_tag_keys" => tags.add_transitive_claim(value)?,
                    _ => return Err(rejected("has members other than principal_tags and transitive_tag_keys")),
                }
            }
        }
        for (name, value) in claims {
            match name.strip_prefix(CLAIM).and_then(|rest| rest.strip_prefix('/')) {
                None => {}
                Some("transitive_tag_keys") => tags.add_transitive_claim(value)?,
                Some(rest) => match rest.strip_prefix("principal_tags/") {
                    Some(key) => tags.add_claim(key, value)?,
                    None => return Err(rejected("is followed by neither principal_tags nor transitive_tag_keys")),
                },
            }
        }
        tags.complete().map_err(|problem| rejected(&problem))
    }

    /// The tags in a SAML assertion: the values of each `PrincipalTag:<key>`, and those of `TransitiveTagKeys`.
    #[cfg(feature = "saml")]
    pub(super) fn from_attributes<'a>(
        values: impl Iterator<Item = (&'a str, &'a [String])>,
        transitive: &[String],
    ) -> Result<Self, Refusal> {
        let rejected =
            |problem: &str| Refusal::idp_rejected_claim(format!("The session tags can't be used: {problem}"));
        let mut tags = Self::default();
        for (key, values) in values {
            let [value] = values else { return Err(rejected(&format!("{key} has not exactly one value"))) };
            tags.add(key, value).map_err(|problem| rejected(&problem))?;
        }
        for key in transitive {
            tags.transitive.insert(key.parse().map_err(|e| rejected(&format!("{e}")))?);
        }
        tags.complete().map_err(|problem| rejected(&problem))
    }

    /// The tags in a call: `Tags.member.N` and `TransitiveTagKeys.member.N`.
    pub(super) fn from_query(query: &mut Query) -> Result<Self, Refusal> {
        let mut tags = Self::default();
        for (key, value) in query.pairs("Tags", MAX_TAGS)? {
            tags.add(&key, &value).map_err(Refusal::validation)?;
        }
        for key in query.list("TransitiveTagKeys", MAX_TAGS)? {
            tags.transitive.insert(key.parse().map_err(|e| Refusal::validation(format!("{e}")))?);
        }
        tags.complete().map_err(Refusal::validation)
    }

    /// These tags and those that a calling session hands on; what was handed on can't be set anew.
    pub(super) fn inheriting(mut self, caller: &Self) -> Result<Self, Refusal> {
        for key in &caller.transitive {
            if self.values.keys().any(|own| same(own, key)) {
                return Err(Refusal::validation(format!(
                    "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag \
                     key from the calling session: {key}"
                )));
            }
            if let Some(value) = caller.values.get(key) {
                self.values.insert(key.clone(), value.clone());
                self.transitive.insert(key.clone());
            }
        }
        self.complete().map_err(Refusal::validation)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TagKey, &TagValue)> {
        self.values.iter()
    }

    pub(super) fn transitive(&self) -> impl Iterator<Item = &TagKey> {
        self.transitive.iter()
    }

    /// Their length in bytes, as far as sessions have to carry it.
    pub(super) fn len_in_bytes(&self) -> usize {
        self.values.iter().map(|(key, value)| key.as_str().len() + value.as_str().len()).sum()
    }

    fn add_claim(&mut self, key: &str, value: &Value) -> Result<(), Refusal> {
        let value = match value {
            Value::String(text) => text,
            Value::Array(list) => match list.as_slice() {
                [Value::String(text)] => text,
                _ => return Err(rejected("has a tag with other than one text as its value")),
            },
            _ => return Err(rejected("has a tag with other than one text as its value")),
        };
        self.add(key, value).map_err(|problem| rejected(&problem))
    }

    fn add_transitive_claim(&mut self, value: &Value) -> Result<(), Refusal> {
        let list = value.as_array().ok_or_else(|| rejected("has transitive_tag_keys that are no list"))?;
        for key in list {
            let key = key.as_str().ok_or_else(|| rejected("has a transitive tag key that is no text"))?;
            self.transitive.insert(key.parse().map_err(|e| rejected(&format!("has {e}")))?);
        }
        Ok(())
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), String> {
        let key: TagKey = key.parse().map_err(|e| format!("{e}"))?;
        let value: TagValue = value.parse().map_err(|e| format!("{e}"))?;
        // tag keys have no case in IAM: two that differ in case only would be one condition key with two values
        if self.values.keys().any(|known| same(known, &key)) {
            return Err(format!("Duplicate tag keys found: {key}. Please note that tag keys are case insensitive."));
        }
        self.values.insert(key, value);
        Ok(())
    }

    fn complete(self) -> Result<Self, String> {
        if self.values.len() > MAX_TAGS {
            return Err(format!("more than {MAX_TAGS} tags"));
        }
        match self.transitive.iter().find(|key| !self.values.contains_key(key)) {
            Some(key) => Err(format!("The transitive tag key `{key}` is not among the session's tags")),
            None => Ok(self),
        }
    }
}

/// The source identity in a token: the claim `https://aws.amazon.com/source_identity`.
pub(super) fn source_identity_from_claims(claims: &Map<String, Value>) -> Result<Option<SourceIdentity>, Refusal> {
    let Some(claim) = claims.get(SOURCE_IDENTITY_CLAIM) else { return Ok(None) };
    let text = claim.as_str().unwrap_or_default();
    let identity = text.parse().map_err(|e| Refusal::idp_rejected_claim(format!("{SOURCE_IDENTITY_CLAIM}: {e}")))?;
    Ok(Some(identity))
}

fn same(one: &TagKey, other: &TagKey) -> bool {
    one.as_str().to_lowercase() == other.as_str().to_lowercase()
}

fn rejected(problem: &str) -> Refusal {
    Refusal::idp_rejected_claim(format!("The claim {CLAIM} can't be used: {problem}"))
}

const CLAIM: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY_CLAIM: &str = "https://aws.amazon.com/source_identity";
/// STS's limit for tags and for transitive keys.
const MAX_TAGS: usize = 50;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn from_claims(claims: &Value) -> Result<Vec<String>, Refusal> {
        let tags = Tags::from_claims(claims.as_object().unwrap())?;
        let star = |key| if tags.transitive.contains(key) { "*" } else { "" };
        Ok(tags.iter().map(|(key, value)| format!("{key}{}={value}", star(key))).collect())
    }

    #[test]
    fn every_form_of_the_claim_is_read() {
        let nested = json!({"principal_tags": {"Project": ["A"], "Team": ["b"]}, "transitive_tag_keys": ["Project"]});
        let read = ["Project*=A", "Team=b"];
        assert_eq!(from_claims(&json!({CLAIM: nested})).unwrap(), read);
        assert_eq!(from_claims(&json!({CLAIM: [nested]})).unwrap(), read);
        let flat = json!({
            "https://aws.amazon.com/tags/principal_tags/Project": ["A"],
            "https://aws.amazon.com/tags/principal_tags/Team": "b",
            "https://aws.amazon.com/tags/transitive_tag_keys": ["Project"],
        });
        assert_eq!(from_claims(&flat).unwrap(), read);
        assert!(from_claims(&json!({"sub": "x"})).unwrap().is_empty());
    }

    #[test]
    fn claims_that_are_no_tags_are_rejected() {
        let nested = |tags: Value| json!({CLAIM: {"principal_tags": tags}});
        for claims in [
            nested(json!({"a": ["x", "y"]})),
            nested(json!({"a": []})),
            nested(json!({"a": [1]})),
            nested(json!({"a": {"b": "c"}})),
            nested(json!({"a*": ["x"]})),
            nested(json!({"aws:x": ["x"]})),
            nested(json!({"a": ["x\ny"]})), // A20
            nested(json!({"a": ["x".repeat(257)]})),
            nested(json!({"Team": ["x"], "team": ["y"]})),
            nested(json!([])),
            json!({CLAIM: "x"}),
            json!({CLAIM: [{}, {}]}),
            json!({CLAIM: {"principal_tag": {"a": ["x"]}}}),
            json!({CLAIM: {"principal_tags": {"a": ["x"]}, "transitive_tag_keys": ["b"]}}),
            json!({CLAIM: {"principal_tags": {"a": ["x"]}}, format!("{CLAIM}/principal_tags/a"): "y"}),
            json!({format!("{CLAIM}/principal_tag/a"): "y"}),
            nested((0..51).map(|n| (format!("k{n}"), json!(["x"]))).collect::<Map<_, _>>().into()),
        ] {
            assert_eq!(from_claims(&claims).unwrap_err().code, "IDPRejectedClaim", "{claims}");
        }
    }

    #[test]
    fn what_is_handed_on_cannot_be_set_anew() {
        let of = |form: &str| Tags::from_query(&mut Query::read("", form.as_bytes()).unwrap()).unwrap();
        let caller = of("Tags.member.1.Key=Team&Tags.member.1.Value=x&Tags.member.2.Key=Own&Tags.member.2.Value=y\
            &TransitiveTagKeys.member.1=Team");
        let next = of("Tags.member.1.Key=New&Tags.member.1.Value=z").inheriting(&caller).unwrap();
        let tags: Vec<String> = next.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(tags, ["New=z", "Team=x"]);
        assert_eq!(next.transitive().map(TagKey::as_str).collect::<Vec<_>>(), ["Team"]);
        let refused = of("Tags.member.1.Key=team&Tags.member.1.Value=z").inheriting(&caller);
        assert_eq!(refused.unwrap_err().code, "ValidationError");
    }

    #[test]
    fn a_source_identity_is_read_or_rejected() {
        let read =
            |claim: Value| source_identity_from_claims(json!({SOURCE_IDENTITY_CLAIM: claim}).as_object().unwrap());
        assert_eq!(read(json!("alice")).unwrap().unwrap().as_str(), "alice");
        for bad in [json!(["alice"]), json!(""), json!("a b"), json!("a\nb"), json!(1), json!("x".repeat(65))] {
            assert_eq!(read(bad.clone()).unwrap_err().code, "IDPRejectedClaim", "{bad}");
        }
    }
}

//! The shape in which a route says who may pass and what they want of STS.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::hours::Weekday;

/// A route's `allow`: `"anyone"`, `"signed-in"`, a rule, or a list of rules of which one must let pass.
#[derive(Clone, Debug)]
pub enum AllowSettings {
    /// Nobody needs to be logged in.
    Anyone,
    /// Whoever is logged in.
    SignedIn,
    /// One rule.
    Rule(Box<RuleSettings>),
    /// The first rule that lets pass counts.
    AnyOf(Vec<RuleSettings>),
}

/// A rule: all of its conditions must hold, and of each list one entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Its name in logs; by default where it stands: `allow`, or `allow[1]` for the second of a list.
    pub name: Option<String>,
    /// `"anyone"` needs no login and can't be combined with a condition on who asks; default `"signed-in"`.
    #[serde(default)]
    pub who: Who,
    /// Texts of the claim `groups`.
    pub groups: Option<Vec<String>>,
    /// A claim by name, or by path (`realm_access.roles`), and the values that count.
    pub claims: Option<BTreeMap<String, Values>>,
    /// `source/id`: who exactly, by the name of the identity section and the provider's `sub`.
    pub subjects: Option<Vec<String>>,
    /// Verified e-mail addresses.
    pub emails: Option<Vec<String>>,
    /// Domains of verified e-mail addresses, to the letter: subdomains are other domains.
    pub email_domains: Option<Vec<String>>,
    /// Methods. `GET` does not include `HEAD`.
    pub methods: Option<Vec<String>>,
    /// `/path` is that path, `/path/*` everything below it.
    pub paths: Option<Vec<String>>,
    /// Networks (`10.0.0.0/8`) or addresses the client comes from.
    pub sources: Option<Vec<String>>,
    /// `08:00-18:00`, in UTC.
    pub between: Option<String>,
    /// Days, in UTC. Hours that go over midnight count for the day they are asked on.
    pub weekdays: Option<Vec<Weekday>>,
}

/// Who a rule is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Nobody needs to be logged in.
    Anyone,
    /// Whoever is logged in.
    #[default]
    SignedIn,
}

/// One value or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, number or boolean, or a list of them")]
pub enum Values {
    /// Several, of which one must be there.
    Many(Vec<Value>),
    /// One.
    One(Value),
}

/// What a route wants of STS. `role`, `session_name`, `source_identity` and the values of `tags` are templates over
/// `{claims.NAME}`, `{subject.id}` and `{subject.source}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantSettings {
    /// The role's ARN.
    pub role: Option<String>,
    /// Several, of which a person chooses one; in place of `role`.
    #[serde(default)]
    pub roles: Vec<RoleSettings>,
    /// The role session's name; by default a readable one from the claims.
    pub session_name: Option<String>,
    /// Session tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Keys of tags that are passed on along role chains.
    #[serde(default)]
    pub transitive_tags: Vec<String>,
    /// The source identity.
    pub source_identity: Option<String>,
    /// `15m` to `12h`; absent: STS's own default.
    pub duration: Option<String>,
    /// Roles that are assumed on the way to `role`, in order: each by the keys of the one before.
    #[serde(default)]
    pub through: Vec<HopSettings>,
    /// What the owner of `role` has agreed on with whoever assumes it by `through`.
    pub external_id: Option<String>,
    /// An IAM policy in JSON: the keys may no more than both this and the role allow.
    pub policy: Option<String>,
    /// Managed policies to the same end.
    #[serde(default)]
    pub policy_arns: Vec<String>,
}

/// A role on the way: its ARN, or a table of that and an external id. All are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "expected the ARN of a role, or { role = \"…\", external_id = \"…\" }")]
pub enum HopSettings {
    /// Its ARN alone.
    Role(String),
    /// With what its owner wants to hear.
    Agreed(AgreedSettings),
}

/// A role, and what its owner has agreed on with whoever assumes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreedSettings {
    /// The role's ARN.
    pub role: String,
    /// The external id.
    pub external_id: Option<String>,
}

impl HopSettings {
    pub(super) fn role(&self) -> &str {
        match self {
            Self::Role(role) => role,
            Self::Agreed(agreed) => &agreed.role,
        }
    }

    pub(super) fn external_id(&self) -> Option<&String> {
        match self {
            Self::Role(_) => None,
            Self::Agreed(agreed) => agreed.external_id.as_ref(),
        }
    }
}

impl WantSettings {
    /// Whether a role is wanted, of whichever form.
    pub fn wants_role(&self) -> bool {
        self.role.is_some() || !self.roles.is_empty()
    }
}

/// One of the roles that a route offers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSettings {
    /// What people and programs call it.
    pub name: String,
    /// What it is for, on the page to choose at.
    pub description: Option<String>,
    /// The role's ARN, a template.
    pub role: String,
    /// Whose it is; absent: everybody's whom the route lets pass.
    pub allow: Option<AllowSettings>,
}

impl<'de> Deserialize<'de> for AllowSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllowVisitor)
    }
}

/// By hand, as an untagged enum would answer every mistake with "did not match any variant" and no key.
struct AllowVisitor;

impl<'de> Visitor<'de> for AllowVisitor {
    type Value = AllowSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""anyone", "signed-in", a rule such as { groups = ["finance"] }, or a list of rules"#)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AllowSettings, E> {
        match text {
            "anyone" => Ok(AllowSettings::Anyone),
            "signed-in" => Ok(AllowSettings::SignedIn),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AllowSettings, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(AllowSettings::Rule)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<AllowSettings, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(seq)).map(AllowSettings::AnyOf)
    }
}

impl Values {
    pub(super) fn as_slice(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::parse_table;

    #[derive(Debug, Deserialize)]
    struct Holder {
        allow: AllowSettings,
    }

    fn read(text: &str) -> Result<AllowSettings, String> {
        parse_table::<Holder>(toml::from_str(text).unwrap()).map(|h| h.allow).map_err(|e| e.to_string())
    }

    #[test]
    fn allow_has_four_forms() {
        assert!(matches!(read(r#"allow = "anyone""#), Ok(AllowSettings::Anyone)));
        assert!(matches!(read(r#"allow = "signed-in""#), Ok(AllowSettings::SignedIn)));
        assert!(matches!(read(r#"allow = { groups = ["a"] }"#), Ok(AllowSettings::Rule(_))));
        let several = read(r#"allow = [{ groups = ["a"] }, { claims = { department = "x", level = [1, 2] } }]"#);
        assert!(matches!(several, Ok(AllowSettings::AnyOf(rules)) if rules.len() == 2));
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, key) in [
            (r#"allow = "everyone""#, "`allow`: invalid value"),
            (r#"allow = { group = ["a"] }"#, "`allow.group`: unknown field `group`"),
            (r#"allow = [{}, { groups = "a" }]"#, "`allow[1].groups`: invalid type"),
            (r#"allow = { weekdays = ["caturday"] }"#, "`allow.weekdays[0]`: unknown variant"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(key), "{error}");
        }
    }
}

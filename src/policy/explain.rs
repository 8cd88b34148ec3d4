//! Why a request would pass or not, as plain data, for `claviger explain`.

use std::sync::Arc;

use serde::Serialize;

use super::{Ask, Call, Grant, Policy, Tellable, Way, chain};
use crate::clock;

/// What the policy makes of a question, and how it gets there.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The rule that lets pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why there is no leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// Every rule in order, and what it lacks.
    pub rules: Vec<Verdict>,
    /// The roles there are to choose among, and which are theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleVerdict>,
    /// What STS would be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Asked>,
    /// When the answer was true.
    pub at: String,
}

/// A rule's verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The rule.
    pub rule: String,
    /// The first condition that does not hold; absent: the rule lets pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// A role to choose, and whether it is theirs.
#[derive(Clone, Debug, Serialize)]
pub struct RoleVerdict {
    /// What it is called.
    pub name: String,
    /// The role, where it is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What they lack for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// What STS would be asked.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// The `[credentials.<name>]` that asks.
    pub credentials: String,
    /// The call by which it asks.
    pub call: Call,
    /// The role.
    pub role: String,
    /// The role session's name.
    pub session_name: Told,
    /// Session tags by key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The source identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<Told>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Told>,
    /// What the role's owner has agreed on with whoever assumes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The session policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Managed policies as session policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_arns: Vec<String>,
    /// In a chain of roles: what would be asked before, for the keys that ask this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<Self>>,
}

/// A value, and the way STS is told.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// The value.
    pub value: String,
    /// The way.
    pub told: Way,
}

/// A session tag.
#[derive(Clone, Debug, Serialize)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Whether it is passed on along role chains.
    pub transitive: bool,
    /// Its value, and the way.
    #[serde(flatten)]
    pub told: Told,
}

impl Policy {
    /// What [`Policy::decide`] would answer, and why.
    pub fn explain(&self, ask: Ask<'_>) -> Explanation {
        let ask = ask.of_the_living();
        let rules = self
            .rules
            .iter()
            .map(|rule| Verdict { rule: rule.name.to_string(), needs: rule.first_unmet(&ask).map(ToString::to_string) })
            .collect();
        let roles = ask.identity.map_or_else(Vec::new, |identity| {
            let verdict = |offer: &super::Offer| RoleVerdict {
                name: offer.name.to_string(),
                role: offer.role_of(identity, &ask),
                needs: offer.lack(identity, &ask),
            };
            self.roles.iter().map(verdict).collect()
        });
        let at = clock::rfc3339(ask.now);
        match self.decide(ask) {
            Ok(permit) => Explanation {
                rule: Some(permit.rule().to_owned()),
                denied: None,
                rules,
                roles,
                grant: self.asked(permit.grant()),
                at,
            },
            Err(denied) => Explanation { rule: None, denied: Some(denied.to_string()), rules, roles, grant: None, at },
        }
    }

    /// Each rule's name and what it takes, for a summary.
    pub fn rules(&self) -> impl Iterator<Item = (&str, String)> {
        self.rules.iter().map(|rule| (rule.name.as_ref(), rule.to_string()))
    }

    /// The names of the roles there are to choose among, and their templates, for a summary.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|offer| offer.name.as_ref())
    }

    fn tellable(&self) -> Option<Tellable> {
        let several = self.roles.first().map(|offer| &offer.want);
        self.want.as_ref().or(several).map(|want| want.tellable)
    }

    fn asked(&self, grant: Option<&Arc<Grant>>) -> Option<Asked> {
        Some(Asked::of(grant?, self.tellable()?))
    }
}

impl Asked {
    fn of(grant: &Grant, first: Tellable) -> Self {
        let tellable = if grant.after.is_some() { chain::BY_KEYS } else { first };
        let told = |value: String, told| Told { value, told };
        Self {
            credentials: grant.provider.to_string(),
            call: tellable.call,
            role: grant.role.to_string(),
            session_name: told(grant.session_name.to_string(), tellable.session_name),
            tags: grant
                .tags
                .iter()
                .map(|(key, value)| Tag {
                    key: key.to_string(),
                    transitive: grant.transitive.contains(key),
                    told: told(value.to_string(), tellable.tags),
                })
                .collect(),
            source_identity: grant.source_identity.as_ref().map(|s| told(s.to_string(), tellable.source_identity)),
            duration: grant.duration.map(|d| told(d.as_secs().to_string(), tellable.duration)),
            external_id: grant.external_id.as_ref().map(ToString::to_string),
            policy: grant.bounds.policy.as_ref().map(ToString::to_string),
            policy_arns: grant.bounds.policy_arns.iter().map(ToString::to_string).collect(),
            after: grant.after.as_deref().map(|before| Box::new(Self::of(before, first))),
        }
    }
}

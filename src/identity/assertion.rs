//! A provider's SAML response, kept to be shown to AWS.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::arn::{RoleArn, SamlProviderArn};
use crate::secret::Secret;

/// What AssumeRoleWithSAML takes: the provider's response as it came, and what it says of roles.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SamlResponse {
    /// The response, in base64 as it was posted.
    #[serde(with = "crate::identity::secret_text")]
    pub document: Secret,
    /// The roles that the provider says the person may have (`https://aws.amazon.com/SAML/Attributes/Role`).
    pub roles: Vec<RolePair>,
    /// When STS takes it no more: five minutes after it was issued, or when its bearer confirmation ends before that.
    pub taken_until: SystemTime,
    /// How long keys live by the provider's word (`https://aws.amazon.com/SAML/Attributes/SessionDuration`).
    pub session_duration: Option<Duration>,
    /// When the provider wants the login to end (`SessionNotOnOrAfter`).
    pub session_ends: Option<SystemTime>,
}

impl SamlResponse {
    /// The registered provider under whose name STS knows that this role is the person's, where the response says so.
    pub fn provider_of(&self, role: &RoleArn) -> Option<&SamlProviderArn> {
        self.roles.iter().find(|pair| pair.role == *role).map(|pair| &pair.provider)
    }
}

/// A role, and the SAML provider registered in its account that vouches for whoever takes it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RolePair {
    /// The role.
    pub role: RoleArn,
    /// The provider.
    pub provider: SamlProviderArn,
}

impl RolePair {
    /// A value of the `Role` attribute: two ARNs with a comma between them, of which either may be first.
    ///
    /// A role's name may have a comma too, so each comma is tried; only one of them leaves two ARNs. A provider vouches in
    /// its own account only: with a role of another the two are no pair.
    pub fn read(value: &str) -> Option<Self> {
        value.match_indices(',').find_map(|(at, comma)| {
            let (one, other) = (value.get(..at)?.trim(), value.get(at + comma.len()..)?.trim());
            Self::of(one, other).or_else(|| Self::of(other, one))
        })
    }

    fn of(role: &str, provider: &str) -> Option<Self> {
        let (role, provider): (RoleArn, SamlProviderArn) = (role.parse().ok()?, provider.parse().ok()?);
        let is_of_one = (role.partition(), role.account()) == (provider.partition(), provider.account());
        is_of_one.then_some(Self { role, provider })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/team/reports";
    const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/corp";

    #[test]
    fn a_pair_may_begin_with_either() {
        for value in [format!("{ROLE},{PROVIDER}"), format!("{PROVIDER},{ROLE}"), format!(" {ROLE} ,\n {PROVIDER} ")] {
            let pair = RolePair::read(&value).unwrap();
            assert_eq!((pair.role.as_str(), pair.provider.as_str()), (ROLE, PROVIDER), "{value}");
        }
        let comma = RolePair::read(&format!("{ROLE},too,{PROVIDER}")).unwrap();
        assert_eq!(comma.role.as_str(), format!("{ROLE},too"));
    }

    #[test]
    fn whatever_is_no_pair_is_none() {
        for value in [
            String::new(),
            ",".to_owned(),
            ROLE.to_owned(),
            format!("{ROLE},{ROLE}"),
            format!("{PROVIDER},{PROVIDER}"),
            format!("{ROLE};{PROVIDER}"),
            format!("{ROLE},{PROVIDER},{PROVIDER}"),
            format!("{ROLE}*,{PROVIDER}"),
            format!("{ROLE},arn:aws:iam::123456789012:saml-provider/"),
            format!("{ROLE},arn:aws:iam::210987654321:saml-provider/corp"),
            format!("{ROLE},arn:aws-cn:iam::123456789012:saml-provider/corp"),
            format!("{ROLE},arn:aws:iam::123456789012:oidc-provider/corp"),
        ] {
            assert_eq!(RolePair::read(&value), None, "{value}");
        }
    }

    #[test]
    fn debug_shows_no_document_and_a_record_keeps_it() {
        let response = SamlResponse {
            document: Secret::new("canary"),
            roles: vec![RolePair::read(&format!("{ROLE},{PROVIDER}")).unwrap()],
            taken_until: SystemTime::UNIX_EPOCH,
            session_duration: Some(Duration::from_secs(3600)),
            session_ends: None,
        };
        assert!(!format!("{response:?}").contains("canary"));
        let back: SamlResponse = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
        assert!(back.document.matches("canary"));
        assert_eq!(back.provider_of(&ROLE.parse().unwrap()).unwrap().as_str(), PROVIDER);
    }
}

//! The section's keys, and what they come to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::built_in::SettingsError;
use crate::credentials::CredentialProvider;
use crate::endpoint::Materials;
use crate::endpoint::place::Place;
use crate::identity::IdentitySource;
use crate::policy::{AllowSettings, HopSettings, RoleSettings, Tellable, WantSettings, Way};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PodIdentitySettings {
    pub(super) address: Place,
    identity: String,
    pub(super) credentials: String,
    pub(super) allow: AllowSettings,
    cluster_arn: Option<String>,
    session_tags: Option<bool>,
    role: Option<String>,
    #[serde(default)]
    roles: Vec<RoleSettings>,
    session_name: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    transitive_tags: Vec<String>,
    source_identity: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    through: Vec<HopSettings>,
    external_id: Option<String>,
    policy: Option<String>,
    #[serde(default)]
    policy_arns: Vec<String>,
}

impl PodIdentitySettings {
    pub(super) fn source(&self, materials: &Materials) -> Result<Arc<dyn IdentitySource>, SettingsError> {
        let name = &self.identity;
        let source = materials
            .sources
            .get(name.as_str())
            .ok_or_else(|| SettingsError::at("identity", format!("there is no [identity.{name}] that can be used")))?;
        if source.token_judge().is_none() {
            let problem = format!("[identity.{name}] judges no pods' tokens; expected one of the kind `kubernetes`");
            return Err(SettingsError::at("identity", problem));
        }
        Ok(Arc::clone(source))
    }

    pub(super) fn provider(&self, materials: &Materials) -> Result<Arc<dyn CredentialProvider>, SettingsError> {
        let name = &self.credentials;
        let provider = materials.providers.get(name.as_str()).ok_or_else(|| {
            SettingsError::at("credentials", format!("there is no [credentials.{name}] that can be used"))
        })?;
        if provider.shows_assertions() {
            let problem = format!("[credentials.{name}] shows SAML responses, and a pod has none");
            return Err(SettingsError::at("credentials", problem));
        }
        Ok(Arc::clone(provider))
    }

    /// What STS is asked for, with the session tags of EKS where they can be told.
    pub(super) fn want(&self, tellable: Tellable) -> Result<WantSettings, SettingsError> {
        let mut want = WantSettings {
            role: self.role.clone(),
            roles: self.roles.clone(),
            session_name: self.session_name.clone(),
            tags: self.tags.clone(),
            transitive_tags: self.transitive_tags.clone(),
            source_identity: self.source_identity.clone(),
            duration: self.duration.clone(),
            through: self.through.clone(),
            external_id: self.external_id.clone(),
            policy: self.policy.clone(),
            policy_arns: self.policy_arns.clone(),
        };
        if !want.wants_role() {
            return Err(SettingsError::at("role", "is missing; expected the ARN of a role, or `roles`"));
        }
        let can_tell = matches!(tellable.tags, Way::Parameter | Way::MintedClaim) || !self.through.is_empty();
        if !self.session_tags.unwrap_or(can_tell) {
            return Ok(want);
        }
        let (arn, cluster) = self.cluster()?;
        // whose word they are must be beyond doubt: roles' policies are written for them
        if let Some(key) = EKS_TAGS.iter().map(|(key, _)| *key).find(|key| self.tags.contains_key(*key)) {
            return Err(SettingsError::at(format!("tags.{key}"), "is set by `session_tags`"));
        }
        for (key, template) in EKS_TAGS {
            let value = match template {
                "" if key == CLUSTER_ARN => arn,
                "" => cluster,
                template => template,
            };
            want.tags.insert(key.to_owned(), value.to_owned());
            want.transitive_tags.push(key.to_owned()); // as EKS has them, for roles that these keys assume
        }
        Ok(want)
    }

    /// The cluster's ARN, and the name in it.
    fn cluster(&self) -> Result<(&str, &str), SettingsError> {
        let arn = self.cluster_arn.as_deref().ok_or_else(|| {
            let problem = "is missing for the session tags; expected it, or `session_tags = false`";
            SettingsError::at("cluster_arn", problem)
        })?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let name = match arn.split(':').collect::<Vec<_>>()[..] {
            ["arn", _, "eks", _, _, resource] => resource.strip_prefix("cluster/"),
            _ => None,
        };
        let name = name.filter(|name| !name.is_empty() && name.bytes().all(is_plain) && !arn.contains(['{', '}']));
        let wrong = || {
            let expected = "expected something like arn:aws:eks:eu-west-1:123456789012:cluster/shop";
            SettingsError::at("cluster_arn", format!("`{arn}` is not a cluster's; {expected}"))
        };
        Ok((arn, name.ok_or_else(wrong)?))
    }
}

const CLUSTER_ARN: &str = "eks-cluster-arn";
/// The session tags of EKS Pod Identity, as its documentation has them; those without a template are the cluster's.
const EKS_TAGS: [(&str, &str); 6] = [
    (CLUSTER_ARN, ""),
    ("eks-cluster-name", ""),
    ("kubernetes-namespace", "{claims.kubernetes.namespace}"),
    ("kubernetes-service-account", "{claims.kubernetes.serviceaccount.name}"),
    ("kubernetes-pod-name", "{claims.kubernetes.pod.name}"),
    ("kubernetes-pod-uid", "{claims.kubernetes.pod.uid}"),
];

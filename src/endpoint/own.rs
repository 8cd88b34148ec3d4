//! Credentials for the workload that claviger runs beside: the same sentence as a route's, with nobody logging in.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use tokio::time::timeout;

use super::Materials;
use crate::broker::Broker;
use crate::built_in::SettingsError;
use crate::credentials::{CredentialProvider, Credentials, IssueError};
use crate::identity::{EvidenceError, IdentitySource};
use crate::policy::{AllowSettings, Ask, Denied, Grant, NormalPath, Policy, WantSettings, Wanted};

/// Who the workload is, what it may have and who issues that.
#[derive(Debug)]
pub(super) struct Own {
    source: Arc<dyn IdentitySource>,
    provider: Arc<dyn CredentialProvider>,
    policy: Policy,
}

/// Credentials, and the role that they are for.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) grant: Arc<Grant>,
    pub(super) credentials: Arc<Credentials>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotHeld {
    /// Nobody can be said to be the workload now.
    #[error("the workload's own token can't be used")]
    Nobody(#[source] EvidenceError),
    /// The role is not the workload's to have.
    #[error(transparent)]
    Denied(Denied),
    /// Nothing was issued for this role.
    #[error("no credentials for the role `{role}`")]
    Issue {
        /// The role.
        role: String,
        /// Why.
        #[source]
        source: Arc<IssueError>,
    },
    /// The first ones are still being asked for.
    #[error("credentials for the role `{role}` are still being asked for")]
    Pending {
        /// The role.
        role: String,
    },
}

impl Own {
    /// By the names of the sections that vouch and issue.
    pub(super) fn build(
        identity: &str,
        credentials: &str,
        want: &WantSettings,
        materials: &Materials,
    ) -> Result<Self, SettingsError> {
        let unknown = |key: &str, name: &str, section: &str| {
            SettingsError::at(key, format!("there is no [{section}.{name}] that can be used"))
        };
        let source = materials.sources.get(identity).ok_or_else(|| unknown("identity", identity, "identity"))?;
        if !source.is_own() {
            let problem = format!(
                "[identity.{identity}] vouches for callers; expected one that vouches for the workload itself, such as \
                 the kind `token_file`"
            );
            return Err(SettingsError::at("identity", problem));
        }
        let provider = materials.providers.get(credentials);
        let provider = provider.ok_or_else(|| unknown("credentials", credentials, "credentials"))?;
        if provider.shows_assertions() {
            let problem = format!("[credentials.{credentials}] shows SAML responses, and a workload has none");
            return Err(SettingsError::at("credentials", problem));
        }
        if !want.wants_role() {
            return Err(SettingsError::at(
                "role",
                "is missing; expected the ARN of a role, or `roles` to choose among",
            ));
        }
        let told = Some((credentials, provider.can_tell()));
        let policy = Policy::build(&AllowSettings::SignedIn, Some(want), told);
        let first = |problems: Vec<SettingsError>| {
            let first = problems.into_iter().next();
            first.unwrap_or_else(|| SettingsError::at("role", "can't be used"))
        };
        Ok(Self { source: Arc::clone(source), provider: Arc::clone(provider), policy: policy.map_err(first)? })
    }

    /// Credentials for the role that is wanted by name, or for the only one. What is at hand is handed out at once; the
    /// first ones are waited for no longer than SDKs wait, and are still asked for after that.
    pub(super) async fn credentials(
        &self,
        wanted: Option<&str>,
        peer: IpAddr,
        broker: &Broker,
        now: SystemTime,
    ) -> Result<Held, NotHeld> {
        let identity = self.source.own().map_err(NotHeld::Nobody)?;
        let path = NormalPath::parse("/").map_err(|error| NotHeld::Denied(Denied::Forbidden(error.to_string())))?;
        let role = match wanted {
            Some(name) if self.policy.offers_roles() => Wanted::Named(name),
            _ => Wanted::Any,
        };
        let ask = Ask { identity: Some(&identity), method: &Method::GET, path: &path, peer, role, now };
        let permit = self.policy.decide(ask).map_err(NotHeld::Denied)?;
        let grant = permit.grant().ok_or(NotHeld::Denied(Denied::Anonymous))?;
        let is_another = |name: &str| !self.policy.offers_roles() && name != grant.role.role_name();
        if wanted.is_some_and(is_another) {
            return Err(NotHeld::Denied(Denied::NotTheirRole(vec![grant.role.role_name().into()])));
        }
        let role = || grant.role.to_string();
        let credentials = match broker.fresh(grant, &identity.holder, &self.provider, now) {
            Some(credentials) => credentials,
            None => match timeout(PATIENCE, broker.credentials(grant, &identity.holder, &self.provider)).await {
                Ok(issued) => issued.map_err(|source| NotHeld::Issue { role: role(), source })?,
                Err(_) => return Err(NotHeld::Pending { role: role() }),
            },
        };
        Ok(Held { grant: Arc::clone(grant), credentials })
    }
}

impl NotHeld {
    /// The code by which an SDK's user knows it: STS's own, where STS refused.
    pub(super) fn code(&self) -> impl fmt::Display + '_ {
        match self {
            Self::Nobody(EvidenceError::Expired) => "ExpiredToken",
            Self::Nobody(EvidenceError::Unavailable(_)) => "NoToken",
            Self::Denied(Denied::RoleWanted(_)) => "RoleWanted",
            Self::Denied(_) => "AccessDenied",
            Self::Pending { .. } => "CredentialsPending",
            Self::Issue { source, .. } => match &**source {
                IssueError::Refused { code, .. } => code,
                IssueError::EvidenceExpired => "ExpiredToken",
                IssueError::Unavailable { .. } => "ServiceUnavailable",
            },
        }
    }
}

/// SDKs wait for two seconds, and ask again.
const PATIENCE: Duration = Duration::from_millis(1500);

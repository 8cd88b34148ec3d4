//! Credentials for the workload that claviger runs beside: the same sentence as a route's, with nobody logging in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::Method;
use tokio::time::timeout;

use super::{Materials, Standing};
use crate::broker::Broker;
use crate::built_in::SettingsError;
use crate::credentials::{CredentialProvider, Credentials, IssueError};
use crate::identity::{EvidenceError, Identity, IdentitySource};
use crate::policy::{AllowSettings, Ask, Denied, Explanation, Grant, NormalPath, Permit, Policy, WantSettings, Wanted};
use crate::web::chain;

/// Who the workload is, what it may have and who issues that.
#[derive(Debug)]
pub(super) struct Own {
    source: Arc<dyn IdentitySource>,
    provider: Arc<dyn CredentialProvider>,
    policy: Policy,
    /// How long a request may wait for the first credentials.
    patience: Duration,
    posts: Vec<Post>,
}

/// A role that credentials are kept at hand for.
#[derive(Debug)]
struct Post {
    /// What clients call it; none where there is but one.
    name: Option<String>,
    state: Mutex<State>,
}

/// How it stands with a role.
#[derive(Debug, Default)]
struct State {
    at_hand: bool,
    /// Why there are none.
    trouble: Option<String>,
    /// After a failure nobody is asked for a while, which grows.
    pause: Duration,
    again: Option<SystemTime>,
}

/// Credentials, and the role that they are for.
#[derive(Clone, Debug)]
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
        let names: Vec<_> = want.roles.iter().map(|role| Some(role.name.to_string())).collect();
        let names = if names.is_empty() { vec![None] } else { names };
        Ok(Self {
            source: Arc::clone(source),
            provider: Arc::clone(provider),
            policy: policy.map_err(first_of)?,
            patience: PATIENCE,
            posts: names.into_iter().map(|name| Post { name, state: Mutex::default() }).collect(),
        })
    }

    /// For clients that wait no longer than this.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
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
        let permit = self.permit(&identity, wanted, peer, now)?;
        hold(&permit, &identity, &self.provider, broker, (self.patience, now)).await
    }

    /// What STS would be asked for, for the role that is wanted by name or for the only one.
    pub(super) fn grant(&self, wanted: Option<&str>, peer: IpAddr, now: SystemTime) -> Result<Arc<Grant>, NotHeld> {
        let identity = self.source.own().map_err(NotHeld::Nobody)?;
        let permit = self.permit(&identity, wanted, peer, now)?;
        permit.grant().cloned().ok_or(NotHeld::Denied(Denied::Anonymous))
    }

    fn permit(
        &self,
        identity: &Identity,
        wanted: Option<&str>,
        peer: IpAddr,
        now: SystemTime,
    ) -> Result<Permit, NotHeld> {
        let path = NormalPath::parse("/").map_err(|error| NotHeld::Denied(Denied::Forbidden(error.to_string())))?;
        let role = match wanted {
            Some(name) if self.policy.offers_roles() => Wanted::Named(name),
            _ => Wanted::Any,
        };
        let ask = Ask { identity: Some(identity), method: &Method::GET, path: &path, peer, role, now };
        let permit = self.policy.decide(ask).map_err(NotHeld::Denied)?;
        // never another role than the one that was named
        if let (Some(wanted), Some(grant), false) = (wanted, permit.grant(), self.policy.offers_roles())
            && wanted != grant.role.role_name()
        {
            return Err(NotHeld::Denied(Denied::NotTheirRole(vec![grant.role.role_name().into()])));
        }
        Ok(permit)
    }

    /// What the policy makes of a question.
    pub(super) fn explain(&self, ask: Ask<'_>) -> Explanation {
        self.policy.explain(ask)
    }

    /// Sees to it that credentials for every role are at hand, and renewed, before anybody asks: what there is now is
    /// told to `note`. After a failure it asks more and more seldom; requests ask whenever they come.
    pub(super) async fn tend(&self, broker: &Broker, now: SystemTime, note: impl Fn(&Held)) {
        for post in &self.posts {
            if post.state().again.is_some_and(|again| now < again) {
                continue;
            }
            match self.credentials(post.name.as_deref(), Ipv4Addr::LOCALHOST.into(), broker, now).await {
                Ok(held) => {
                    *post.state() = State { at_hand: true, ..State::default() };
                    note(&held);
                }
                Err(NotHeld::Pending { .. }) => {}
                Err(error) => {
                    let mut state = post.state();
                    state.pause = (state.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                    // a file that is not there yet is waited for: looking costs nothing and nobody is asked
                    let asks_nobody = matches!(error, NotHeld::Nobody(_));
                    state.again = (!asks_nobody).then(|| now + state.pause);
                    (state.at_hand, state.trouble) = (false, Some(chain(&error)));
                }
            }
        }
    }

    /// How it stood when it was last tended.
    pub(super) fn standing(&self) -> Standing {
        let trouble = |post: &Post| {
            let state = post.state();
            let pending = || "the first credentials are still being asked for".to_owned();
            (!state.at_hand).then(|| state.trouble.clone().unwrap_or_else(pending))
        };
        let troubles: Vec<String> = self.posts.iter().filter_map(trouble).collect();
        Standing { serves: troubles.len() < self.posts.len(), troubles }
    }

    /// What the workload's identity needs and is not there now.
    pub(super) fn lacks(&self) -> Option<String> {
        self.source.trouble()
    }
}

/// A section names one problem at a time.
pub(super) fn first_of(problems: Vec<SettingsError>) -> SettingsError {
    problems.into_iter().next().unwrap_or_else(|| SettingsError::at("role", "can't be used"))
}

/// What a permit is good for. What is at hand is handed out at once; the first ones are waited for no longer than
/// `patience`, and are still asked for after that.
pub(super) async fn hold(
    permit: &Permit,
    identity: &Identity,
    provider: &Arc<dyn CredentialProvider>,
    broker: &Broker,
    (patience, now): (Duration, SystemTime),
) -> Result<Held, NotHeld> {
    let grant = permit.grant().ok_or(NotHeld::Denied(Denied::Anonymous))?;
    let role = || grant.role.to_string();
    let credentials = match broker.fresh(grant, &identity.holder, provider, now) {
        Some(credentials) => credentials,
        None => match timeout(patience, broker.credentials(grant, &identity.holder, provider)).await {
            Ok(issued) => issued.map_err(|source| NotHeld::Issue { role: role(), source })?,
            Err(_) => return Err(NotHeld::Pending { role: role() }),
        },
    };
    Ok(Held { grant: Arc::clone(grant), credentials })
}

impl Post {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotHeld {
    /// Why, in words that are the same for all of a kind.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Nobody(_) => "the workload has no token",
            Self::Denied(_) => "the role is not the workload's",
            Self::Issue { .. } => "no credentials are issued",
            Self::Pending { .. } => "credentials are still being asked for",
        }
    }

    /// What the SDK's user is told: STS's code and the role, and what STS said of it. Where a file is named the reason is
    /// for the log alone.
    pub(super) fn for_the_user(&self) -> String {
        match self {
            Self::Nobody(EvidenceError::Unavailable(_)) => self.to_string(),
            error => chain(error),
        }
    }

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
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);
/// Between two times that credentials are asked for ahead of anybody's asking, after failures.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

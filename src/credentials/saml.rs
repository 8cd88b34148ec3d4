//! `kind = "saml"`: the SAML response that a person logged in with is shown to STS.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::service::{self, Service};
use super::{Call, CredentialProvider, Credentials, IssueError, Materials, Tellable, Way};
use crate::arn::{Region, RoleArn};
use crate::aws::{Saml, StsError};
use crate::built_in::BuiltIn;
use crate::identity::{Evidence, Holder, SamlResponse};
use crate::policy::Grant;

pub(super) const BUILT_IN: BuiltIn<dyn CredentialProvider, Materials> = BuiltIn {
    kind: "saml",
    summary: "Shows the SAML response of the person's login to STS (AssumeRoleWithSAML).",
    example: include_str!("../../config/examples/credentials/saml.toml"),
    build: |settings, _materials| {
        let SamlSettings { region, endpoint, endpoint_ca } = settings.parse()?;
        let service = Service::build(&settings, &region, endpoint.as_ref(), endpoint_ca.as_deref())?;
        Ok(Arc::new(Provider { service, longest: Mutex::default() }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SamlSettings {
    region: Region,
    endpoint: Option<Url>,
    endpoint_ca: Option<PathBuf>,
}

#[derive(Debug)]
struct Provider {
    service: Service,
    /// The longest session that STS has given for a role where it has refused a longer one, and when.
    longest: Mutex<HashMap<RoleArn, (Duration, SystemTime)>>,
}

#[async_trait]
impl CredentialProvider for Provider {
    fn can_tell(&self) -> Tellable {
        Tellable {
            call: Call::AssumeRoleWithSaml,
            session_name: Way::Assertion,
            tags: Way::Assertion,
            source_identity: Way::Assertion,
            duration: Way::Parameter,
        }
    }

    fn shows_assertions(&self) -> bool {
        true
    }

    async fn issue(
        &self,
        grant: &Grant,
        holder: &Holder,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let Evidence::SamlResponse(response) = holder.evidence.evidence(Duration::ZERO).await? else {
            let source = "the login came with an ID token, and `saml` shows SAML responses".into();
            return Err(IssueError::Unavailable { retry_after: None, source });
        };
        let Some(provider) = response.provider_of(&grant.role) else {
            return Err(IssueError::Refused {
                role: grant.role.to_string(),
                code: "RoleNotInResponse".to_owned(),
                source: "the provider's response does not name the role".into(),
            });
        };
        let role = &grant.role;
        let now = self.service.now();
        let most = longest(&response, holder, duration, now);
        let known = self.known(role, now);
        let wanted = known.map_or(most, |known| most.min(known));
        let mut too_long = false;
        for duration in lengths(wanted) {
            let (document, bounds) = (&response.document, service::bounds(grant));
            let ask = Saml { role, provider, response: document, duration: Some(duration), bounds };
            let answer = self.service.sts.assume_role_with_saml(ask).await;
            if answer.as_ref().is_err_and(is_too_long) && duration > LEAST_OF_A_ROLE {
                too_long = true;
                continue;
            }
            if answer.is_ok() && too_long {
                self.learn(role, duration, now);
            }
            return self.service.answer(role, answer);
        }
        Err(IssueError::Unavailable { retry_after: None, source: "STS gives the role for no time at all".into() })
    }

    async fn go_on(
        &self,
        grant: &Grant,
        before: &Credentials,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        self.service.assume_after(grant, before, duration).await
    }
}

impl Provider {
    /// What was learnt in the last day: the role's owner may have come to allow more.
    fn known(&self, role: &RoleArn, now: SystemTime) -> Option<Duration> {
        let known = self.longest.lock().unwrap_or_else(PoisonError::into_inner).get(role).copied();
        known.filter(|(_, learnt)| now < *learnt + BELIEVED_FOR).map(|(longest, _)| longest)
    }

    /// Roles come from the config and the provider's signed word, filled with claims: only so many are remembered.
    fn learn(&self, role: &RoleArn, longest: Duration, now: SystemTime) {
        let mut known = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_ROLES {
            known.clear();
        }
        known.insert(role.clone(), (longest, now));
    }
}

/// The longest that route, response and session allow. Such keys can't be renewed, as the response is old by then.
fn longest(response: &SamlResponse, holder: &Holder, duration: Option<Duration>, now: SystemTime) -> Duration {
    let ends = response.session_ends.map_or(holder.ends, |ends| ends.min(holder.ends));
    let remaining = ends.duration_since(now).unwrap_or_default();
    let said = response.session_duration.unwrap_or(MOST);
    let longest = duration.unwrap_or(MOST).min(said).min(remaining).min(MOST);
    Duration::from_secs(longest.as_secs()).max(LEAST)
}

/// How long a role's sessions may be only STS knows: the wish, then what is less of the lengths that IAM's console offers.
fn lengths(wanted: Duration) -> impl Iterator<Item = Duration> {
    let offered = [8, 4, 2, 1].map(|hours| Duration::from_secs(hours * 3600));
    std::iter::once(wanted).chain(offered.into_iter().filter(move |length| *length < wanted))
}

/// `MaxSessionDuration` of the role is less (STS API reference, AssumeRoleWithSAML).
fn is_too_long(error: &StsError) -> bool {
    matches!(error, StsError::Refused { code, message, .. }
        if code == "ValidationError" && message.contains("MaxSessionDuration"))
}

/// The most that STS gives.
const MOST: Duration = Duration::from_secs(43_200);
/// The least that it gives, even where a session ends before.
const LEAST: Duration = Duration::from_secs(900);
/// The least that a role's `MaxSessionDuration` can be.
const LEAST_OF_A_ROLE: Duration = Duration::from_secs(3600);
const MOST_ROLES: usize = 1024;
/// How long a role's longest session is gone by: then a longer one is tried again, which costs up to four calls.
const BELIEVED_FOR: Duration = Duration::from_secs(86_400);

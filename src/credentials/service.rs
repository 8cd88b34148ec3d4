//! What all kinds share: the service they ask, and how its answers read.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use url::Url;

use super::{Credentials, IssueError};
use crate::arn::{Region, RoleArn};
use crate::aws::{AssumedRole, Bounds, Keys, Role, Sts, StsError, WebIdentity};
use crate::built_in::{Settings, SettingsError};
use crate::clock::Clock;
use crate::policy::Grant;
use crate::secret::Secret;
use crate::web::is_loopback;

/// A security token service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) sts: Sts,
    clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn build(
        settings: &Settings<'_>,
        region: &Region,
        endpoint: Option<&Url>,
        endpoint_ca: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        if let Some(endpoint) = endpoint {
            let plain = endpoint.username().is_empty() && endpoint.query().is_none() && endpoint.fragment().is_none();
            if !matches!(endpoint.scheme(), "http" | "https") || !plain {
                return Err(SettingsError::at(
                    "endpoint",
                    "expected an http or https URL without user, query and fragment",
                ));
            }
            // the token and the keys it is answered with are secrets (A25)
            if endpoint.scheme() == "http" && !endpoint.host().is_some_and(|host| is_loopback(&host)) {
                return Err(SettingsError::at(
                    "endpoint",
                    format!(
                        "`{endpoint}` is plain http: keys would cross the network in clear text; expected https, or \
                         http on loopback"
                    ),
                ));
            }
        }
        let roots = endpoint_ca.map(|path| settings.surroundings.path(path));
        let sts = Sts::new(region, endpoint, roots.as_deref()).map_err(|e| SettingsError::at("endpoint_ca", e))?;
        Ok(Self { sts, clock: Arc::clone(settings.clock) })
    }

    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Credentials for the grant by this token.
    pub(super) async fn assume(
        &self,
        grant: &Grant,
        token: &Secret,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let Grant { role, session_name, .. } = grant;
        let ask = WebIdentity { role, session_name, token, duration, bounds: bounds(grant) };
        self.answer(role, self.sts.assume_role_with_web_identity(ask).await)
    }

    /// Credentials for the grant by the keys of the one before it.
    pub(super) async fn assume_after(
        &self,
        grant: &Grant,
        before: &Credentials,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let keys = Keys {
            access_key_id: before.access_key_id.to_string(),
            secret_access_key: before.secret_access_key.clone(),
            session_token: before.session_token.to_str().ok().map(Secret::new),
        };
        let ask = asked(grant, duration.map(|duration| duration.min(CHAINED)));
        let answer = self.sts.assume_role(ask, &keys).await;
        self.answer(&grant.role, answer).map_err(|error| match error {
            // no login is too old for it: they are our own keys, and the broker has taken them for good
            IssueError::EvidenceExpired => IssueError::Unavailable {
                retry_after: None,
                source: "STS takes the keys of the role before for expired; our clock, or its, is wrong".into(),
            },
            error => error,
        })
    }

    /// What STS has answered, for the broker.
    pub(super) fn answer(
        &self,
        role: &RoleArn,
        answer: Result<AssumedRole, StsError>,
    ) -> Result<Credentials, IssueError> {
        match answer {
            Ok(assumed) => self.credentials(assumed),
            Err(StsError::TokenExpired { .. }) => Err(IssueError::EvidenceExpired),
            Err(StsError::Unavailable(source)) => Err(IssueError::Unavailable { retry_after: None, source }),
            Err(StsError::Refused { code, message, request_id }) => {
                let source = format!("{message} (request {request_id})").into();
                Err(IssueError::Refused { role: role.to_string(), code, source })
            }
        }
    }

    fn credentials(&self, assumed: AssumedRole) -> Result<Credentials, IssueError> {
        let mut session_token = HeaderValue::from_str(assumed.session_token.expose()).map_err(|_| {
            let source = "the session token can't stand in a header".into();
            IssueError::Unavailable { retry_after: None, source }
        })?;
        session_token.set_sensitive(true);
        Ok(Credentials {
            access_key_id: assumed.access_key_id.into(),
            secret_access_key: assumed.secret_access_key,
            session_token,
            expires: assumed.expires,
            issued: self.now(),
            role_session: assumed.role_session.into(),
            request_id: assumed.request_id.into(),
        })
    }
}

/// What AssumeRole is asked for this grant.
pub(super) fn asked(grant: &Grant, duration: Option<Duration>) -> Role<'_> {
    Role {
        role: &grant.role,
        session_name: &grant.session_name,
        duration,
        tags: &grant.tags,
        transitive: &grant.transitive,
        source_identity: grant.source_identity.as_ref(),
        external_id: grant.external_id.as_ref(),
        bounds: bounds(grant),
    }
}

/// The grant's session policies.
pub(super) fn bounds(grant: &Grant) -> Bounds<'_> {
    Bounds { policy: grant.bounds.policy.as_deref(), policy_arns: &grant.bounds.policy_arns }
}

/// A role assumed by a role's session lasts an hour at most, whatever the role allows (IAM guide, role chaining).
pub(super) const CHAINED: Duration = Duration::from_secs(3600);

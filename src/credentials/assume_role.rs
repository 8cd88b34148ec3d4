//! `kind = "assume_role"`: claviger's own keys ask STS for the person's role.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::base::{Base, Place};
use super::service::{self, CHAINED, Service};
use super::{Call, CredentialProvider, Credentials, IssueError, Materials, Tellable, Way};
use crate::arn::{ExternalId, Region};
use crate::aws::StsError;
use crate::built_in::BuiltIn;
use crate::identity::Holder;
use crate::policy::Grant;

pub(super) const BUILT_IN: BuiltIn<dyn CredentialProvider, Materials> = BuiltIn {
    kind: "assume_role",
    summary: "Asks STS for the person's role with claviger's own keys (AssumeRole), with tags and source identity.",
    example: include_str!("../../config/examples/credentials/assume_role.toml"),
    build: |settings, _materials| {
        let AssumeRoleSettings { region, base, external_id, endpoint, endpoint_ca } = settings.parse()?;
        let service = Service::build(&settings, &region, endpoint.as_ref(), endpoint_ca.as_deref())?;
        let base = Base::find(&base, &settings, &service)?;
        Ok(Arc::new(Provider { service, base, external_id }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssumeRoleSettings {
    region: Region,
    #[serde(default = "everywhere")]
    base: Vec<Place>,
    external_id: Option<ExternalId>,
    endpoint: Option<Url>,
    endpoint_ca: Option<PathBuf>,
}

#[derive(Debug)]
struct Provider {
    service: Service,
    base: Base,
    external_id: Option<ExternalId>,
}

#[async_trait]
impl CredentialProvider for Provider {
    fn can_tell(&self) -> Tellable {
        Tellable {
            call: Call::AssumeRole,
            session_name: Way::Parameter,
            tags: Way::Parameter,
            source_identity: Way::Parameter,
            duration: Way::Parameter,
        }
    }

    async fn issue(
        &self,
        grant: &Grant,
        _holder: &Holder,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let mut ask = service::asked(grant, duration);
        ask.external_id = self.external_id.as_ref();
        let mut again = true;
        loop {
            let keys = self.base.keys().await;
            let keys = keys.map_err(|e| IssueError::Unavailable { retry_after: None, source: e.into() })?;
            if keys.session_token.is_some() {
                ask.duration = duration.map(|duration| duration.min(CHAINED));
            }
            let answer = self.service.sts.assume_role(ask, &keys).await;
            let Some(source) = answer.as_ref().err().and_then(about_our_keys) else {
                return self.service.answer(&grant.role, answer);
            };
            self.base.forget(&keys).await;
            if !again {
                // it is not the person's login that is bad: another would bring no better keys
                return Err(IssueError::Unavailable { retry_after: None, source: source.into() });
            }
            again = false;
        }
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

/// What STS has against the keys that signed, rather than against what was asked.
fn about_our_keys(error: &StsError) -> Option<String> {
    match error {
        StsError::TokenExpired { code, message } => Some(format!("our own keys have ended: {code}: {message}")),
        StsError::Refused { code, message, .. } if OUR_KEYS.contains(&&**code) => {
            Some(format!("our own keys are not taken: {code}: {message}"))
        }
        _ => None,
    }
}

/// The AWS SDKs' own order.
fn everywhere() -> Vec<Place> {
    vec![Place::Environment, Place::WebIdentity, Place::Container, Place::Instance]
}

/// Codes that speak of who signs (STS API reference, common errors).
const OUR_KEYS: [&str; 4] =
    ["InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "IncompleteSignature"];

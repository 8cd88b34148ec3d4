//! `kind = "web_identity"`: the person's own ID token is shown to STS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::service::Service;
use super::{Call, CredentialProvider, Credentials, IssueError, Materials, Tellable, Way};
use crate::arn::Region;
use crate::built_in::BuiltIn;
use crate::identity::{Evidence, Holder};
use crate::policy::Grant;

pub(super) const BUILT_IN: BuiltIn<dyn CredentialProvider, Materials> = BuiltIn {
    kind: "web_identity",
    summary: "Shows the person's own ID token to STS (AssumeRoleWithWebIdentity).",
    example: include_str!("../../config/examples/credentials/web_identity.toml"),
    build: |settings, _materials| {
        let WebIdentitySettings { region, endpoint, endpoint_ca } = settings.parse()?;
        let service = Service::build(&settings, &region, endpoint.as_ref(), endpoint_ca.as_deref())?;
        Ok(Arc::new(Provider { service }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebIdentitySettings {
    region: Region,
    endpoint: Option<Url>,
    endpoint_ca: Option<PathBuf>,
}

#[derive(Debug)]
struct Provider {
    service: Service,
}

#[async_trait]
impl CredentialProvider for Provider {
    fn can_tell(&self) -> Tellable {
        Tellable {
            call: Call::AssumeRoleWithWebIdentity,
            session_name: Way::Parameter,
            tags: Way::No,
            source_identity: Way::No,
            duration: Way::Parameter,
        }
    }

    fn shows_tokens(&self) -> bool {
        true
    }

    async fn issue(
        &self,
        grant: &Grant,
        holder: &Holder,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let evidence = holder.evidence.evidence(FRESH).await?;
        let Evidence::OidcToken(token) = evidence else {
            let source = "the login came with a SAML response, and `web_identity` shows ID tokens".into();
            return Err(IssueError::Unavailable { retry_after: None, source });
        };
        self.service.assume(grant, &token, duration).await
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

/// Where keys end with the token (MinIO without a duration), an old token makes short-lived keys. A provider whose
/// tokens live for less gives a new one for every set of keys.
const FRESH: Duration = Duration::from_secs(300);

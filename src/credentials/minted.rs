//! `kind = "minted"`: claviger signs a short token for the signed-in person and shows that to STS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use url::Url;

use super::service::Service;
use super::{Call, CredentialProvider, Credentials, IssueError, Materials, Tellable, Way};
use crate::arn::Region;
use crate::built_in::{BuiltIn, SettingsError};
use crate::identity::Holder;
use crate::policy::Grant;

mod mint;

pub use mint::Mint;

pub(super) const BUILT_IN: BuiltIn<dyn CredentialProvider, Materials> = BuiltIn {
    kind: "minted",
    summary: "Signs a short token for the signed-in person, with tags and source identity, and shows it to STS.",
    example: include_str!("../../config/examples/credentials/minted.toml"),
    build: |settings, materials| {
        let MintedSettings { region, audience, endpoint, endpoint_ca } = settings.parse()?;
        let Some(mint) = &materials.mint else {
            let problem = "`minted` publishes its keys under a listener's `public_url`, and no listener has one";
            return Err(SettingsError::at("kind", problem));
        };
        if audience.is_empty() {
            return Err(SettingsError::at("audience", "expected a text, such as sts.amazonaws.com"));
        }
        let service = Service::build(&settings, &region, endpoint.as_ref(), endpoint_ca.as_deref())?;
        Ok(Arc::new(Provider { service, audience, mint: Arc::clone(mint) }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MintedSettings {
    region: Region,
    #[serde(default = "sts")]
    audience: String,
    endpoint: Option<Url>,
    endpoint_ca: Option<PathBuf>,
}

#[derive(Debug)]
struct Provider {
    service: Service,
    audience: String,
    mint: Arc<Mint>,
}

#[async_trait]
impl CredentialProvider for Provider {
    fn can_tell(&self) -> Tellable {
        Tellable {
            call: Call::AssumeRoleWithWebIdentity,
            session_name: Way::Parameter,
            tags: Way::MintedClaim,
            source_identity: Way::MintedClaim,
            duration: Way::Parameter,
        }
    }

    async fn issue(
        &self,
        grant: &Grant,
        _holder: &Holder,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let token = self.mint.token(grant, &self.audience, self.service.now());
        let token = token.map_err(|e| IssueError::Unavailable { retry_after: None, source: Box::new(e) })?;
        self.service.assume(grant, &token, duration).await.map_err(|error| match error {
            // the token is a moment old: a new login would bring no better one, and would be asked for again and again
            IssueError::EvidenceExpired => IssueError::Unavailable {
                retry_after: None,
                source: "STS takes a token made just now for expired; our clock, or its, is wrong".into(),
            },
            error => error,
        })
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

fn sts() -> String {
    "sts.amazonaws.com".to_owned()
}

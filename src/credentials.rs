//! Services that issue temporary AWS credentials for a [`Grant`].
//!
//! The kinds are listed in [`BUILT_INS`]; caching, renewal and single-flight are the broker's.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderValue;

use crate::built_in::BuiltIn;
use crate::identity::{EvidenceError, Holder};
use crate::policy::Grant;
use crate::secret::Secret;
use crate::web::{BoxError, chain};

mod assume_role;
mod base;
mod minted;
mod saml;
mod service;
mod web_identity;

pub use crate::policy::{Call, Tellable, Way};
pub use minted::Mint;

/// Every kind of `[credentials.<name>]`.
pub const BUILT_INS: &[BuiltIn<dyn CredentialProvider, Materials>] =
    &[minted::BUILT_IN, web_identity::BUILT_IN, saml::BUILT_IN, assume_role::BUILT_IN];

/// What a provider may use.
#[derive(Clone, Debug)]
pub struct Materials {
    /// Signs tokens for `minted`; absent where no listener has a `public_url` to publish its keys under.
    pub mint: Option<Arc<Mint>>,
}

/// Temporary AWS credentials, and what is known of them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: Arc<str>,
    /// The secret half.
    pub secret_access_key: Secret,
    /// The session token as it is sent, marked sensitive.
    pub session_token: HeaderValue,
    /// When they end, by AWS's word.
    pub expires: SystemTime,
    /// When we got them.
    pub issued: SystemTime,
    /// The role session they act as (`arn:aws:sts::…:assumed-role/…`); empty where the service does not say.
    pub role_session: Arc<str>,
    /// The service's own id for the call, which CloudTrail shows.
    pub request_id: Arc<str>,
}

impl Credentials {
    /// Whether so little of their life is left that whoever can have others by a step of their own takes it now.
    pub fn end_soon(&self, now: SystemTime) -> bool {
        let life = self.expires.duration_since(self.issued).unwrap_or_default();
        now + SOON.min(life / 4) >= self.expires
    }
}

/// A service that issues credentials.
#[async_trait]
pub trait CredentialProvider: Debug + Send + Sync {
    /// What this kind can tell STS: `check` refuses a route that asks for more, `explain` says where each value goes.
    fn can_tell(&self) -> Tellable;

    /// Whether it shows the caller's own token to the service, so that callers must have one.
    fn shows_tokens(&self) -> bool {
        false
    }

    /// Whether it shows the SAML response of the caller's login to the service, so that callers must have one.
    fn shows_assertions(&self) -> bool {
        false
    }

    /// Asks the service for credentials for `grant`, proven by `holder`'s evidence, that end after `duration`
    /// (absent: the service's own default, which for some ends with the evidence).
    async fn issue(
        &self,
        grant: &Grant,
        holder: &Holder,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError>;

    /// Goes on along a chain of roles: asks the same service for `grant`, which comes [after](Grant::after) another, by
    /// the keys of that (AssumeRole).
    async fn go_on(
        &self,
        grant: &Grant,
        before: &Credentials,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError>;
}

/// Why no credentials were issued, by what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The service said no: asking again with the same grant won't help.
    #[error("the security token service refused the role `{role}`: {code}")]
    Refused {
        /// The role that was asked for.
        role: String,
        /// The service's error code, such as `AccessDenied`.
        code: String,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// The proof of identity is too old: log in again.
    #[error("the login's proof of identity has expired")]
    EvidenceExpired,
    /// The service, or the identity provider before it, does not answer now.
    #[error("credentials can't be issued now")]
    Unavailable {
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
        /// What happened.
        #[source]
        source: BoxError,
    },
}

impl IssueError {
    /// The same, for who waited for it on the way to something else.
    pub(crate) fn on_the_way(&self) -> Self {
        match self {
            Self::Refused { role, code, source } => {
                Self::Refused { role: role.clone(), code: code.clone(), source: chain(&**source).into() }
            }
            Self::EvidenceExpired => Self::EvidenceExpired,
            Self::Unavailable { retry_after, source } => {
                Self::Unavailable { retry_after: *retry_after, source: chain(&**source).into() }
            }
        }
    }
}

impl From<EvidenceError> for IssueError {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Expired => Self::EvidenceExpired,
            error @ EvidenceError::Unavailable(_) => Self::Unavailable { retry_after: None, source: Box::new(error) },
        }
    }
}

/// Longer than a passive login takes, and shorter than STS takes a response: what is brought then serves for new keys.
const SOON: Duration = Duration::from_secs(240);

#[cfg(test)]
mod tests;

//! Who may have what: an identity and a route's wishes become a [`Permit`], or [`Denied`] with the reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;

use crate::arn::{RoleArn, SessionName, SourceIdentity, TagKey, TagValue};
use crate::identity::{Identity, Subject};

/// Leave to pass. Only [`Policy::decide`] makes one; only a permit is dressed and sent.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Option<Identity>,
    grant: Option<Arc<Grant>>,
    rule: Arc<str>,
}

impl Permit {
    /// Who passes; absent where the rule lets anyone pass.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The role that goes with it, where the route wants one.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// The rule that gave leave, for logs and `explain`.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// Leave for one subject to hold one role, with everything STS will be told; also the broker's cache key.
///
/// Every field takes part in `Eq` and `Hash`, so a new one joins the key by being added (A27).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Grant {
    /// The `[credentials.<name>]` that issues.
    pub provider: Arc<str>,
    /// For whom.
    pub subject: Arc<Subject>,
    /// The role.
    pub role: RoleArn,
    /// The role session's name.
    pub session_name: SessionName,
    /// What the route asks for; absent: the service's default. The session's remaining life is no part of the key:
    /// the broker clamps when it issues.
    pub duration: Option<Duration>,
    /// Session tags, sorted by key.
    pub tags: Vec<(TagKey, TagValue)>,
    /// Which of them are passed on along role chains, sorted.
    pub transitive: Vec<TagKey>,
    /// The source identity.
    pub source_identity: Option<SourceIdentity>,
}

/// What is asked of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks; absent: nobody is logged in.
    pub identity: Option<&'a Identity>,
    /// The request's method.
    pub method: &'a Method,
    /// The normalised path: the same bytes that go upstream (A5).
    pub path: &'a str,
    /// The client's address; behind a believed load balancer the one it vouches for (A6).
    pub peer: IpAddr,
    /// Now.
    pub now: SystemTime,
}

/// Why there is no leave.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// Nobody is logged in, and no rule lets anyone pass: log in.
    #[error("nobody is logged in")]
    Anonymous,
    /// Logged in, but no rule allows this. The reason says why each rule did not, for the log and `explain`.
    #[error("no rule allows it: {0}")]
    Forbidden(String),
    /// A rule allows it, but the claims don't make a valid role, session name or tag (A20).
    #[error("the claims don't fill what the route asks STS for: {0}")]
    Unfillable(String),
}

//! Who may have what: an identity and a route's wishes become a [`Permit`], or [`Denied`] with the reason.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, header};
use serde::Serialize;

use crate::arn::{ExternalId, RoleArn, SessionName, SourceIdentity, TagKey, TagValue};
use crate::built_in::SettingsError;
use crate::identity::{Derived, Identity, Subject};
use offer::Offer;
use rule::Rule;
use want::Want;

mod asserted;
mod chain;
mod explain;
mod hours;
mod offer;
mod path;
mod path_pattern;
mod rule;
mod session_bounds;
mod session_name;
mod settings;
mod template;
mod want;

pub use explain::{Asked, Explanation, RoleVerdict, Tag, Told, Verdict};
pub use hours::Weekday;
pub use offer::{Offered, Wanted};
pub use path::{NormalPath, Oddities, Oddity, PathError};
pub use session_bounds::SessionBounds;
pub use settings::{AgreedSettings, AllowSettings, HopSettings, RoleSettings, RuleSettings, Values, WantSettings, Who};

/// A route's rules and wishes, read.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    want: Option<Want>,
    /// Roles to choose among, in place of `want`; mostly none.
    roles: Vec<Offer>,
    /// Filling a grant's templates and checking what came of it takes longer than all the rest of a decision.
    grants: Derived<Arc<Grant>>,
}

/// Leave to pass. Only [`Policy::decide`] and, for what is nobody's, [`Policy::preflight`] make one; only a permit is
/// dressed and sent.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Option<Identity>,
    grant: Option<Arc<Grant>>,
    rule: Arc<str>,
    is_preflight: bool,
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

    /// Whether this is leave for a CORS preflight: nobody's request, on which nothing is put.
    pub fn is_preflight(&self) -> bool {
        self.is_preflight
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
    /// What the role's owner has agreed on with whoever assumes it by other keys.
    pub external_id: Option<ExternalId>,
    /// What the keys may at most, beside what the role may.
    pub bounds: SessionBounds,
    /// Whose keys ask for these, in a chain of roles; absent: the provider does, in its own way.
    pub after: Option<Arc<Self>>,
}

/// What is asked of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks; absent: nobody is logged in.
    pub identity: Option<&'a Identity>,
    /// The request's method.
    pub method: &'a Method,
    /// The path: the same bytes that go upstream (A5).
    pub path: &'a NormalPath<'a>,
    /// The client's address; behind a believed load balancer the one it vouches for (A6).
    pub peer: IpAddr,
    /// Which role they want, where the route offers several.
    pub role: Wanted<'a>,
    /// Now.
    pub now: SystemTime,
}

/// Why there is no leave.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// Nobody is logged in, and a rule may let those pass who are: log in.
    #[error("nobody is logged in")]
    Anonymous,
    /// No rule allows this, and no login would help. The reason says why each rule did not, for the log and `explain`.
    #[error("no rule allows it: {0}")]
    Forbidden(String),
    /// A rule allows it, but the claims don't make a valid role, session name or tag (A20).
    #[error("the claims don't fill what the route asks STS for: {0}")]
    Unfillable(String),
    /// Several roles are theirs, and they must say which they want: these.
    #[error("several roles are theirs, and none was chosen: {}", .0.join(", "))]
    RoleWanted(Vec<Arc<str>>),
    /// The role they name is not theirs, whether or not there is one; these are.
    #[error("the role that was named is not theirs; theirs are: {}", .0.join(", "))]
    NotTheirRole(Vec<Arc<str>>),
}

/// How a credential provider can tell STS each value of a [`Grant`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tellable {
    /// The call.
    pub call: Call,
    /// The role session's name.
    pub session_name: Way,
    /// Session tags.
    pub tags: Way,
    /// The source identity.
    pub source_identity: Way,
    /// The duration.
    pub duration: Way,
}

/// A call by which STS is asked for a role (STS API reference).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Call {
    /// Signed with claviger's own keys.
    AssumeRole,
    /// With the identity provider's SAML response, which says for itself which roles it is good for.
    #[serde(rename = "AssumeRoleWithSAML")]
    AssumeRoleWithSaml,
    /// With an OpenID Connect token.
    AssumeRoleWithWebIdentity,
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithSaml => "AssumeRoleWithSAML",
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
        })
    }
}

/// A way to tell STS something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As a parameter of the call.
    Parameter,
    /// As a claim in a token that claviger signs.
    MintedClaim,
    /// By the identity provider, as an attribute in its SAML response: claviger can't write there.
    Assertion,
    /// Not at all: only the person's own token could say it, and claviger can't write there.
    No,
}

impl Policy {
    /// A route's policy. `provider` is the `[credentials.<name>]` the route uses, and what it can tell STS.
    ///
    /// # Errors
    /// Every problem, with its key below the route's section: `allow[1].paths`, `tags.department`.
    pub fn build(
        allow: &AllowSettings,
        want: Option<&WantSettings>,
        provider: Option<(&str, Tellable)>,
    ) -> Result<Self, Vec<SettingsError>> {
        let rules = Rule::read(allow);
        let several = want.filter(|want| !want.roles.is_empty());
        let roles = several.map_or(Ok(Vec::new()), |want| Offer::read(want, provider));
        let want = want.filter(|_| several.is_none()).map_or(Ok(None), |want| Want::read(want, provider));
        match (rules, want, roles) {
            (Ok(rules), Ok(want), Ok(roles)) => {
                let is_signed = want.is_some() || !roles.is_empty();
                if is_signed && rules.iter().any(Rule::is_for_anyone) {
                    let problem = "`anyone` has no role to sign with; give public paths a route without `role`";
                    return Err(vec![SettingsError::at("allow", problem)]);
                }
                Ok(Self { rules, want, roles, grants: Derived::default() })
            }
            (rules, want, roles) => {
                Err(rules.err().into_iter().chain(want.err()).chain(roles.err()).flatten().collect())
            }
        }
    }

    /// Leave to pass, by the first rule that gives it, and the role that goes with it.
    ///
    /// # Errors
    /// [`Denied`], by what the caller can do about it.
    pub fn decide(&self, ask: Ask<'_>) -> Result<Permit, Denied> {
        let ask = ask.of_the_living();
        let rule = self.rule(&ask)?;
        let grant = match (&self.want, ask.identity) {
            (Some(want), Some(identity)) => {
                Some(self.grants.of(identity, |identity| want.grant(identity).map(Arc::new))?)
            }
            (Some(_), None) => return Err(Denied::Anonymous),
            (None, _) if self.roles.is_empty() => None,
            (None, Some(identity)) => Some(Offer::grant(&self.roles, identity, &ask)?),
            (None, None) => return Err(Denied::Anonymous),
        };
        Ok(Permit { identity: ask.identity.cloned(), grant, rule: Arc::clone(&rule.name), is_preflight: false })
    }

    /// Leave for a CORS preflight, where the request is one. Browsers send them without cookies, so no rule could
    /// ever hold; they ask and change nothing (Fetch §3.3.5). Only routes that say so ask for this.
    pub fn preflight(&self, ask: Ask<'_>, headers: &HeaderMap) -> Option<Permit> {
        let is_preflight = *ask.method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        is_preflight.then(|| Permit { identity: None, grant: None, rule: "preflight".into(), is_preflight })
    }

    /// Whether nobody ever needs to log in here.
    pub fn is_public(&self) -> bool {
        self.rules.iter().all(Rule::is_for_anyone)
    }

    /// Whether a permit of this policy comes with a grant.
    pub fn wants_role(&self) -> bool {
        self.want.is_some() || self.offers_roles()
    }

    /// Whether there are roles to choose among.
    pub fn offers_roles(&self) -> bool {
        !self.roles.is_empty()
    }

    /// The roles that whoever asks may choose among; none where there is nothing to choose.
    ///
    /// # Errors
    /// [`Denied`], where they would not get as far as a role.
    pub fn offers(&self, ask: Ask<'_>) -> Result<Vec<Offered>, Denied> {
        let ask = ask.of_the_living();
        self.rule(&ask)?;
        let identity = ask.identity.ok_or(Denied::Anonymous)?;
        let theirs = Offer::theirs(&self.roles, identity, &ask);
        Ok(theirs.iter().map(|(offer, grant)| offer.offered(grant)).collect())
    }

    /// The first rule that lets pass.
    fn rule(&self, ask: &Ask<'_>) -> Result<&Rule, Denied> {
        self.rules.iter().find(|rule| rule.first_unmet(ask).is_none()).ok_or_else(|| match ask.identity {
            // who logs in where every rule is for anyone is asked for what the request lacks, not for who they are
            None if !self.is_public() => Denied::Anonymous,
            _ => Denied::Forbidden(self.objections(ask)),
        })
    }

    /// What each rule lacks.
    fn objections(&self, ask: &Ask<'_>) -> String {
        let unmet = |rule: &Rule| rule.first_unmet(ask).map(|condition| format!("`{}` needs {condition}", rule.name));
        self.rules.iter().filter_map(unmet).collect::<Vec<_>>().join("; ")
    }
}

impl Ask<'_> {
    /// A login that has ended is none, whoever vouches for it (A34).
    fn of_the_living(self) -> Self {
        Self { identity: self.identity.filter(|identity| identity.ends_at > self.now), ..self }
    }
}

/// `a`, `a or b`, `a, b or c`.
struct Named<'a, T>(&'a [T]);

impl<T: Display> Display for Named<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        for (i, one) in others.iter().enumerate() {
            write!(f, "{one}{}", if i + 1 == others.len() { " or " } else { ", " })?;
        }
        write!(f, "{last}")
    }
}

#[cfg(test)]
mod tests;

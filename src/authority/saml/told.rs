//! AWS's attributes in an assertion: what a provider may say of a session (IAM User Guide, "Configuring SAML assertions
//! for the authentication response"). Names have a case, and only the exact one counts.

use std::time::{Duration, SystemTime};

use crate::arn::{SessionName, SourceIdentity};
use crate::authority::refusal::Refusal;
use crate::authority::tags::Tags;
use crate::saml::Assertion;

/// What an assertion says of the session to be.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) session_name: SessionName,
    pub(super) tags: Tags,
    pub(super) source_identity: Option<SourceIdentity>,
    /// Pairs of a role and a provider, in either order.
    pairs: Vec<(String, String)>,
    duration: Option<Duration>,
}

impl Told {
    pub(super) fn read(assertion: &Assertion) -> Result<Self, Refusal> {
        let name = one(assertion, "RoleSessionName")?;
        let name = name.ok_or_else(|| invalid("RoleSessionName is required in AuthnResponse"))?;
        let session_name = name
            .parse()
            .map_err(|_| invalid("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}"))?;
        let source_identity = one(assertion, "SourceIdentity")?.map(|text| {
            // STS keeps the prefix to itself
            let own = text.to_ascii_lowercase().starts_with("aws:");
            let rule = "Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with \"aws:\"";
            text.parse().ok().filter(|_| !own).ok_or_else(|| invalid(rule))
        });
        let duration = one(assertion, "SessionDuration")?.map(|text| match text.parse() {
            Ok(seconds @ 900..=43200) => Ok(Duration::from_secs(seconds)),
            _ => Err(Refusal::idp_rejected_claim("SessionDuration must be a number of seconds from 900 to 43200")),
        });
        let tags = assertion.attributes.iter().filter_map(|attribute| {
            let key = attribute.name.strip_prefix(PREFIX)?.strip_prefix("PrincipalTag:")?;
            Some((key, attribute.values.as_slice()))
        });
        let transitive = assertion.values(&format!("{PREFIX}TransitiveTagKeys"));
        // a role's name may have commas: which of them parts the two is seen when they are compared
        let pairs = assertion.values(&format!("{PREFIX}Role")).iter().flat_map(|pair| {
            let commas = pair.match_indices(',').map(|(at, _)| pair.split_at(at));
            commas.map(|(one, rest)| (one.trim().to_owned(), rest.trim_start_matches(',').trim().to_owned()))
        });
        Ok(Self {
            session_name,
            tags: Tags::from_attributes(tags, transitive)?,
            source_identity: source_identity.transpose()?,
            pairs: pairs.collect(),
            duration: duration.transpose()?,
        })
    }

    /// Whether the assertion offers this role through this provider.
    pub(super) fn offers(&self, role: &str, provider: &str) -> bool {
        self.pairs.iter().any(|(one, other)| (one == role && other == provider) || (one == provider && other == role))
    }

    /// The longest that the session may last: SessionDuration, or until the login ends (SessionNotOnOrAfter).
    pub(super) fn lasts_at_most(&self, ends: Option<SystemTime>, now: SystemTime) -> Result<Option<Duration>, Refusal> {
        let left = ends.map(|ends| {
            let left = ends.duration_since(now).ok().filter(|left| !left.is_zero());
            left.ok_or_else(|| Refusal::expired_token_exception("The login has ended: SessionNotOnOrAfter"))
        });
        Ok(left.transpose()?.into_iter().chain(self.duration).min())
    }
}

/// The one value of an attribute of AWS's; `None` where it isn't there.
fn one<'a>(assertion: &'a Assertion, name: &str) -> Result<Option<&'a str>, Refusal> {
    match assertion.values(&format!("{PREFIX}{name}")) {
        [] => Ok(None),
        [value] => Ok(Some(value.trim())),
        _ => Err(invalid(format!("{name} must have one value in AuthnResponse"))),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::invalid_identity_token(message)
}

const PREFIX: &str = "https://aws.amazon.com/SAML/Attributes/";

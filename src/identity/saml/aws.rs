//! What of a Response is kept to be shown to AWS (AssumeRoleWithSAML).

use std::time::Duration;

use crate::identity::{RolePair, SamlResponse};
use crate::saml::{Assertion, SKEW};
use crate::secret::Secret;

/// The Response as it was posted, with what its assertion says of roles and times. Values that name no role are no
/// reason to turn anybody away: they may be of another product's.
pub(super) fn kept(posted: &str, assertion: &Assertion) -> SamlResponse {
    let seconds = assertion.values(DURATION).first().and_then(|seconds| seconds.trim().parse().ok());
    // our own leniency is not AWS's
    let confirmed_until = assertion.once.until - SKEW;
    SamlResponse {
        document: Secret::new(posted),
        roles: assertion.values(ROLE).iter().filter_map(|value| RolePair::read(value)).collect(),
        taken_until: confirmed_until.min(assertion.issued_at + TAKEN_FOR),
        session_duration: seconds.map(Duration::from_secs),
        session_ends: assertion.session_ends_at,
    }
}

/// AWS takes an assertion for so long after it was issued.
const TAKEN_FOR: Duration = Duration::from_secs(300);
const ROLE: &str = "https://aws.amazon.com/SAML/Attributes/Role";
const DURATION: &str = "https://aws.amazon.com/SAML/Attributes/SessionDuration";

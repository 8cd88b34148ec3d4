//! What a SAML response that was made for AWS says of roles, as claims of whoever logged in with it. STS reads the
//! response for itself, so that a grant can only repeat it (IAM guide, "Configure SAML assertions").

use std::sync::Arc;
use std::time::Duration;

use super::{Denied, Grant, SessionBounds};
use crate::arn::{RoleArn, TagKey, TagValue};
use crate::identity::{Claims, Identity, RolePair};

/// The grant of a role, where the response names it.
pub(super) fn grant(
    provider: &Arc<str>,
    role: RoleArn,
    duration: Option<Duration>,
    identity: &Identity,
) -> Result<Grant, Denied> {
    let claims = &identity.claims;
    let mut pairs = claims.texts(ROLE).filter_map(RolePair::read);
    if !pairs.any(|pair| pair.role == role) {
        return Err(Denied::Unfillable(format!("the attribute {ROLE} does not name the role `{role}`")));
    }
    let session_name = claims.text(SESSION_NAME).and_then(|name| name.parse().ok());
    let session_name = session_name
        .ok_or_else(|| Denied::Unfillable(format!("the attribute {SESSION_NAME} has no session's name")))?;
    let mut transitive: Vec<_> = claims.texts(TRANSITIVE).filter_map(|key| key.parse().ok()).collect();
    transitive.sort();
    Ok(Grant {
        provider: Arc::clone(provider),
        subject: Arc::clone(&identity.subject),
        role,
        session_name,
        duration,
        tags: tags(claims),
        transitive,
        source_identity: claims.text(SOURCE_IDENTITY).and_then(|name| name.parse().ok()),
        external_id: None,
        bounds: SessionBounds::default(),
        after: None,
    })
}

fn tags(claims: &Claims) -> Vec<(TagKey, TagValue)> {
    let named = claims.as_map().keys().filter_map(|name| Some((name, name.strip_prefix(TAG)?.parse().ok()?)));
    let mut tags: Vec<_> = named.filter_map(|(name, key)| Some((key, claims.text(name)?.parse().ok()?))).collect();
    tags.sort();
    tags
}

const ROLE: &str = "https://aws.amazon.com/SAML/Attributes/Role";
const SESSION_NAME: &str = "https://aws.amazon.com/SAML/Attributes/RoleSessionName";
const TAG: &str = "https://aws.amazon.com/SAML/Attributes/PrincipalTag:";
const TRANSITIVE: &str = "https://aws.amazon.com/SAML/Attributes/TransitiveTagKeys";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/SAML/Attributes/SourceIdentity";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::identity;
    use super::*;

    const READER: &str = "arn:aws:iam::123456789012:role/reader";
    const CORP: &str = "arn:aws:iam::123456789012:saml-provider/corp";

    #[test]
    fn a_role_must_be_among_the_responses() {
        let ours = |claims| grant(&"aws".into(), READER.parse().unwrap(), None, &identity(claims));
        let one = ours(json!({
            ROLE: [format!("{CORP},arn:aws:iam::123456789012:role/admin"), format!("{READER},{CORP}")],
            SESSION_NAME: "alice@corp", SOURCE_IDENTITY: "alice", TRANSITIVE: ["Team"],
            "https://aws.amazon.com/SAML/Attributes/PrincipalTag:Team": "blue",
        }));
        let grant = one.unwrap();
        assert_eq!((grant.session_name.as_str(), grant.source_identity.unwrap().as_str()), ("alice@corp", "alice"));
        assert_eq!((grant.tags[0].0.as_str(), grant.tags[0].1.as_str()), ("Team", "blue"));
        assert_eq!(grant.transitive.len(), 1);
        for (claims, missing) in [
            (json!({ SESSION_NAME: "alice@corp" }), ROLE),
            (json!({ ROLE: READER, SESSION_NAME: "alice@corp" }), ROLE),
            (json!({ ROLE: format!("{READER}s,{CORP}"), SESSION_NAME: "alice@corp" }), ROLE),
            (json!({ ROLE: format!("{READER},{CORP}") }), SESSION_NAME),
            (json!({ ROLE: format!("{READER},{CORP}"), SESSION_NAME: "a b" }), SESSION_NAME),
        ] {
            let Err(Denied::Unfillable(why)) = ours(claims) else { panic!("{missing}") };
            assert!(why.contains(missing), "{why}");
        }
    }
}

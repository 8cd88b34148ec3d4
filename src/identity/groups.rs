//! A subject's groups, where policies look for them.

use serde_json::{Map, Value};

use super::Claims;

/// The claims with the groups under `groups`, wherever the source has them. Where the configured claim is absent there
/// are no groups, whatever another claim of that name says.
pub(super) fn with_groups(claims: Map<String, Value>, groups_claim: &str) -> Claims {
    let claims = Claims::new(claims);
    if groups_claim == GROUPS {
        return claims;
    }
    let groups: Vec<Value> = claims.texts(groups_claim).map(Value::from).collect();
    let mut map = claims.as_map().clone();
    map.insert(GROUPS.into(), Value::Array(groups));
    Claims::new(map)
}

/// The claim that lists them where nothing else is configured.
pub(super) fn default() -> String {
    GROUPS.into()
}

const GROUPS: &str = "groups";

//! Which of a person's claims an upstream is told.

use serde_json::{Map, Value, json};

use crate::built_in::SettingsError;
use crate::identity::{Claims, Email};

/// Names of claims, none of which is the token's own.
#[derive(Debug)]
pub(super) struct ToldClaims(Vec<String>);

impl ToldClaims {
    /// The claims that `claims = […]` names; absent: the usual ones.
    pub(super) fn read(named: Option<Vec<String>>) -> Result<Self, SettingsError> {
        let named = named.unwrap_or_else(|| USUAL.map(str::to_owned).into());
        match named.iter().find(|name| name.is_empty() || OURS.contains(&name.as_str())) {
            Some(name) if name.is_empty() => Err(SettingsError::at("claims", "names a claim without a name")),
            Some(name) => Err(SettingsError::at("claims", format!("`{name}` is set by claviger itself"))),
            None => Ok(Self(named)),
        }
    }

    /// What of them is said of this person. An address that nobody has verified, which anybody can choose, is not told
    /// (A21).
    pub(super) fn of(&self, claims: &Claims) -> Map<String, Value> {
        let mut told = Map::new();
        for name in &self.0 {
            if name == "email" {
                if let Some(email) = Email::verified(claims) {
                    told.insert("email".into(), json!(email.whole));
                    told.insert("email_verified".into(), json!(true));
                }
            } else if let Some(value) = claims.value(name) {
                told.insert(name.clone(), value.clone());
            }
        }
        told
    }
}

const USUAL: [&str; 4] = ["name", "email", "groups", "preferred_username"];
/// RFC 7519 §4.1, and what goes with `email` alone.
const OURS: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "email_verified"];

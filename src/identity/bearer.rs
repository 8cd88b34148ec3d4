//! `kind = "bearer"`: services show a JWT of their issuer in `Authorization: Bearer` (RFC 6750, RFC 9068).
//!
//! A token in the query or a body is never read: it would be in logs and histories (RFC 6750 §5.3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::groups::{self, with_groups};
use super::{Claims, IdentitySource, Materials, Recognition, issuer};
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::{Clock, duration_text};
use crate::jose::{Form, RemoteIssuer};
use crate::web::Caller;

mod counts;
mod judge;
mod proof;
mod shown;

pub(super) use judge::{Judge, Terms};

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "bearer",
    summary: "Accepts the JWTs that services show in `Authorization: Bearer`.",
    example: include_str!("../../config/examples/identity/bearer.toml"),
    build: |settings, materials| Ok(Arc::new(Bearer::build(&settings, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BearerSettings {
    issuer: String,
    jwks_uri: Option<Url>,
    audiences: Vec<String>,
    #[serde(default = "algorithms")]
    algorithms: Vec<String>,
    types: Option<Vec<String>>,
    #[serde(default = "sub")]
    subject_claim: String,
    #[serde(default = "groups::default")]
    groups_claim: String,
    #[serde(default)]
    claims: BTreeMap<String, Wanted>,
    #[serde(default = "leeway", deserialize_with = "duration_text")]
    leeway: Duration,
}

/// What a claim must be: this text, or one of these.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
enum Wanted {
    One(String),
    OneOf(Vec<String>),
}

#[derive(Debug)]
struct Bearer {
    judge: Judge,
    subject_claim: String,
    groups_claim: String,
    claims: BTreeMap<String, Wanted>,
}

impl Bearer {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        let settings: BearerSettings = section.parse()?;
        settings.check()?;
        let issuer = settings.issuer(materials, section.clock)?;
        let form = Form::new(&settings.algorithms, settings.types).map_err(|name| {
            let expected = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
            SettingsError::at("algorithms", format!("`{name}` is not one that is taken; expected some of: {expected}"))
        })?;
        let terms = Terms { issuer, audiences: settings.audiences, form, leeway: settings.leeway };
        Ok(Self {
            judge: Judge::new(section, materials, terms),
            subject_claim: settings.subject_claim,
            groups_claim: settings.groups_claim,
            claims: settings.claims,
        })
    }
}

#[async_trait]
impl IdentitySource for Bearer {
    fn glance(&self, caller: &Caller<'_>) -> Option<Recognition> {
        self.judge.glance(&caller.head.headers)
    }

    async fn recognize(&self, caller: &Caller<'_>) -> Recognition {
        self.judge.recognize(&caller.head.headers, self).await
    }

    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let claims = with_groups(claims, &self.groups_claim);
        for (name, wanted) in &self.claims {
            if !claims.texts(name).any(|found| wanted.is(found)) {
                return Err(format!("the claim `{name}` is not what the source wants"));
            }
        }
        let id = claims.value(&self.subject_claim).and_then(Value::as_str).filter(|id| issuer::is_subject(id));
        let id =
            id.ok_or_else(|| format!("the claim `{}` is not 1 to 255 printable ASCII characters", self.subject_claim))?;
        Ok((id.into(), claims))
    }

    fn trouble(&self) -> Option<String> {
        self.judge.trouble()
    }
}

impl BearerSettings {
    fn check(&self) -> Result<(), SettingsError> {
        // RFC 9068 §4: without an audience a token for any other service of the issuer would do here
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(SettingsError::at("audiences", "must be one or more texts, of which one is the token's `aud`"));
        }
        if self.algorithms.is_empty() {
            return Err(SettingsError::at("algorithms", "is empty, with which no token could be verified"));
        }
        if self.types.as_ref().is_some_and(Vec::is_empty) {
            return Err(SettingsError::at(
                "types",
                "is empty; expected some, such as \"at+jwt\", or no `types` at all",
            ));
        }
        if self.leeway > LONGEST_LEEWAY {
            return Err(SettingsError::at("leeway", "is more than 5m, by which no clock should be wrong"));
        }
        Ok(())
    }

    fn issuer(&self, materials: &Materials, clock: &Arc<dyn Clock>) -> Result<Arc<RemoteIssuer>, SettingsError> {
        let (fetch, clock) = (Arc::clone(&materials.fetch), Arc::clone(clock));
        if self.issuer.is_empty() {
            return Err(SettingsError::at("issuer", "is empty; expected what the tokens have as `iss`"));
        }
        if let Some(url) = &self.jwks_uri {
            issuer::check("jwks_uri", url)?;
            return Ok(RemoteIssuer::with_keys_at(url.clone(), self.issuer.clone(), fetch as _, clock));
        }
        let url = self.issuer.parse::<Url>().map_err(|_| {
            let problem =
                format!("`{}` is no URL, so its keys can't be found there; expected a `jwks_uri`", self.issuer);
            SettingsError::at("issuer", problem)
        })?;
        issuer::check("issuer", &url)?;
        Ok(RemoteIssuer::new(url, fetch, clock))
    }
}

impl Wanted {
    fn is(&self, found: &str) -> bool {
        match self {
            Self::One(wanted) => wanted == found,
            Self::OneOf(wanted) => wanted.iter().any(|wanted| wanted == found),
        }
    }
}

fn algorithms() -> Vec<String> {
    ["RS256", "PS256", "ES256", "EdDSA"].map(str::to_owned).into()
}

fn sub() -> String {
    "sub".into()
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;

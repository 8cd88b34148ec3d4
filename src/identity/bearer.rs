//! `kind = "bearer"`: services show a JWT of their issuer in `Authorization: Bearer` (RFC 6750, RFC 9068).
//!
//! What is whose: a token whose claimed `iss` is not ours belongs to the app behind, or to nobody, and is not looked
//! at. Once `iss` is ours, any fault rejects the request, whatever else it brings along. A token in the query or a body
//! is never read: it would be in logs and histories (RFC 6750 §5.3).
//!
//! A token that was verified a moment ago is known by its hash: [`Seen`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::groups::{self, with_groups};
use super::seen::{Hash, Seen};
use super::{
    Claims, Holder, HolderId, Identity, IdentitySource, Materials, Presented, Recognition, SourceName, Subject, issuer,
};
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::{Clock, duration_text, from_epoch_seconds};
use crate::jose::{Expected, Form, JoseError, RemoteIssuer, claimed_issuer, verify_access_token};
use crate::secret::Secret;
use crate::web::Caller;

mod counts;
mod proof;
mod shown;

use counts::Counts;
use proof::Proof;
use shown::{Shown, shown};

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
    name: SourceName,
    issuer: Arc<RemoteIssuer>,
    audiences: Vec<String>,
    form: Form,
    subject_claim: String,
    groups_claim: String,
    claims: BTreeMap<String, Wanted>,
    leeway: Duration,
    seen: Seen,
    counts: Counts,
    clock: Arc<dyn Clock>,
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
        Ok(Self {
            name: section.name.into(),
            issuer,
            audiences: settings.audiences,
            form,
            subject_claim: settings.subject_claim,
            groups_claim: settings.groups_claim,
            claims: settings.claims,
            leeway: settings.leeway,
            seen: Seen::default(),
            counts: Counts::register(&materials.metrics, section.name),
            clock: Arc::clone(section.clock),
        })
    }

    fn is_ours(&self, token: &str) -> bool {
        claimed_issuer(token).is_some_and(|issuer| self.issuer.is_called(&issuer))
    }

    /// The claims of a token that is signed, for us and timely.
    async fn verified(&self, token: &str) -> Result<Map<String, Value>, JoseError> {
        let metadata = self.issuer.metadata().await?;
        let issuer = metadata.get("issuer").and_then(Value::as_str).unwrap_or_default();
        let audiences: Vec<&str> = self.audiences.iter().map(String::as_str).collect();
        let expected = Expected { issuer, audiences: &audiences, now: self.clock.now(), leeway: self.leeway };
        match verify_access_token(token, &*self.issuer.keys().await?, &expected, &self.form) {
            Err(JoseError::UnknownKey(kid)) => {
                verify_access_token(token, &*self.issuer.keys_with(&kid).await?, &expected, &self.form)
            }
            verdict => verdict,
        }
    }

    /// What a token is worth that is ours to judge.
    async fn judge(&self, token: &str) -> Recognition {
        let reject = |reason: String| {
            self.counts.rejected();
            Recognition::Rejected(Presented::Bearer.rejected(reason))
        };
        let claims = match self.verified(token).await {
            Ok(claims) => claims,
            Err(error @ JoseError::Unavailable(_)) => {
                self.counts.undecided();
                return Recognition::Undecided(Arc::new(error));
            }
            Err(error) => return reject(error.to_string()),
        };
        let expires = from_epoch_seconds(claims.get("exp").and_then(Value::as_u64).unwrap_or_default());
        let (id, claims) = match self.read(claims) {
            Ok(read) => read,
            Err(reason) => return reject(reason),
        };
        self.counts.verified();
        let (hash, now) = (hash_of(token), self.clock.now());
        Recognition::Verified(self.seen.keep(hash, now, || {
            let subject = Subject { source: Arc::clone(&self.name), id };
            let proof = Proof { token: Secret::new(token), expires, clock: Arc::clone(&self.clock) };
            let ends = expires + self.leeway; // as the verification had it
            let id = HolderId::of_credential(&self.name, &hash);
            let holder = Holder { id, ends, evidence: Arc::new(proof) };
            Identity { subject: Arc::new(subject), claims, ends_at: ends, holder }
        }))
    }
}

#[async_trait]
impl IdentitySource for Bearer {
    fn glance(&self, caller: &Caller<'_>) -> Option<Recognition> {
        match shown(&caller.head.headers) {
            Shown::Nothing => Some(Recognition::NotPresented),
            Shown::One(token) => {
                let known = self.seen.fresh(&hash_of(token), self.clock.now())?;
                self.counts.hit();
                Some(Recognition::Verified(known))
            }
            Shown::Several(_) => None,
        }
    }

    async fn recognize(&self, caller: &Caller<'_>) -> Recognition {
        match shown(&caller.head.headers) {
            Shown::One(token) if self.is_ours(token) => self.judge(token).await,
            // which of them an upstream would look at is anybody's guess
            Shown::Several(tokens) if tokens.iter().any(|token| self.is_ours(token)) => {
                self.counts.rejected();
                Recognition::Rejected(Presented::Bearer.rejected("there is more than one Authorization header"))
            }
            _ => Recognition::NotPresented,
        }
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
        self.issuer.trouble()
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
            return Ok(RemoteIssuer::with_keys_at(url.clone(), self.issuer.clone(), fetch, clock));
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

fn hash_of(token: &str) -> Hash {
    digest(&SHA256, token.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default()
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

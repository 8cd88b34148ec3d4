//! `kind = "oidc"`: people log in at an OpenID Connect provider.
//!
//! The protocol's messages are `openidconnect`'s, over our own bounded [`Fetch`]; documents, keys and signatures are
//! [`jose`]'s, as everywhere in this product: one verifier, one set of rules (A18).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use openidconnect::{ClientId, ClientSecret};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::groups::{self, with_groups};
use super::{Claims, IdentitySource, Login, Materials, Recognition, SourceName, Subject, issuer};
use crate::built_in::{BuiltIn, SecretSource, Settings, SettingsError};
use crate::clock::Clock;
use crate::fetch::{Fetch, Reach};
use crate::jose::{self, Expected, JoseError, RemoteIssuer};
use crate::secret::Secret;
use crate::web::Caller;

mod device;
mod login;
mod provider;
mod tokens;
mod userinfo;

use provider::Provider;

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "oidc",
    summary: "Logs people in at an OpenID Connect provider.",
    example: include_str!("../../config/examples/identity/oidc.toml"),
    build: |settings, materials| Ok(Arc::new(Oidc::build(&settings, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OidcSettings {
    issuer: Url,
    client_id: String,
    client_secret: Option<SecretSource>,
    label: Option<String>,
    #[serde(default = "profile_and_email")]
    scopes: Vec<String>,
    #[serde(default = "groups::default")]
    groups_claim: String,
    #[serde(default)]
    userinfo: bool,
    #[serde(default)]
    login_parameters: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Oidc {
    name: SourceName,
    label: String,
    voucher: Arc<str>,
    client_id: ClientId,
    client_secret: Option<Secret>,
    scopes: Vec<String>,
    groups_claim: String,
    asks_userinfo: bool,
    login_parameters: BTreeMap<String, String>,
    issuer: Arc<RemoteIssuer>,
    /// Why the token endpoint gave no answer, if it gave none the last time.
    silence: ArcSwapOption<String>,
    /// How far what the discovery document names may lead (A19).
    reach: Reach,
    fetch: Arc<Fetch>,
    clock: Arc<dyn Clock>,
}

impl Oidc {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        let settings: OidcSettings = section.parse()?;
        let host = issuer::check("issuer", &settings.issuer)?;
        if settings.client_id.is_empty() {
            return Err(SettingsError::at("client_id", "is empty; the provider names its clients"));
        }
        if let Some(name) = settings.login_parameters.keys().find(|name| OURS.contains(&name.as_str())) {
            let problem = "is set by the protocol itself";
            return Err(SettingsError::at(format!("login_parameters.{name}"), problem));
        }
        let client_secret =
            settings.client_secret.as_ref().map(|source| section.secret("client_secret", source)).transpose()?;
        Ok(Self {
            name: section.name.into(),
            label: settings.label.unwrap_or_else(|| section.name.to_owned()),
            // an issuer may call people by other names to another client (OpenID Connect Core §8)
            voucher: format!("oidc {} {}", settings.issuer, settings.client_id).into(),
            client_id: ClientId::new(settings.client_id),
            client_secret,
            scopes: settings.scopes.into_iter().filter(|scope| scope != "openid").collect(),
            groups_claim: settings.groups_claim,
            asks_userinfo: settings.userinfo,
            login_parameters: settings.login_parameters,
            silence: ArcSwapOption::empty(),
            issuer: RemoteIssuer::new(settings.issuer, Arc::clone(&materials.fetch), Arc::clone(section.clock)),
            reach: Reach::NoCloserThan(host),
            fetch: Arc::clone(&materials.fetch),
            clock: Arc::clone(section.clock),
        })
    }

    async fn provider(&self) -> Result<Provider, JoseError> {
        Provider::read(&*self.issuer.metadata().await?)
    }

    fn client_secret(&self) -> Option<ClientSecret> {
        self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()))
    }

    /// The claims of an ID token that is signed, ours and timely (OpenID Connect Core §3.1.3.7).
    async fn verified(&self, token: &Secret, provider: &Provider) -> Result<Map<String, Value>, JoseError> {
        let expected = Expected {
            issuer: &provider.issuer,
            audiences: &[self.client_id.as_str()],
            now: self.clock.now(),
            leeway: LEEWAY,
        };
        let verdict = jose::verify(token.expose(), &*self.issuer.keys().await?, &expected);
        let claims = match verdict {
            Err(JoseError::UnknownKey(kid)) => {
                jose::verify(token.expose(), &*self.issuer.keys_with(&kid).await?, &expected)?
            }
            verdict => verdict?,
        };
        if claims.get("azp").is_some_and(|party| party.as_str() != Some(self.client_id.as_str())) {
            return Err(JoseError::Claim("`azp` is not us".into()));
        }
        Ok(claims)
    }

    /// The subject of an ID token. The source is part of the name: two providers never mean the same one (A21).
    fn subject(&self, claims: &Map<String, Value>) -> Result<Subject, JoseError> {
        let id = claims.get("sub").and_then(Value::as_str).filter(|id| issuer::is_subject(id));
        let id = id.ok_or_else(|| JoseError::Claim("`sub` is not 1 to 255 printable ASCII characters".into()))?;
        Ok(Subject { source: Arc::clone(&self.name), id: id.into() })
    }

    fn with_groups(&self, claims: Map<String, Value>) -> Claims {
        with_groups(claims, &self.groups_claim)
    }
}

#[async_trait]
impl IdentitySource for Oidc {
    /// Whoever logged in here comes back with a session's ticket, which is not ours to read.
    fn glance(&self, _caller: &Caller<'_>) -> Option<Recognition> {
        Some(Recognition::NotPresented)
    }

    async fn recognize(&self, _caller: &Caller<'_>) -> Recognition {
        Recognition::NotPresented
    }

    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let subject = self.subject(&claims).map_err(|error| error.to_string())?;
        Ok((subject.id, self.with_groups(claims)))
    }

    fn login(&self) -> Option<&dyn Login> {
        Some(self)
    }

    fn trouble(&self) -> Option<String> {
        self.issuer.trouble().or_else(|| self.silence.load().as_deref().cloned())
    }
}

fn profile_and_email() -> Vec<String> {
    vec!["profile".into(), "email".into()]
}

/// How far the provider's clock and ours may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// What nobody may set for the login page: each is part of what makes a login ours (A8).
const OURS: [&str; 12] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
    "id_token_hint",
];

#[cfg(test)]
mod tests;

//! `kind = "kubernetes"`: pods show their service account's token, which the cluster has made for them and for us.
//!
//! Only a token that is bound to a pod is taken: the API server has made it for one that exists, and for so long
//! (Kubernetes, "Bound service account tokens"). The subject is the pod, not its service account, so that two pods never
//! share what is issued (A26).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::bearer::{Judge, Terms};
use super::token_judge::TokenJudge;
use super::{Claims, Identity, IdentitySource, Materials, Recognition, issuer};
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::duration_text;
use crate::jose::{Form, RemoteIssuer};
use crate::web::Caller;
use api_server::ApiServer;
use bound::Bound;

mod api_server;
mod bound;

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "kubernetes",
    summary: "Accepts the service account tokens that a cluster's pods show.",
    example: include_str!("../../config/examples/identity/kubernetes.toml"),
    build: |settings, materials| Ok(Arc::new(Kubernetes::build(&settings, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KubernetesSettings {
    issuer: String,
    jwks_uri: Option<Url>,
    ca_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    audiences: Vec<String>,
    #[serde(default = "leeway", deserialize_with = "duration_text")]
    leeway: Duration,
}

#[derive(Debug)]
struct Kubernetes(Judge);

impl Kubernetes {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        let settings: KubernetesSettings = section.parse()?;
        // without it a token that a pod shows to any other service would do here (A26)
        if settings.audiences.is_empty() || settings.audiences.iter().any(String::is_empty) {
            return Err(SettingsError::at("audiences", "must be one or more texts, of which one is the token's `aud`"));
        }
        if settings.leeway > LONGEST_LEEWAY {
            return Err(SettingsError::at("leeway", "is more than 5m, by which no clock should be wrong"));
        }
        let issuer = settings.issuer(section, materials)?;
        // what API servers sign with: RSA keys by RS256, ECDSA keys by ES256 or ES384
        let algorithms = ["RS256", "ES256", "ES384"].map(str::to_owned);
        let form = Form::new(&algorithms, None).map_err(|name| SettingsError::at("kind", name))?;
        let terms = Terms { issuer, audiences: settings.audiences, form, leeway: settings.leeway };
        Ok(Self(Judge::new(section, materials, terms)))
    }
}

#[async_trait]
impl IdentitySource for Kubernetes {
    fn glance(&self, caller: &Caller<'_>) -> Option<Recognition> {
        self.0.glance(&caller.head.headers)
    }

    async fn recognize(&self, caller: &Caller<'_>) -> Recognition {
        self.0.recognize(&caller.head.headers, self).await
    }

    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let bound = Bound::read(&claims)?;
        let mut claims = claims;
        // `kubernetes.io` has a dot, with which no path could lead to what is below it
        claims.insert("kubernetes".to_owned(), bound.claim());
        Ok((bound.subject().into(), Claims::new(claims)))
    }

    fn token_judge(&self) -> Option<&dyn TokenJudge> {
        Some(self)
    }

    fn trouble(&self) -> Option<String> {
        self.0.trouble()
    }
}

#[async_trait]
impl TokenJudge for Kubernetes {
    fn known(&self, token: &str) -> Option<Identity> {
        self.0.known(token)
    }

    async fn judge(&self, token: &str) -> Recognition {
        self.0.judge(token, self).await
    }
}

impl KubernetesSettings {
    fn issuer(&self, section: &Settings<'_>, materials: &Materials) -> Result<Arc<RemoteIssuer>, SettingsError> {
        let clock = Arc::clone(section.clock);
        let url = self.issuer.parse::<Url>().map_err(|_| {
            SettingsError::at("issuer", format!("`{}` is no URL; expected what the tokens have as `iss`", self.issuer))
        })?;
        let Some(keys) = &self.jwks_uri else {
            // a document found by discovery may name any place for its keys, which must not get our token
            if self.ca_file.is_some() || self.token_file.is_some() {
                let key = if self.token_file.is_some() { "token_file" } else { "ca_file" };
                return Err(SettingsError::at(key, "is for a `jwks_uri`, and there is none"));
            }
            issuer::check("issuer", &url)?;
            return Ok(RemoteIssuer::new(url, Arc::clone(&materials.fetch), clock));
        };
        issuer::check("jwks_uri", keys)?;
        let in_folder = |path: &PathBuf| section.surroundings.folder.join(path);
        let (ca, token) = (self.ca_file.as_ref().map(in_folder), self.token_file.as_ref().map(in_folder));
        let server = ApiServer::new(ca, token, materials);
        Ok(RemoteIssuer::with_keys_at(keys.clone(), self.issuer.clone(), Arc::new(server), clock))
    }
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

//! `[identity.<name>]` of `kind = "saml"`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::answer::{Aws, Rules};
use super::person::Mapping;
use super::provider::{Pin, ProviderMetadata};
use crate::built_in::{SecretSource, Settings, SettingsError};
use crate::clock::duration_text;
use crate::identity::Materials;
use crate::saml::{Binding, Certificate, DecryptionKey, KeyError, SigningKey, Workers};
use crate::web::{chain, is_loopback};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SamlSettings {
    pub(super) issuer: String,
    pub(super) entity_id: String,
    metadata_url: Option<Url>,
    metadata_file: Option<PathBuf>,
    #[serde(default)]
    metadata_certificates: Vec<PathBuf>,
    #[serde(default = "hour", deserialize_with = "duration_text")]
    refresh: Duration,
    pub(super) label: Option<String>,
    #[serde(default)]
    signing: Vec<KeyPair>,
    #[serde(default)]
    decryption: Vec<KeyPair>,
    #[serde(default)]
    allow_cbc: bool,
    binding: Option<How>,
    name_id_format: Option<String>,
    #[serde(default)]
    authn_contexts: Vec<String>,
    #[serde(default)]
    pub(super) force_authn: bool,
    #[serde(default = "yes")]
    pub(super) passive: bool,
    #[serde(default)]
    pub(super) idp_initiated: bool,
    pub(super) subject_attribute: Option<String>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    #[serde(default)]
    emails_are_verified: bool,
    aws: Option<AwsSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPair {
    key: SecretSource,
    certificate: PathBuf,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Redirect,
    Post,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AwsSettings {
    #[serde(default = "aws_recipient")]
    recipient: String,
    #[serde(default = "aws_audience")]
    audience: String,
}

impl SamlSettings {
    /// What is wrong with it, as far as the section itself says.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (key, value, whose) in
            [("issuer", &self.issuer, "the provider's"), ("entity_id", &self.entity_id, "our own")]
        {
            if value.trim().is_empty() || value.trim() != value {
                return Err(SettingsError::at(key, format!("is no entity ID; expected {whose}, to the letter")));
            }
        }
        match (&self.metadata_url, &self.metadata_file) {
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) => {
                let problem = "is missing; expected where the provider's metadata is, or `metadata_file`";
                return Err(SettingsError::at("metadata_url", problem));
            }
            (Some(_), Some(_)) => {
                let problem = "is there, and so is `metadata_url`; expected one of them";
                return Err(SettingsError::at("metadata_file", problem));
            }
        }
        if let Some(url) = &self.metadata_url {
            self.check_url(url)?;
        }
        if self.refresh < SHORTEST_REFRESH {
            return Err(SettingsError::at("refresh", "is too short; expected 1m or more"));
        }
        if self.force_authn && self.aws.is_some() && self.passive {
            let problem = "can't be with `force_authn`, which has people asked at every login; expected false";
            return Err(SettingsError::at("passive", problem));
        }
        if let Some(claim) = self.claims.keys().find(|claim| *claim == "sub") {
            let problem = "is who it is; expected `subject_attribute` for the attribute that says so";
            return Err(SettingsError::at(format!("claims.{claim}"), problem));
        }
        Ok(())
    }

    /// Whoever stands on the way of metadata in clear text could be the provider, unless it is signed.
    fn check_url(&self, url: &Url) -> Result<(), SettingsError> {
        let is_safe = match url.scheme() {
            "https" => true,
            "http" => url.host().is_some_and(|host| is_loopback(&host)) || !self.metadata_certificates.is_empty(),
            _ => false,
        };
        if is_safe && url.host().is_some() {
            return Ok(());
        }
        let problem = "is not https; plain http is for loopback addresses, or with `metadata_certificates`";
        Err(SettingsError::at("metadata_url", format!("`{url}` {problem}")))
    }

    pub(super) fn binding(&self) -> Option<Binding> {
        self.binding.map(|how| match how {
            How::Redirect => Binding::Redirect,
            How::Post => Binding::Post,
        })
    }

    /// The kind of name, by its URI; the usual ones have short names (SAML-Core §8.3).
    pub(super) fn name_id_format(&self) -> Option<String> {
        let format = self.name_id_format.as_deref()?;
        Some(match format {
            "persistent" | "transient" => format!("urn:oasis:names:tc:SAML:2.0:nameid-format:{format}"),
            "emailAddress" | "unspecified" => format!("urn:oasis:names:tc:SAML:1.1:nameid-format:{format}"),
            uri => uri.to_owned(),
        })
    }

    pub(super) fn signing_keys(&self, section: &Settings<'_>) -> Result<Vec<SigningKey>, SettingsError> {
        each(&self.signing, "signing", section, SigningKey::new)
    }

    pub(super) fn rules(&self, section: &Settings<'_>) -> Result<Rules, SettingsError> {
        let decryption = each(&self.decryption, "decryption", section, DecryptionKey::new)?;
        Ok(Rules {
            issuer: self.issuer.clone(),
            entity_id: self.entity_id.clone(),
            decryption,
            cbc: self.allow_cbc,
            authn_contexts: self.authn_contexts.clone(),
            aws: self.aws.as_ref().map(|aws| Aws { recipient: aws.recipient.clone(), audience: aws.audience.clone() }),
            mapping: Mapping {
                issuer: self.issuer.clone(),
                entity_id: self.entity_id.clone(),
                subject: self.subject_attribute.clone(),
                claims: self.claims.clone(),
                emails_are_verified: self.emails_are_verified,
            },
        })
    }

    pub(super) fn provider(
        &self,
        section: &Settings<'_>,
        materials: &Materials,
    ) -> Result<Arc<ProviderMetadata>, SettingsError> {
        let certificates = self.metadata_certificates.iter().enumerate().map(|(i, file)| {
            let key = format!("metadata_certificates[{i}]");
            certificate(section, &key, file)
        });
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let pin = Pin { entity_id: self.issuer.clone(), certificates };
        let clock = Arc::clone(section.clock);
        match (&self.metadata_url, &self.metadata_file) {
            (Some(url), _) => {
                let fetch = Arc::clone(&materials.fetch);
                // of its own: strangers who keep those of the logins busy must not keep a new key from coming
                let workers = Workers::new(1);
                Ok(ProviderMetadata::at(url.clone(), pin, self.refresh, fetch, workers, clock))
            }
            (None, file) => {
                let file = section.surroundings.path(file.as_deref().unwrap_or_else(|| Path::new("")));
                let bytes = std::fs::read(&file).map_err(|e| unreadable("metadata_file", &file, &e))?;
                let read = ProviderMetadata::of(&bytes, pin, clock);
                read.map_err(|e| SettingsError::at("metadata_file", format!("`{}`: {}", file.display(), chain(&*e))))
            }
        }
    }
}

/// Every pair of a list of keys; no two the same, as one of them would be there for nothing.
fn each<T>(
    pairs: &[KeyPair],
    list: &str,
    section: &Settings<'_>,
    pair: impl Fn(&crate::secret::Secret, Certificate) -> Result<T, KeyError>,
) -> Result<Vec<T>, SettingsError> {
    let mut seen = BTreeSet::new();
    let one = |(i, found): (usize, &KeyPair)| {
        let certificate = certificate(section, &format!("{list}[{i}].certificate"), &found.certificate)?;
        if !seen.insert(certificate.der().to_vec()) {
            return Err(SettingsError::at(format!("{list}[{i}]"), "is there twice"));
        }
        let key = section.secret(&format!("{list}[{i}].key"), &found.key)?;
        pair(&key, certificate).map_err(|e| SettingsError::at(format!("{list}[{i}]"), e))
    };
    pairs.iter().enumerate().map(one).collect()
}

fn certificate(section: &Settings<'_>, key: &str, file: &Path) -> Result<Certificate, SettingsError> {
    let file = section.surroundings.path(file);
    let pem = std::fs::read_to_string(&file).map_err(|e| unreadable(key, &file, &e))?;
    Certificate::from_pem(&pem).map_err(|e| SettingsError::at(key, format!("`{}`: {e}", file.display())))
}

fn unreadable(key: &str, file: &Path, error: &std::io::Error) -> SettingsError {
    SettingsError::at(key, format!("the file `{}` can't be read: {error}", file.display()))
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

fn yes() -> bool {
    true
}

fn aws_recipient() -> String {
    "https://signin.aws.amazon.com/saml".into()
}

fn aws_audience() -> String {
    "urn:amazon:webservices".into()
}

/// Providers are not asked more often.
const SHORTEST_REFRESH: Duration = Duration::from_secs(60);

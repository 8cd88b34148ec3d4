//! `kind = "saml"`: people log in at a SAML 2.0 identity provider.
//!
//! What it sends is read by [`crate::saml`] alone, off the async threads; here it is asked, and what was verified becomes
//! a subject with claims.
//!
//! | module | one line |
//! |---|---|
//! | `settings` | the section, with everything read that it names |
//! | `provider` | the provider's metadata: read, kept, refreshed |
//! | `login` | the request, and the login as other sources have it |
//! | `answer` | a Response, from the form to a person |
//! | `aws` | what of a Response is kept for AssumeRoleWithSAML |
//! | `person` | from an assertion to subject and claims |
//! | `logout` | logout messages, both ways, and our metadata |

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use url::Url;

use super::{Claims, IdentitySource, Login, Materials, Recognition, SourceName};
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::Clock;
use crate::saml::{Binding, SigningKey, Workers};
use crate::web::Caller;

mod answer;
mod aws;
mod login;
mod logout;
mod person;
mod provider;
mod settings;

use answer::Rules;
use provider::ProviderMetadata;
use settings::SamlSettings;

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "saml",
    summary: "Logs people in at a SAML 2.0 identity provider.",
    example: include_str!("../../config/examples/identity/saml.toml"),
    build: |settings, materials| Ok(Arc::new(Saml::build(&settings, materials)?)),
};

/// The section for each of the usual providers, with what is to be entered there: `config/examples/identity/saml`.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("saml/keycloak", include_str!("../../config/examples/identity/saml/keycloak.toml")),
    ("saml/entra", include_str!("../../config/examples/identity/saml/entra.toml")),
    ("saml/okta", include_str!("../../config/examples/identity/saml/okta.toml")),
    ("saml/adfs", include_str!("../../config/examples/identity/saml/adfs.toml")),
];

#[derive(Debug)]
struct Saml {
    name: SourceName,
    label: String,
    voucher: Arc<str>,
    /// What a Response must be.
    rules: Arc<Rules>,
    provider: Arc<ProviderMetadata>,
    /// Signs what we send: the first; the others are in our metadata beside it.
    signing: Vec<SigningKey>,
    /// How requests are sent; absent: as the provider takes them.
    binding: Option<Binding>,
    name_id_format: Option<String>,
    force_authn: bool,
    passive: bool,
    idp_initiated: bool,
    workers: Workers,
    clock: Arc<dyn Clock>,
}

impl Saml {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        // it is a part of the addresses that the provider knows
        if !section.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            let problem = "has a name that can't stand in the address of its ACS; expected letters, digits, - and _";
            return Err(SettingsError::at("", problem));
        }
        let settings: SamlSettings = section.parse()?;
        settings.check()?;
        let workers = Workers::new(AT_A_TIME);
        let signing = settings.signing_keys(section)?;
        let rules = Arc::new(settings.rules(section)?);
        let provider = settings.provider(section, materials)?;
        let wants_signed = provider.at_hand().is_some_and(|known| known.provider.wants_signed_requests);
        if wants_signed && signing.is_empty() {
            let problem = "is missing, but the provider's metadata wants requests signed; expected a key of ours";
            return Err(SettingsError::at("signing", problem));
        }
        Ok(Self {
            name: section.name.into(),
            // under another of our entity IDs a provider may call people by other names (SAML-Core §8.3.7), and what one
            // attribute calls one person another may call somebody else (A21)
            voucher: format!("saml {:?}", (&settings.issuer, &settings.entity_id, &settings.subject_attribute)).into(),
            binding: settings.binding(),
            name_id_format: settings.name_id_format(),
            label: settings.label.unwrap_or_else(|| section.name.to_owned()),
            force_authn: settings.force_authn,
            passive: settings.passive,
            idp_initiated: settings.idp_initiated,
            rules,
            provider,
            signing,
            workers,
            clock: Arc::clone(section.clock),
        })
    }

    /// A place of ours that the provider knows.
    fn place(&self, home: &Url, what: &str) -> Option<String> {
        Some(home.join(&format!("/.claviger/saml/{}/{what}", self.name)).ok()?.into())
    }
}

#[async_trait]
impl IdentitySource for Saml {
    /// Whoever logged in here comes back with a session's ticket, which is not ours to read.
    fn glance(&self, _caller: &Caller<'_>) -> Option<Recognition> {
        Some(Recognition::NotPresented)
    }

    async fn recognize(&self, _caller: &Caller<'_>) -> Recognition {
        Recognition::NotPresented
    }

    /// `sub` stands for the name; the other claims for attributes.
    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        self.rules.mapping.as_if(claims)
    }

    /// An assertion is no token: what is kept of it is shown to STS by its own kind of credentials.
    fn has_tokens(&self) -> bool {
        false
    }

    fn has_assertions(&self) -> bool {
        self.rules.aws.is_some()
    }

    fn login(&self) -> Option<&dyn Login> {
        Some(self)
    }

    fn trouble(&self) -> Option<String> {
        let wants_signed = self.provider.at_hand().is_some_and(|known| known.provider.wants_signed_requests);
        let unsigned = (wants_signed && self.signing.is_empty())
            .then(|| "off: the provider wants requests signed, and there is no `signing` key".to_owned());
        self.provider.trouble().or(unsigned)
    }
}

/// So many messages of one source are verified at a time; some 65 times as many may wait, and no more.
const AT_A_TIME: usize = 4;

#[cfg(test)]
mod tests;

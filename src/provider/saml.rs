//! The same users by SAML 2.0: an identity provider for parties that don't speak OpenID Connect.
//!
//! One sign-in serves both: whoever is signed in at the provider is so for clients and for parties, and leaves both.
//!
//! | module | one line |
//! |---|---|
//! | `party` | who may ask: registered service providers |
//! | `request` | an AuthnRequest, from either binding to one that can be answered |
//! | `sign_on` | the answer: a Response, or the login form first |
//! | `subject` | NameIDs and attributes, from a user's claims |
//! | `sign_out` | logout messages in both directions |
//! | `participation` | which parties a sign-in has served |
//! | `settings` | `[provider.saml]` |

mod participation;
mod party;
mod request;
mod settings;
mod sign_on;
mod sign_out;
mod subject;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};

use self::participation::Participations;
use super::asked::Asked;
use super::pages::{self, SamlFormPage, show};
use super::{OpenIdProvider, ProviderError};
use crate::saml::{Certificate, Posted, ProviderOf, SigningKey, Workers};
use crate::secret::Secret;
use crate::web::{self, Response};

pub(super) use self::request::{ANSWER, Request, Unanswerable};

pub use self::party::{AwsAttributes, RelyingParty, Signs};
pub use self::settings::{PairSettings, PartySettings, SamlSettings};

/// What makes a provider an identity provider for SAML too.
#[derive(Debug, Default)]
pub struct SamlSetup {
    /// Its entity ID; the address of its metadata where there is none.
    pub entity_id: Option<String>,
    /// What it signs by: the first does, all are in its metadata. A fresh P-256 key where there is none.
    pub signing: Vec<SigningKey>,
    /// Who may ask.
    pub parties: Vec<RelyingParty>,
}

/// The SAML side of a provider.
pub(super) struct SamlProvider {
    entity_id: String,
    keys: Arc<SigningKeys>,
    /// Whether the keys are of the setup.
    has_own_keys: bool,
    /// By entity ID.
    parties: Arc<HashMap<Arc<str>, Arc<RelyingParty>>>,
    participations: Arc<Participations>,
    workers: Workers,
}

/// The key that signs, and those that are published beside it.
struct SigningKeys {
    current: SigningKey,
    others: Vec<Certificate>,
}

/// What is there for SAML below the issuer's path.
#[derive(Clone, Copy, Debug)]
pub(super) enum SamlEndpoint {
    Metadata,
    SignOn,
    /// Where an AuthnRequest that was posted goes on: a redirect brings the cookies that a form elsewhere did not.
    Answer,
    SignOut,
}

impl SamlEndpoint {
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/saml/metadata" => Self::Metadata,
            "/saml/sign-on" => Self::SignOn,
            "/saml/answer" => Self::Answer,
            "/saml/sign-out" => Self::SignOut,
            _ => return None,
        })
    }

    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Self::Metadata | Self::Answer => &[Method::GET],
            Self::SignOn | Self::SignOut => &[Method::GET, Method::POST],
        }
    }
}

impl SamlProvider {
    pub(super) fn new(setup: SamlSetup, issuer: &str) -> Result<Self, ProviderError> {
        let entity_id = setup.entity_id.unwrap_or_else(|| format!("{}/saml/metadata", issuer.trim_end_matches('/')));
        let has_own_keys = !setup.signing.is_empty();
        let mut signing = setup.signing.into_iter();
        let current = match signing.next() {
            Some(key) => key,
            None => fresh_key(&entity_id).ok_or(ProviderError::Saml("no signing key can be made".to_owned()))?,
        };
        let others = signing.map(|key| key.certificate().clone()).collect();
        let mut parties = HashMap::new();
        for party in setup.parties {
            let id = Arc::clone(&party.entity_id);
            if parties.insert(Arc::clone(&id), Arc::new(party)).is_some() {
                return Err(ProviderError::Saml(format!("the party `{id}` is there twice")));
            }
        }
        Ok(Self {
            entity_id,
            keys: Arc::new(SigningKeys { current, others }),
            has_own_keys,
            parties: Arc::new(parties),
            participations: Arc::default(),
            workers: Workers::new(VERIFIED_AT_A_TIME),
        })
    }

    /// This one with what `before` knows of logins; and with its key, unless one was given to this one.
    pub(super) fn in_place_of(&self, before: Option<&Self>) -> Self {
        let keys = before.filter(|_| !self.has_own_keys).map_or(&self.keys, |before| &before.keys);
        let participations = before.map_or(&self.participations, |before| &before.participations);
        Self {
            entity_id: self.entity_id.clone(),
            keys: Arc::clone(keys),
            has_own_keys: self.has_own_keys,
            parties: Arc::clone(&self.parties),
            participations: Arc::clone(participations),
            workers: before.map_or(&self.workers, |before| &before.workers).clone(),
        }
    }
}

impl OpenIdProvider {
    pub(super) async fn saml(&self, saml: &SamlProvider, endpoint: SamlEndpoint, asked: &Asked) -> Response {
        match endpoint {
            SamlEndpoint::Metadata => match self.saml_metadata() {
                Some(text) => {
                    let mut response = web::answer(StatusCode::OK, "application/samlmetadata+xml", text);
                    let lives = HeaderValue::from_static("public, max-age=300");
                    response.headers_mut().insert(CACHE_CONTROL, lives);
                    response
                }
                None => pages::not_found(),
            },
            SamlEndpoint::SignOn => self.saml_sign_on(saml, asked).await,
            SamlEndpoint::Answer => self.saml_go_on(saml, asked),
            SamlEndpoint::SignOut => self.saml_sign_out(saml, asked).await,
        }
    }

    /// The SAML metadata of this provider, signed; `None` where it speaks no SAML.
    pub fn saml_metadata(&self) -> Option<String> {
        let saml = self.saml.as_ref()?;
        let signing: Vec<&Certificate> =
            std::iter::once(saml.keys.current.certificate()).chain(&saml.keys.others).collect();
        let provider = ProviderOf {
            entity_id: &saml.entity_id,
            sign_on_url: &self.at("/saml/sign-on"),
            logout_url: Some(&self.at("/saml/sign-out")),
            signing: &signing,
            wants_signed_requests: false,
            name_id_formats: &subject::FORMATS,
            valid_until: None,
        };
        provider.write(Some(&saml.keys.current))
    }
}

impl fmt::Debug for SamlProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamlProvider").field("entity_id", &self.entity_id).finish_non_exhaustive()
    }
}

/// A page whose button posts a message onward. There are no scripts here to press it.
fn post_page(posted: &Posted, relay_state: Option<&str>, client: &str) -> Response {
    let Posted { destination, name, value } = posted;
    show(StatusCode::OK, &SamlFormPage { client, action: destination, name, value, relay_state })
}

/// A key for as long as this process lives, with a certificate that names the provider.
fn fresh_key(entity_id: &str) -> Option<SigningKey> {
    let pair = rcgen::KeyPair::generate().ok()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, entity_id.chars().take(64).collect::<String>());
    let certificate = Certificate::from_der(params.self_signed(&pair).ok()?.der()).ok()?;
    SigningKey::new(&Secret::new(pair.serialize_pem()), certificate).ok()
}

/// Messages of parties; each takes less than a millisecond.
const VERIFIED_AT_A_TIME: usize = 2;

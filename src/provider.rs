//! An OpenID Provider for a small site, for the demo and for tests (OpenID Connect Core, RFC 6749, RFC 9700); and a SAML
//! identity provider over the same users, where it is set up to be (`saml`).
//!
//! It knows the authorization code flow only, with PKCE, and device logins (RFC 8628). Who may sign in are the
//! [`Users`]; who may ask are the registered [`Client`]s. All else it keeps in memory, bounded: a restart ends every
//! login, which clients must be able to stand anyway.

mod asked;
mod authorize;
mod client;
mod device;
mod devices;
mod discovery;
mod expiring;
mod form;
mod grants;
mod pages;
#[cfg(feature = "saml")]
mod saml;
mod sessions;
mod settings;
mod sign_in;
mod sign_out;
mod token;
mod userinfo;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use crate::clock::Clock;
use crate::jose::{JoseError, Signer};
use crate::secret::Secret;
use crate::server::Handler;
use crate::users::Users;
use crate::web::{Connection, Request, Response, is_loopback, json};
use asked::{Asked, Cookies};
use devices::Devices;
use grants::Grants;
use sessions::Sessions;

pub use client::{Client, RedirectUri};
#[cfg(feature = "saml")]
pub use saml::{AwsAttributes, PairSettings, PartySettings, RelyingParty, SamlSettings, SamlSetup, Signs};
pub use settings::{ClientSettings, Lifetimes, ProviderSettings};

/// What a provider is made of.
#[derive(Debug)]
pub struct Setup {
    /// The issuer, which is also where the provider is reached; it may have a path.
    pub issuer: Url,
    /// Who may sign in.
    pub users: Arc<Users>,
    /// Who may ask for logins.
    pub clients: Vec<Client>,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// The PKCS#8 PEM of the key that signs; a fresh one where there is none.
    pub signing_key: Option<Secret>,
}

/// Why there is no provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The issuer can't be one.
    #[error("the issuer {0}")]
    Issuer(&'static str),
    /// A client can't be one.
    #[error("the client `{id}`: {problem}")]
    Client {
        /// Which.
        id: Arc<str>,
        /// What.
        problem: &'static str,
    },
    /// The SAML side can't be.
    #[cfg(feature = "saml")]
    #[error("{0}")]
    Saml(String),
    /// The signing key is none.
    #[error("the signing key")]
    SigningKey(#[source] JoseError),
}

/// The provider. As a [`Handler`] it answers all paths below its issuer's.
pub struct OpenIdProvider {
    /// To the letter as tokens have it.
    issuer: String,
    /// The issuer's path without a slash at the end.
    base: String,
    cookies: Cookies,
    users: Arc<Users>,
    clients: HashMap<Arc<str>, Arc<Client>>,
    keys: ArcSwap<Keys>,
    /// Whether the key that signs is one of the setup.
    has_own_key: bool,
    /// Binds forms to the browser they were made for.
    form_key: hmac::Key,
    grants: Arc<Grants>,
    sessions: Arc<Sessions>,
    devices: Arc<Devices>,
    #[cfg(feature = "saml")]
    saml: Option<saml::SamlProvider>,
    lifetimes: Lifetimes,
    clock: Arc<dyn Clock>,
}

/// The key that signs, and the one that did before, which tokens still name.
struct Keys {
    current: Arc<Signer>,
    previous: Option<Arc<Signer>>,
}

impl OpenIdProvider {
    /// Builds the provider; it serves nothing by itself.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub fn new(setup: Setup, clock: Arc<dyn Clock>) -> Result<Arc<Self>, ProviderError> {
        Self::build(setup, clock).map(Arc::new)
    }

    /// The same one, for SAML too.
    ///
    /// # Errors
    /// [`ProviderError`]
    #[cfg(feature = "saml")]
    pub fn with_saml(setup: Setup, saml: SamlSetup, clock: Arc<dyn Clock>) -> Result<Arc<Self>, ProviderError> {
        let provider = Self::build(setup, clock)?;
        let saml = saml::SamlProvider::new(saml, &provider.issuer)?;
        Ok(Arc::new(Self { saml: Some(saml), ..provider }))
    }

    fn build(setup: Setup, clock: Arc<dyn Clock>) -> Result<Self, ProviderError> {
        let (issuer, base) = place(&setup.issuer).map_err(ProviderError::Issuer)?;
        let signer = match &setup.signing_key {
            Some(pem) => Signer::from_pem(pem),
            None => Signer::generate().map(|(signer, _)| signer),
        };
        let signer = signer.map_err(ProviderError::SigningKey)?;
        let form_key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| ProviderError::SigningKey(JoseError::Malformed("no randomness".into())))?;
        let mut clients = HashMap::new();
        for client in setup.clients {
            let id = Arc::clone(&client.id);
            let wrong = |problem| Err(ProviderError::Client { id: Arc::clone(&id), problem });
            if id.is_empty() || !id.bytes().all(|c| c.is_ascii_graphic()) {
                return wrong("a client id is visible ASCII");
            }
            if client.redirect_uris.is_empty() && !client.device_flow {
                return wrong("`redirect_uris` is empty and the device flow is off: it could never get an answer");
            }
            if clients.insert(Arc::clone(&id), Arc::new(client)).is_some() {
                return wrong("is there twice");
            }
        }
        Ok(Self {
            cookies: Cookies::new(&setup.issuer, &base),
            issuer,
            base,
            users: setup.users,
            clients,
            keys: ArcSwap::from_pointee(Keys { current: Arc::new(signer), previous: None }),
            has_own_key: setup.signing_key.is_some(),
            form_key,
            grants: Arc::new(Grants::new(setup.lifetimes)),
            sessions: Arc::new(Sessions::new(setup.lifetimes.session)),
            devices: Arc::new(Devices::new(setup.lifetimes.device_code)),
            #[cfg(feature = "saml")]
            saml: None,
            lifetimes: setup.lifetimes,
            clock,
        })
    }

    /// This provider with all that `before` knows: who is signed in, and which codes and tokens are out. It has this
    /// one's users, clients and, where one was given to it, key; the key before stays published. The issuer and how long
    /// things live stay what they were.
    pub fn in_place_of(&self, before: &Self) -> Arc<Self> {
        before.users.take_over(&self.users);
        let (was, is) = (before.keys.load_full(), self.keys.load_full());
        let is_new = self.has_own_key && was.current.public_jwk() != is.current.public_jwk();
        let keys = Keys {
            current: Arc::clone(if is_new { &is.current } else { &was.current }),
            previous: if is_new { Some(Arc::clone(&was.current)) } else { was.previous.clone() },
        };
        Arc::new(Self {
            issuer: before.issuer.clone(),
            base: before.base.clone(),
            cookies: before.cookies.clone(),
            users: Arc::clone(&before.users),
            clients: self.clients.clone(),
            keys: ArcSwap::from_pointee(keys),
            has_own_key: self.has_own_key,
            form_key: before.form_key.clone(),
            grants: Arc::clone(&before.grants),
            sessions: Arc::clone(&before.sessions),
            devices: Arc::clone(&before.devices),
            #[cfg(feature = "saml")]
            saml: self.saml.as_ref().map(|saml| saml.in_place_of(before.saml.as_ref())),
            lifetimes: before.lifetimes,
            clock: Arc::clone(&before.clock),
        })
    }

    /// The issuer, to the letter as tokens have it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs with a new key from now on, and returns its PEM. The key before stays published, for the tokens it signed.
    ///
    /// # Errors
    /// [`JoseError`] where no key can be made.
    pub fn rotate(&self) -> Result<Secret, JoseError> {
        let (signer, pem) = Signer::generate()?;
        let before = Arc::clone(&self.keys.load().current);
        self.keys.store(Arc::new(Keys { current: Arc::new(signer), previous: Some(before) }));
        Ok(pem)
    }

    /// The URL of one of our paths.
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.trim_end_matches('/'))
    }
}

#[async_trait]
impl Handler for OpenIdProvider {
    async fn handle(&self, connection: &Connection, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix(&self.base).unwrap_or_default().to_owned();
        let Some(endpoint) = Endpoint::at(&path) else {
            return pages::not_found();
        };
        if !endpoint.methods().contains(&head.method) {
            return not_allowed(endpoint.methods());
        }
        let asked = match Asked::read(connection.peer.ip(), head, body, self.clock.now()).await {
            Ok(asked) => asked,
            Err(problem) if endpoint.has_pages() => {
                return pages::refusal(&format!("The address is wrong: {problem}."));
            }
            Err(problem) => {
                let answer =
                    serde_json::json!({ "error": "invalid_request", "error_description": problem.to_string() });
                return json(StatusCode::BAD_REQUEST, &answer);
            }
        };
        match endpoint {
            Endpoint::Discovery => self.discovery(),
            Endpoint::Keys => self.public_keys(),
            Endpoint::Authorize => self.authorize(&asked),
            Endpoint::SignIn => self.sign_in(&asked).await,
            Endpoint::Token => self.token(&asked),
            Endpoint::Revoke => self.revoke(&asked),
            Endpoint::UserInfo => self.userinfo(&asked),
            Endpoint::SignOut => self.sign_out(&asked),
            Endpoint::DeviceAuthorization => self.device_authorization(&asked),
            Endpoint::Device => self.device(&asked),
            #[cfg(feature = "saml")]
            Endpoint::Saml(endpoint) => match &self.saml {
                Some(saml) => self.saml(saml, endpoint, &asked).await,
                None => pages::not_found(),
            },
        }
    }
}

impl fmt::Debug for OpenIdProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenIdProvider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Discovery,
    Keys,
    Authorize,
    SignIn,
    Token,
    Revoke,
    UserInfo,
    SignOut,
    DeviceAuthorization,
    Device,
    #[cfg(feature = "saml")]
    Saml(saml::SamlEndpoint),
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/.well-known/openid-configuration" => Self::Discovery,
            "/keys" => Self::Keys,
            "/authorize" => Self::Authorize,
            "/sign-in" => Self::SignIn,
            "/token" => Self::Token,
            "/revoke" => Self::Revoke,
            "/userinfo" => Self::UserInfo,
            "/sign-out" => Self::SignOut,
            "/device-authorization" => Self::DeviceAuthorization,
            "/device" => Self::Device,
            #[cfg(feature = "saml")]
            path => return saml::SamlEndpoint::at(path).map(Self::Saml),
            #[cfg(not(feature = "saml"))]
            _ => return None,
        })
    }

    fn methods(self) -> &'static [Method] {
        match self {
            Self::Discovery | Self::Keys => &[Method::GET],
            Self::Authorize | Self::UserInfo | Self::SignOut | Self::Device => &[Method::GET, Method::POST],
            Self::SignIn | Self::Token | Self::Revoke | Self::DeviceAuthorization => &[Method::POST],
            #[cfg(feature = "saml")]
            Self::Saml(endpoint) => endpoint.methods(),
        }
    }

    fn has_pages(self) -> bool {
        #[cfg(feature = "saml")]
        if matches!(self, Self::Saml(_)) {
            return true;
        }
        matches!(self, Self::Authorize | Self::SignIn | Self::SignOut | Self::Device)
    }
}

fn not_allowed(methods: &[Method]) -> Response {
    let allowed = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, &serde_json::json!({ "error": "method_not_allowed" }));
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// The issuer as text and the path below which it answers.
fn place(issuer: &Url) -> Result<(String, String), &'static str> {
    let Some(host) = issuer.host() else { return Err("must have a host") };
    if issuer.scheme() != "https" && !(issuer.scheme() == "http" && is_loopback(&host)) {
        return Err("must be https, or http on this machine: passwords would travel in the clear");
    }
    // OpenID Connect Discovery §3
    if issuer.query().is_some() || issuer.fragment().is_some() || !issuer.username().is_empty() {
        return Err("must not have a user, a query or a fragment");
    }
    // a bare host is written without the slash that `Url` adds, as everyone does
    let text = if issuer.path() == "/" { issuer.as_str().trim_end_matches('/') } else { issuer.as_str() };
    Ok((text.to_owned(), issuer.path().trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests;

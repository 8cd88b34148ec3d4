//! Metadata (SAML-Metadata 2.0): what a party says of itself, read as strictly as its messages; and what we say of us.

use std::time::SystemTime;

use roxmltree::Node;

mod of_us;

pub use of_us::{PartyOf, ProviderOf};

use super::decrypt::DecryptionKey;
use super::guard::Guarded;
use super::key::{Certificate, SigningKey};
use super::names::{DSIG, METADATA, POST, PROTOCOL, REDIRECT};
use super::reason::{Reason, Refused};
use super::verify::{Trust, verify};
use super::{guard, tree};

/// What one entity says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// Its entity ID.
    pub entity_id: String,
    /// Until when it may be believed.
    pub valid_until: Option<SystemTime>,
    /// As an identity provider.
    pub provider: Option<Provider>,
    /// As a service provider.
    pub party: Option<Party>,
}

/// An identity provider. There is always a certificate: one without is refused, as nothing it signs could be verified
/// (threats 0.1).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Provider {
    /// What its signatures are verified by: several while it changes its key.
    pub certificates: Vec<Certificate>,
    /// Where requests to sign somebody in go.
    pub sign_on: Vec<Endpoint>,
    /// Where logout messages go.
    pub logout: Vec<Endpoint>,
    /// Whether requests must be signed.
    pub wants_signed_requests: bool,
}

/// A service provider.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Party {
    /// What its signatures are verified by; none where it signs nothing.
    pub certificates: Vec<Certificate>,
    /// What assertions to it are encrypted to.
    pub encryption: Vec<Certificate>,
    /// Where Responses may go.
    pub consumers: Vec<Endpoint>,
    /// Where logout messages go.
    pub logout: Vec<Endpoint>,
    /// Whether its requests are signed.
    pub signs_requests: bool,
    /// Whether it wants the assertion itself signed.
    pub wants_signed_assertions: bool,
}

/// An address, and how to send there.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Endpoint {
    /// By which binding.
    pub binding: Binding,
    /// The address.
    pub location: String,
    /// Where answers go, where that is another address.
    pub response_location: Option<String>,
    /// Its number among several.
    pub index: Option<u16>,
    /// Whether it is meant where none is named.
    pub is_default: bool,
}

/// The bindings that we speak; addresses of others are left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// By the query of a redirect.
    Redirect,
    /// By a form.
    Post,
}

/// Why metadata is not taken over. The last good one is to be kept.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It is not in the form it should be, or not signed as configured.
    #[error("the metadata is refused")]
    Refused(#[from] Refused),
    /// It speaks of others.
    #[error("the metadata has no entity `{0}`")]
    NoEntity(String),
    /// It speaks of several, and none was named.
    #[error("the metadata has {0} entities; name the one that is meant")]
    Several(usize),
    /// Its time is over.
    #[error("the metadata has expired")]
    Expired,
    /// An identity provider without a certificate: nothing it signs could be verified.
    #[error("the metadata names no usable certificate that the identity provider signs by")]
    NoCertificate,
    /// An identity provider that nobody can be sent to.
    #[error("the metadata names no address to sign in at, by redirect or POST")]
    NoEndpoint,
}

/// Where the signature on metadata is to be by one of these certificates, and whom it is to be of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pinned<'a> {
    /// The entity; the only one where none is named.
    pub entity_id: Option<&'a str>,
    /// Who signs the metadata; where it is empty, a signature is not looked at.
    pub certificates: &'a [Certificate],
}

impl Metadata {
    /// Reads metadata of a file or an address. Blocks where a signature is verified.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn read(bytes: &[u8], pinned: Pinned<'_>, now: SystemTime) -> Result<Self, MetadataError> {
        // files that were saved on Windows begin so
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = if pinned.certificates.is_empty() {
            Guarded::new(bytes, guard::Kind::Metadata)?.into_text()
        } else {
            let guarded = Guarded::signed_metadata(bytes).map_err(Refused::from)?;
            let trust = Trust { certificates: pinned.certificates.to_vec(), ..Trust::default() };
            verify(guarded, &trust)?.signed_xml().to_owned()
        };
        let document = tree::parse(&text).map_err(Refused::from)?;
        let entity = entity(document.root_element(), pinned.entity_id)?;
        let role = |name| {
            let mut roles = tree::all(entity, METADATA, name);
            // §2.4.1: a role for SAML 2.0 says so
            roles.find(|role| {
                let protocols = tree::attribute(*role, "protocolSupportEnumeration").unwrap_or_default();
                protocols.split_ascii_whitespace().any(|protocol| protocol == PROTOCOL)
            })
        };
        let (provider, party) = (role("IDPSSODescriptor"), role("SPSSODescriptor"));
        // an aggregate's time is its members', too; and a role may have one of its own (§2.4.1)
        let mut valid_until: Option<SystemTime> = None;
        for node in entity.ancestors().filter(Node::is_element).chain(provider).chain(party) {
            let until = tree::time(node, "validUntil").map_err(Refused::from)?;
            valid_until = valid_until.into_iter().chain(until).min();
        }
        if valid_until.is_some_and(|until| now >= until) {
            return Err(MetadataError::Expired);
        }
        Ok(Self {
            entity_id: tree::attribute(entity, "entityID").unwrap_or_default().to_owned(),
            valid_until,
            provider: provider.map(Provider::read).transpose()?,
            party: party.map(Party::read),
        })
    }
}

fn entity<'a, 'i>(root: Node<'a, 'i>, wanted: Option<&str>) -> Result<Node<'a, 'i>, MetadataError> {
    let all = || root.descendants().filter(|node| tree::is(*node, METADATA, "EntityDescriptor"));
    let mut found = all().filter(|node| {
        let id = tree::attribute(*node, "entityID").unwrap_or_default();
        wanted.map_or(!id.is_empty(), |wanted| wanted == id)
    });
    match (found.next(), found.next()) {
        (Some(entity), None) => Ok(entity),
        (None, _) => Err(MetadataError::NoEntity(wanted.unwrap_or_default().to_owned())),
        _ => Err(MetadataError::Several(all().count())),
    }
}

impl Provider {
    fn read(role: Node<'_, '_>) -> Result<Self, MetadataError> {
        let certificates = certificates(role, "signing");
        if certificates.is_empty() {
            return Err(MetadataError::NoCertificate);
        }
        let sign_on = endpoints(role, "SingleSignOnService");
        if sign_on.is_empty() {
            return Err(MetadataError::NoEndpoint);
        }
        let logout = endpoints(role, "SingleLogoutService");
        Ok(Self { certificates, sign_on, logout, wants_signed_requests: is_set(role, "WantAuthnRequestsSigned") })
    }

    /// The address to send somebody to, by redirect where there is one.
    pub fn sign_on(&self) -> Option<&Endpoint> {
        Endpoint::best(&self.sign_on)
    }

    /// The address for logout messages, by redirect where there is one.
    pub fn logout(&self) -> Option<&Endpoint> {
        Endpoint::best(&self.logout)
    }
}

impl Party {
    fn read(role: Node<'_, '_>) -> Self {
        Self {
            certificates: certificates(role, "signing"),
            encryption: certificates(role, "encryption"),
            consumers: endpoints(role, "AssertionConsumerService"),
            logout: endpoints(role, "SingleLogoutService"),
            signs_requests: is_set(role, "AuthnRequestsSigned"),
            wants_signed_assertions: is_set(role, "WantAssertionsSigned"),
        }
    }

    /// Where the answer to a request goes: the address it names, or the number, where that is registered; the default one
    /// where it names none. `None` for an address of its own, however good its signature (A7).
    pub fn consumer(&self, url: Option<&str>, index: Option<u16>) -> Option<&Endpoint> {
        let mut posts = self.consumers.iter().filter(|consumer| consumer.binding == Binding::Post);
        match (url, index) {
            (Some(url), _) => posts.find(|consumer| consumer.location == url),
            (None, Some(index)) => posts.find(|consumer| consumer.index == Some(index)),
            (None, None) => posts.clone().find(|consumer| consumer.is_default).or_else(|| posts.next()),
        }
    }
}

impl Endpoint {
    fn best(all: &[Self]) -> Option<&Self> {
        all.iter().find(|endpoint| endpoint.binding == Binding::Redirect).or_else(|| all.first())
    }

    /// Where an answer goes.
    pub fn answers_to(&self) -> &str {
        self.response_location.as_deref().unwrap_or(&self.location)
    }
}

/// The certificates for that use; a KeyDescriptor without a use is for both (§2.4.1.1). Those that can't be used (small
/// keys, other algorithms) are passed over: a provider may have them for others.
fn certificates(role: Node<'_, '_>, usage: &str) -> Vec<Certificate> {
    let descriptors = tree::all(role, METADATA, "KeyDescriptor");
    let descriptors = descriptors.filter(|node| tree::attribute(*node, "use").is_none_or(|found| found == usage));
    let infos = descriptors.flat_map(|node| tree::all(node, DSIG, "KeyInfo"));
    let data = infos.flat_map(|node| tree::all(node, DSIG, "X509Data"));
    let texts = data.flat_map(|node| tree::all(node, DSIG, "X509Certificate")).filter_map(tree::text);
    let mut certificates = Vec::new();
    for certificate in texts.filter_map(|text| Certificate::from_base64(&text).ok()) {
        if !certificates.contains(&certificate) && certificates.len() < MOST_CERTIFICATES {
            certificates.push(certificate);
        }
    }
    certificates
}

/// The addresses of that service that we can send to. Only HTTP: a `javascript:` ACS is no address (CVE-2023-45683).
fn endpoints(role: Node<'_, '_>, service: &str) -> Vec<Endpoint> {
    let endpoint = |node: Node<'_, '_>| {
        let binding = match tree::attribute(node, "Binding")? {
            POST => Binding::Post,
            REDIRECT => Binding::Redirect,
            _ => return None,
        };
        let url = |name| {
            let url = url::Url::parse(tree::attribute(node, name)?).ok()?;
            let is_plain =
                matches!(url.scheme(), "https" | "http") && url.username().is_empty() && url.fragment().is_none();
            if is_plain { tree::attribute(node, name).map(str::to_owned) } else { None }
        };
        Some(Endpoint {
            binding,
            location: url("Location")?,
            response_location: url("ResponseLocation"),
            index: tree::attribute(node, "index").and_then(|index| index.parse().ok()),
            is_default: is_set(node, "isDefault"),
        })
    };
    tree::all(role, METADATA, service).filter_map(endpoint).collect()
}

fn is_set(node: Node<'_, '_>, name: &str) -> bool {
    matches!(tree::attribute(node, name), Some("true" | "1"))
}

impl From<Reason> for MetadataError {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

/// Each is tried on a signature that verifies by none: more than a rollover needs are a cost for nothing.
const MOST_CERTIFICATES: usize = 8;

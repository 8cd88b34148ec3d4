//! Our own metadata, as either side.

use std::time::SystemTime;

use super::{DecryptionKey, SigningKey};
use crate::clock::rfc3339;
use crate::saml::build::fresh_id;
use crate::saml::key::Certificate;
use crate::saml::names::{AES128_GCM, AES256_GCM, OAEP_MGF1_SHA1, POST, PROTOCOL, REDIRECT};
use crate::saml::sign;
use crate::saml::write::Element;

/// Us as a service provider.
#[derive(Clone, Debug)]
pub struct PartyOf<'a> {
    /// Our entity ID.
    pub entity_id: &'a str,
    /// Where Responses go, by POST.
    pub acs_url: &'a str,
    /// Where logout messages go, by redirect and by POST.
    pub logout_url: Option<&'a str>,
    /// What we sign by: the key in use first, and during a rollover the next or the last one.
    pub signing: &'a [&'a Certificate],
    /// What assertions may be encrypted to: the newest first, so that it is taken; the one before still opens.
    pub encryption: &'a [DecryptionKey],
    /// Whether the assertion itself must be signed; else the Response will do.
    pub wants_signed_assertions: bool,
    /// Until when this may be believed.
    pub valid_until: Option<SystemTime>,
}

/// Us as an identity provider.
#[derive(Clone, Debug)]
pub struct ProviderOf<'a> {
    /// Our entity ID.
    pub entity_id: &'a str,
    /// Where requests go, by redirect and by POST.
    pub sign_on_url: &'a str,
    /// Where logout messages go, by redirect and by POST.
    pub logout_url: Option<&'a str>,
    /// What we sign by: the key in use first.
    pub signing: &'a [&'a Certificate],
    /// Whether requests must be signed.
    pub wants_signed_requests: bool,
    /// The kinds of names we give.
    pub name_id_formats: &'a [&'a str],
    /// Until when this may be believed.
    pub valid_until: Option<SystemTime>,
}

impl PartyOf<'_> {
    /// The document, signed where there is a key for that. `None` where the library can't sign.
    pub fn write(&self, signed_by: Option<&SigningKey>) -> Option<String> {
        let consumer =
            endpoint("md:AssertionConsumerService", POST, self.acs_url).with("index", "0").with("isDefault", "true");
        let encryption = self.encryption.iter().map(|key| {
            let methods = [AES256_GCM, AES128_GCM, OAEP_MGF1_SHA1];
            let methods = methods.map(|name| Element::new("md:EncryptionMethod").with("Algorithm", name));
            key_descriptor("encryption", key.certificate()).children(methods)
        });
        // §2.4.2, §2.4.4: the schema has them in this order
        let role = Element::new("md:SPSSODescriptor")
            .with("protocolSupportEnumeration", PROTOCOL)
            .with("AuthnRequestsSigned", (!self.signing.is_empty()).to_string())
            .with("WantAssertionsSigned", self.wants_signed_assertions.to_string())
            .children(self.signing.iter().map(|certificate| key_descriptor("signing", certificate)))
            .children(encryption)
            .children(logout(self.logout_url))
            .child(consumer);
        entity(self.entity_id, self.valid_until, role, signed_by)
    }
}

impl ProviderOf<'_> {
    /// The document, signed where there is a key for that. `None` where the library can't sign.
    pub fn write(&self, signed_by: Option<&SigningKey>) -> Option<String> {
        let formats = self.name_id_formats.iter().map(|format| Element::new("md:NameIDFormat").text(*format));
        let role = Element::new("md:IDPSSODescriptor")
            .with("protocolSupportEnumeration", PROTOCOL)
            .with("WantAuthnRequestsSigned", self.wants_signed_requests.to_string())
            .children(self.signing.iter().map(|certificate| key_descriptor("signing", certificate)))
            .children(logout(self.logout_url))
            .children(formats)
            .children([REDIRECT, POST].map(|binding| endpoint("md:SingleSignOnService", binding, self.sign_on_url)));
        entity(self.entity_id, self.valid_until, role, signed_by)
    }
}

fn entity(id: &str, until: Option<SystemTime>, role: Element, signed_by: Option<&SigningKey>) -> Option<String> {
    let entity = Element::new("md:EntityDescriptor")
        .with("ID", fresh_id())
        .with("entityID", id)
        .with_some("validUntil", until.map(rfc3339))
        .child(role);
    let entity = match signed_by {
        Some(key) => sign::enveloped(entity, key)?,
        None => entity,
    };
    Some(entity.write())
}

fn key_descriptor(usage: &str, certificate: &Certificate) -> Element {
    Element::new("md:KeyDescriptor").with("use", usage).child(sign::key_info(certificate))
}

fn logout(url: Option<&str>) -> Vec<Element> {
    let both = |url| [REDIRECT, POST].map(|binding| endpoint("md:SingleLogoutService", binding, url));
    url.map(both).into_iter().flatten().collect()
}

fn endpoint(name: &'static str, binding: &str, location: &str) -> Element {
    Element::new(name).with("Binding", binding).with("Location", location)
}

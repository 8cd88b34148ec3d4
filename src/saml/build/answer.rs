//! An identity provider's answer: a Response with an assertion, signed here or there or in both places, encrypted or not.

use std::time::{Duration, SystemTime};

use super::{fresh_id, message, name_id, status};
use crate::clock::rfc3339;
use crate::saml::assertion::NameId;
use crate::saml::binding::{Outgoing, Parameter, Unsignable};
use crate::saml::encrypt::{self, Encryption};
use crate::saml::key::{Certificate, SigningKey};
use crate::saml::names::BEARER;
use crate::saml::sign;
use crate::saml::write::Element;

/// A Response (SAML-Core §3.3.3).
#[derive(Clone, Debug)]
pub struct ResponseOf<'a> {
    /// The provider's entity ID.
    pub issuer: &'a str,
    /// The ACS URL it is posted to.
    pub destination: &'a str,
    /// The request it answers.
    pub in_response_to: Option<&'a str>,
    /// What came of it: [`SUCCESS`](crate::saml::SUCCESS) or another status.
    pub status: &'a str,
    /// The second-level status, where there is one.
    pub status_detail: Option<&'a str>,
    /// Whom it signs in; nobody unless it is a success.
    pub assertion: Option<AssertionOf<'a>>,
    /// Now.
    pub at: SystemTime,
}

/// What an assertion says.
#[derive(Clone, Debug)]
pub struct AssertionOf<'a> {
    /// Of whom.
    pub name_id: &'a NameId,
    /// Who may receive it: the ACS URL as a rule.
    pub recipient: &'a str,
    /// Who may believe it: the party's entity ID.
    pub audience: &'a str,
    /// What of them: names and values.
    pub attributes: &'a [(&'a str, Vec<String>)],
    /// The login's name.
    pub session_index: &'a str,
    /// When they proved who they are, and how.
    pub authn_instant: SystemTime,
    /// As a URI.
    pub authn_context: &'a str,
    /// When the login is to end.
    pub session_ends_at: Option<SystemTime>,
    /// How long it can be used from `at` on: minutes.
    pub lives: Duration,
}

/// What of a Response is signed and encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// By this key.
    pub key: &'a SigningKey,
    /// The Response.
    pub response: bool,
    /// The assertion, before it is encrypted.
    pub assertion: bool,
    /// To this RSA certificate.
    pub encrypt: Option<(&'a Certificate, Encryption)>,
}

impl ResponseOf<'_> {
    /// The Response, signed as it shall be: post it by [`Outgoing::as_is`], as it carries its signature already.
    ///
    /// # Errors
    /// [`Unsignable`] where the library fails, or the certificate to encrypt to is not RSA.
    pub fn build(&self, signing: Signing<'_>) -> Result<Outgoing, Unsignable> {
        let mut response = message("samlp:Response", self.issuer, self.destination, self.at)
            .with_some("InResponseTo", self.in_response_to)
            .child(status(self.status, self.status_detail));
        if let Some(assertion) = &self.assertion {
            let mut element = assertion.element(self);
            if signing.assertion {
                element = sign::enveloped(element, signing.key).ok_or(Unsignable)?;
            }
            let element = match signing.encrypt {
                Some((to, how)) => encrypt::assertion(&element.write(), to, how).ok_or(Unsignable)?,
                None => element,
            };
            response = response.child(element);
        }
        if signing.response {
            response = sign::enveloped(response, signing.key).ok_or(Unsignable)?;
        }
        Ok(Outgoing::new(response, Parameter::Response, self.destination))
    }
}

impl AssertionOf<'_> {
    fn element(&self, response: &ResponseOf<'_>) -> Element {
        let until = rfc3339(response.at + self.lives);
        let confirmed = Element::new("saml:SubjectConfirmationData")
            .with("NotOnOrAfter", &*until)
            .with("Recipient", self.recipient)
            .with_some("InResponseTo", response.in_response_to);
        let confirmation = Element::new("saml:SubjectConfirmation").with("Method", BEARER).child(confirmed);
        let audience = Element::new("saml:Audience").text(self.audience);
        let conditions = Element::new("saml:Conditions")
            .with("NotBefore", rfc3339(response.at))
            .with("NotOnOrAfter", until)
            .child(Element::new("saml:AudienceRestriction").child(audience));
        let class = Element::new("saml:AuthnContextClassRef").text(self.authn_context);
        let authn = Element::new("saml:AuthnStatement")
            .with("AuthnInstant", rfc3339(self.authn_instant))
            .with("SessionIndex", self.session_index)
            .with_some("SessionNotOnOrAfter", self.session_ends_at.map(rfc3339))
            .child(Element::new("saml:AuthnContext").child(class));
        let attributes = self.attributes.iter().map(|(name, values)| {
            let values = values.iter().map(|value| Element::new("saml:AttributeValue").text(&**value));
            Element::new("saml:Attribute").with("Name", *name).children(values)
        });
        let statement = Element::new("saml:AttributeStatement").children(attributes);
        Element::new("saml:Assertion")
            .with("ID", fresh_id())
            .with("Version", "2.0")
            .with("IssueInstant", rfc3339(response.at))
            .child(Element::new("saml:Issuer").text(response.issuer))
            .child(Element::new("saml:Subject").child(name_id(self.name_id)).child(confirmation))
            .child(conditions)
            .child(authn)
            .children((!self.attributes.is_empty()).then_some(statement))
    }
}

//! Messages of ours: requests as a service provider, answers as either side.

use std::time::{Duration, SystemTime};

mod answer;

pub use answer::{AssertionOf, ResponseOf, Signing};

use super::assertion::NameId;
use super::binding::{Outgoing, Parameter};
use super::names::{POST, SUCCESS};
use super::write::Element;
use crate::clock::rfc3339;
use crate::secret::random_token;

/// A request to sign somebody in (SAML-Core §3.4.1). The answer comes by POST.
#[derive(Clone, Debug)]
pub struct AuthnRequest<'a> {
    /// Our entity ID.
    pub issuer: &'a str,
    /// The provider's address for it.
    pub destination: &'a str,
    /// Where the answer goes.
    pub acs_url: &'a str,
    /// Whether they must prove themselves anew.
    pub force_authn: bool,
    /// Whether they must not be asked anything.
    pub is_passive: bool,
    /// The kind of name that is wanted.
    pub name_id_format: Option<&'a str>,
    /// One of these ways of proof is wanted, exactly; any where it is empty.
    pub authn_contexts: &'a [&'a str],
    /// Now.
    pub at: SystemTime,
}

/// A request to end a login (SAML-Core §3.7.1).
#[derive(Clone, Debug)]
pub struct LogoutRequest<'a> {
    /// Our entity ID.
    pub issuer: &'a str,
    /// The other side's address for it.
    pub destination: &'a str,
    /// Whose login, by the name that the assertion had.
    pub name_id: &'a NameId,
    /// Which logins of theirs; all where it is empty.
    pub session_indexes: &'a [&'a str],
    /// Now.
    pub at: SystemTime,
}

/// The answer to a request to end a login (SAML-Core §3.7.2).
#[derive(Clone, Debug)]
pub struct LogoutResponse<'a> {
    /// Our entity ID.
    pub issuer: &'a str,
    /// The other side's address for it.
    pub destination: &'a str,
    /// The request's ID.
    pub in_response_to: &'a str,
    /// What came of it: [`SUCCESS`] or another status.
    pub status: &'a str,
    /// Now.
    pub at: SystemTime,
}

/// An ID of 160 random bits, which is a name as XML has them (SAML-Core §1.3.4 wants 128).
pub fn fresh_id() -> String {
    format!("_{}", random_token(20))
}

impl AuthnRequest<'_> {
    /// The request; its ID is to be kept with the browser that is sent with it.
    pub fn build(&self) -> Outgoing {
        let is_set = |set: bool| set.then_some("true");
        let policy =
            Element::new("samlp:NameIDPolicy").with("AllowCreate", "true").with_some("Format", self.name_id_format);
        let wanted = self.authn_contexts.iter().map(|class| Element::new("saml:AuthnContextClassRef").text(*class));
        let contexts = Element::new("samlp:RequestedAuthnContext").with("Comparison", "exact").children(wanted);
        let element = message("samlp:AuthnRequest", self.issuer, self.destination, self.at)
            .with("AssertionConsumerServiceURL", self.acs_url)
            .with("ProtocolBinding", POST)
            .with_some("ForceAuthn", is_set(self.force_authn))
            .with_some("IsPassive", is_set(self.is_passive))
            .child(policy)
            .children((!self.authn_contexts.is_empty()).then_some(contexts));
        Outgoing::new(element, Parameter::Request, self.destination)
    }
}

impl LogoutRequest<'_> {
    /// The request; an answer names its ID.
    pub fn build(&self) -> Outgoing {
        let indexes = self.session_indexes.iter().map(|index| Element::new("samlp:SessionIndex").text(*index));
        let element = message("samlp:LogoutRequest", self.issuer, self.destination, self.at)
            .with("NotOnOrAfter", rfc3339(self.at + LOGOUT_LIVES))
            .child(name_id(self.name_id))
            .children(indexes);
        Outgoing::new(element, Parameter::Request, self.destination)
    }
}

impl LogoutResponse<'_> {
    /// The answer.
    pub fn build(&self) -> Outgoing {
        let element = message("samlp:LogoutResponse", self.issuer, self.destination, self.at)
            .with("InResponseTo", self.in_response_to)
            .child(status(self.status, None));
        Outgoing::new(element, Parameter::Response, self.destination)
    }
}

/// What all messages have (SAML-Core §3.2.1, §3.2.2).
fn message(name: &'static str, issuer: &str, destination: &str, at: SystemTime) -> Element {
    Element::new(name)
        .with("ID", fresh_id())
        .with("Version", "2.0")
        .with("IssueInstant", rfc3339(at))
        .with("Destination", destination)
        .child(Element::new("saml:Issuer").text(issuer))
}

fn status(code: &str, detail: Option<&str>) -> Element {
    let status_code = |value: &str| Element::new("samlp:StatusCode").with("Value", value);
    let code = status_code(if code.is_empty() { SUCCESS } else { code });
    Element::new("samlp:Status").child(code.children(detail.map(status_code)))
}

fn name_id(name: &NameId) -> Element {
    Element::new("saml:NameID")
        .with_some("Format", name.format.as_deref())
        .with_some("NameQualifier", name.name_qualifier.as_deref())
        .with_some("SPNameQualifier", name.sp_name_qualifier.as_deref())
        .text(&*name.value)
}

/// A browser takes it there at once, or not at all.
const LOGOUT_LIVES: Duration = Duration::from_secs(300);

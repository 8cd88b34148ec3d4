//! What a verified Response must say before it counts: for us, now, in answer to us (SAML-Profiles §4.1.4.3, SAML-Core
//! §2.5). A signature says who wrote it, and no more.

use std::time::{Duration, SystemTime};

use roxmltree::Node;

use super::assertion::{Assertion, NameId, Once, attributes};
use super::guard::Kind;
use super::names::{ASSERTION, BEARER, ENTITY, PROTOCOL, SUCCESS};
use super::reason::{Reason, Refused, shown};
use super::tree;
use super::verify::Verified;

/// What is expected of a Response. Texts are compared whole: no prefixes, no cases, no trailing slashes.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The provider's entity ID.
    pub issuer: &'a str,
    /// The address it was sent to, where it is known: the ACS URL. `None` is for who is no party of the browser's exchange
    /// (an STS that is given the Response later).
    pub destination: Option<&'a str>,
    /// Who may be meant to receive the assertion: the ACS URL; AWS's sign-in where the source is configured for it.
    pub recipients: &'a [&'a str],
    /// Who may be meant to believe it: our entity ID.
    pub audiences: &'a [&'a str],
    /// The request that it answers.
    pub answer: Answer<'a>,
    /// One of these ways of proving who they are; any way where it is empty.
    pub authn_contexts: &'a [&'a str],
    /// The time.
    pub now: SystemTime,
    /// How far the provider's clock may be off: [`SKEW`].
    pub skew: Duration,
}

/// Whether somebody asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer<'a> {
    /// It must answer this request, which this browser began.
    To(&'a str),
    /// It must answer none (IdP-initiated). By opt-in: whoever has a Response can have another's browser post it.
    Unsolicited,
    /// It may answer any: an STS does not know whose request it was.
    Any,
}

/// Clocks of parties that keep time are less apart than this.
pub const SKEW: Duration = Duration::from_secs(60);

impl Verified {
    /// The assertion in it, where everything is as expected. It still counts but once: see [`Assertion::once`].
    ///
    /// # Errors
    /// [`Reason::Status`], [`Reason::Mismatch`], [`Reason::Missing`], [`Reason::Time`].
    pub fn accept(&self, expected: &Expected<'_>) -> Result<Assertion, Refused> {
        if self.kind() != Kind::Response {
            return Err(Reason::Missing("assertion").into());
        }
        let whole = tree::parse(self.whole())?;
        response(whole.root_element(), expected)?;
        // who it is comes from what was signed, and from nothing else (A15)
        let signed = tree::parse(self.signed_xml())?;
        let root = signed.root_element();
        let assertion =
            if tree::is(root, ASSERTION, "Assertion") { Some(root) } else { tree::one(root, ASSERTION, "Assertion") };
        Ok(accept(assertion.ok_or(Reason::Missing("assertion"))?, expected)?)
    }
}

/// The Response around it. Where that is not signed these are no proofs; an honest one passes them all the same.
fn response(root: Node<'_, '_>, expected: &Expected<'_>) -> Result<(), Reason> {
    if !tree::is(root, PROTOCOL, "Response") {
        return Err(Reason::Missing("Response"));
    }
    let code = tree::one(root, PROTOCOL, "Status").and_then(|status| tree::one(status, PROTOCOL, "StatusCode"));
    let code = code.ok_or(Reason::Missing("Status"))?;
    let value = tree::attribute(code, "Value").unwrap_or_default();
    if value != SUCCESS {
        let detail = tree::one(code, PROTOCOL, "StatusCode").and_then(|code| tree::attribute(code, "Value"));
        return Err(Reason::Status { code: shown(value), detail: detail.map(shown) });
    }
    if let Some(issuer) = tree::one(root, ASSERTION, "Issuer") {
        is_issuer(issuer, expected.issuer)?;
    }
    if let Some(destination) = expected.destination {
        must_be("Destination", tree::attribute(root, "Destination"), &[destination])?;
    }
    answers("InResponseTo of the Response", tree::attribute(root, "InResponseTo"), expected.answer)?;
    let issued = tree::time(root, "IssueInstant")?.ok_or(Reason::Missing("IssueInstant"))?;
    has_come(issued, "IssueInstant of the Response", expected)
}

fn accept(assertion: Node<'_, '_>, expected: &Expected<'_>) -> Result<Assertion, Reason> {
    let id = tree::attribute(assertion, "ID").ok_or(Reason::Missing("ID"))?;
    let issuer = tree::one(assertion, ASSERTION, "Issuer").ok_or(Reason::Missing("Issuer"))?;
    is_issuer(issuer, expected.issuer)?;
    let issued_at = tree::time(assertion, "IssueInstant")?.ok_or(Reason::Missing("IssueInstant"))?;
    has_come(issued_at, "IssueInstant", expected)?;
    let audience = conditions(assertion, expected)?;
    let subject = tree::one(assertion, ASSERTION, "Subject").ok_or(Reason::Missing("Subject"))?;
    let name_id = NameId::read(tree::one(subject, ASSERTION, "NameID").ok_or(Reason::Missing("NameID"))?)?;
    let confirmed = confirmation(subject, expected)?;
    let statement = tree::one(assertion, ASSERTION, "AuthnStatement").ok_or(Reason::Missing("one AuthnStatement"))?;
    let authn_instant = tree::time(statement, "AuthnInstant")?.ok_or(Reason::Missing("AuthnInstant"))?;
    has_come(authn_instant, "AuthnInstant", expected)?;
    let session_ends_at = tree::time(statement, "SessionNotOnOrAfter")?;
    if session_ends_at.is_some_and(|ends| expected.now >= ends) {
        return Err(Reason::Time("SessionNotOnOrAfter"));
    }
    let context = tree::one(statement, ASSERTION, "AuthnContext");
    let class = context.and_then(|context| tree::one(context, ASSERTION, "AuthnContextClassRef"));
    let authn_context = class.and_then(tree::trimmed);
    if !expected.authn_contexts.is_empty() {
        must_be("AuthnContextClassRef", authn_context.as_deref(), expected.authn_contexts)?;
    }
    Ok(Assertion {
        issuer: expected.issuer.to_owned(),
        name_id,
        attributes: attributes(assertion)?,
        session_index: tree::attribute(statement, "SessionIndex").map(str::to_owned),
        authn_instant,
        authn_context,
        session_ends_at,
        in_response_to: confirmed.in_response_to,
        recipient: confirmed.recipient,
        audience,
        issued_at,
        once: Once { id: id.to_owned(), until: confirmed.until + expected.skew },
    })
}

/// SAML-Core §2.5.1: they must be there, every one known and met. The audience that is ours.
fn conditions(assertion: Node<'_, '_>, expected: &Expected<'_>) -> Result<String, Reason> {
    let conditions = tree::one(assertion, ASSERTION, "Conditions").ok_or(Reason::Missing("Conditions"))?;
    if let Some(from) = tree::time(conditions, "NotBefore")? {
        has_come(from, "NotBefore", expected)?;
    }
    if let Some(until) = tree::time(conditions, "NotOnOrAfter")? {
        is_ahead(until, "NotOnOrAfter", expected)?;
    }
    let mut ours = None;
    for condition in tree::elements(conditions) {
        if tree::is(condition, ASSERTION, "AudienceRestriction") {
            // one of its audiences; of several restrictions, each
            let audiences = tree::all(condition, ASSERTION, "Audience").filter_map(tree::trimmed);
            let mut audiences = audiences.peekable();
            let first = audiences.peek().cloned().unwrap_or_default();
            let found = audiences.find(|audience| expected.audiences.contains(&audience.as_str()));
            ours = Some(found.ok_or_else(|| Reason::mismatch("Audience", &first))?);
        } else if !tree::is(condition, ASSERTION, "OneTimeUse") && !tree::is(condition, ASSERTION, "ProxyRestriction") {
            // §2.5.1.1: one that is not understood makes the assertion indeterminate
            return Err(Reason::structure("there is the unknown condition", condition.tag_name().name()));
        }
    }
    ours.ok_or(Reason::Missing("AudienceRestriction"))
}

struct Confirmed {
    until: SystemTime,
    recipient: String,
    in_response_to: Option<String>,
}

/// SAML-Profiles §4.1.4.2: at least one bearer confirmation that holds. The reason is the last one's.
fn confirmation(subject: Node<'_, '_>, expected: &Expected<'_>) -> Result<Confirmed, Reason> {
    let mut why = Reason::Missing("bearer SubjectConfirmation");
    for confirmation in tree::all(subject, ASSERTION, "SubjectConfirmation") {
        if tree::attribute(confirmation, "Method") != Some(BEARER) {
            continue;
        }
        match bearer(confirmation, expected) {
            Ok(confirmed) => return Ok(confirmed),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn bearer(confirmation: Node<'_, '_>, expected: &Expected<'_>) -> Result<Confirmed, Reason> {
    let data = tree::one(confirmation, ASSERTION, "SubjectConfirmationData");
    let data = data.ok_or(Reason::Missing("SubjectConfirmationData"))?;
    // CVE-2026-1190: this one is as good as the one in the conditions
    let until =
        tree::time(data, "NotOnOrAfter")?.ok_or(Reason::Missing("NotOnOrAfter of the SubjectConfirmationData"))?;
    is_ahead(until, "NotOnOrAfter of the SubjectConfirmationData", expected)?;
    if let Some(from) = tree::time(data, "NotBefore")? {
        has_come(from, "NotBefore of the SubjectConfirmationData", expected)?;
    }
    let recipient = must_be("Recipient", tree::attribute(data, "Recipient"), expected.recipients)?.to_owned();
    let in_response_to = tree::attribute(data, "InResponseTo");
    answers("InResponseTo of the SubjectConfirmationData", in_response_to, expected.answer)?;
    Ok(Confirmed { until, recipient, in_response_to: in_response_to.map(str::to_owned) })
}

fn answers(what: &'static str, found: Option<&str>, expected: Answer<'_>) -> Result<(), Reason> {
    match (expected, found) {
        (Answer::Any, _) | (Answer::Unsolicited, None) => Ok(()),
        (Answer::To(id), Some(found)) if id == found => Ok(()),
        (Answer::To(_), None) => Err(Reason::Missing(what)),
        (_, Some(found)) => Err(Reason::mismatch(what, found)),
    }
}

fn is_issuer(node: Node<'_, '_>, expected: &str) -> Result<(), Reason> {
    // SAML-Profiles §4.1.4.2
    if let Some(format) = tree::attribute(node, "Format").filter(|format| *format != ENTITY) {
        return Err(Reason::mismatch("Format of the Issuer", format));
    }
    must_be("Issuer", tree::trimmed(node).as_deref(), &[expected]).map(drop)
}

fn must_be<'f>(what: &'static str, found: Option<&'f str>, one_of: &[&str]) -> Result<&'f str, Reason> {
    match found {
        Some(found) if one_of.contains(&found) => Ok(found),
        Some(found) => Err(Reason::mismatch(what, found)),
        None => Err(Reason::Missing(what)),
    }
}

fn has_come(at: SystemTime, what: &'static str, expected: &Expected<'_>) -> Result<(), Reason> {
    if at > expected.now + expected.skew { Err(Reason::Time(what)) } else { Ok(()) }
}

fn is_ahead(until: SystemTime, what: &'static str, expected: &Expected<'_>) -> Result<(), Reason> {
    if expected.now >= until + expected.skew { Err(Reason::Time(what)) } else { Ok(()) }
}

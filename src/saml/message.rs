//! Requests and logout messages of others: what they say once they are verified.

use std::time::{Duration, SystemTime};

use roxmltree::Node;

use super::assertion::NameId;
use super::guard::{Guarded, Kind};
use super::names::{ASSERTION, PROTOCOL};
use super::reason::{Reason, Refused};
use super::tree;
use super::verify::Verified;

/// What is expected of any message that is not a Response with an assertion.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedMessage<'a> {
    /// The other side's entity ID.
    pub issuer: &'a str,
    /// Our address, which it was sent to.
    pub destination: &'a str,
    /// The time.
    pub now: SystemTime,
    /// How far the other side's clock may be off.
    pub skew: Duration,
}

/// A request to sign somebody in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Requested {
    /// Its ID, which the answer names.
    pub id: String,
    /// Where the answer is wanted: to be found among the addresses that the party has registered, or refused.
    pub acs_url: Option<String>,
    /// The number of a registered address, where it names one so.
    pub acs_index: Option<u16>,
    /// How the answer is wanted.
    pub binding: Option<String>,
    /// Whether they must prove themselves anew.
    pub force_authn: bool,
    /// Whether they must not be asked anything.
    pub is_passive: bool,
    /// The kind of name that is wanted.
    pub name_id_format: Option<String>,
    /// The ways of proof that are wanted.
    pub authn_contexts: Vec<String>,
}

/// A request to end a login.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Leaving {
    /// Its ID, which the answer names; it may come once.
    pub id: String,
    /// Whose.
    pub name_id: NameId,
    /// Which of their logins; all where it is empty.
    pub session_indexes: Vec<String>,
    /// Until when it would be accepted again.
    pub until: SystemTime,
}

/// The answer to our request to end a login.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Left {
    /// The request that it answers: one of ours, or it is to be ignored.
    pub in_response_to: String,
    /// What came of it.
    pub status: String,
}

impl Guarded {
    /// Whose message it says to be, to find out by whose certificates to verify it. Nobody's word.
    pub fn claimed_issuer(&self) -> Option<String> {
        let document = tree::parse(self.text()).ok()?;
        let root = document.root_element();
        let inner = || tree::one(tree::one(root, ASSERTION, "Assertion")?, ASSERTION, "Issuer");
        tree::one(root, ASSERTION, "Issuer").or_else(inner).and_then(tree::trimmed)
    }
}

impl Requested {
    /// A request whose signature was verified.
    ///
    /// # Errors
    /// [`Reason::Mismatch`], [`Reason::Missing`], [`Reason::Time`].
    pub fn read(verified: &Verified, expected: &ExpectedMessage<'_>) -> Result<Self, Refused> {
        Ok(Self::of(verified.signed_xml(), verified.kind(), expected)?)
    }

    /// A request that nobody signed, or whose signature nobody asked for: anyone could have written it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn unverified(guarded: &Guarded, expected: &ExpectedMessage<'_>) -> Result<Self, Refused> {
        Ok(Self::of(guarded.text(), guarded.kind(), expected)?)
    }

    fn of(xml: &str, kind: Kind, expected: &ExpectedMessage<'_>) -> Result<Self, Reason> {
        let document = tree::parse(xml)?;
        let root = head(document.root_element(), (kind, Kind::AuthnRequest), expected)?;
        let attribute = |name| tree::attribute(root, name).map(str::to_owned);
        let is_set = |name| matches!(tree::attribute(root, name), Some("true" | "1"));
        let policy = tree::one(root, PROTOCOL, "NameIDPolicy");
        let contexts = tree::one(root, PROTOCOL, "RequestedAuthnContext");
        let classes = contexts.into_iter().flat_map(|node| tree::all(node, ASSERTION, "AuthnContextClassRef"));
        Ok(Self {
            id: attribute("ID").ok_or(Reason::Missing("ID"))?,
            acs_url: attribute("AssertionConsumerServiceURL"),
            acs_index: attribute("AssertionConsumerServiceIndex").and_then(|index| index.parse().ok()),
            binding: attribute("ProtocolBinding"),
            force_authn: is_set("ForceAuthn"),
            is_passive: is_set("IsPassive"),
            name_id_format: policy.and_then(|policy| tree::attribute(policy, "Format")).map(str::to_owned),
            authn_contexts: classes.filter_map(tree::trimmed).collect(),
        })
    }
}

impl Leaving {
    /// A LogoutRequest. There is no way to read one that was not verified (GHSA-pcgw-qcv5-h8ch).
    ///
    /// # Errors
    /// [`Reason::Mismatch`], [`Reason::Missing`], [`Reason::Time`].
    pub fn read(verified: &Verified, expected: &ExpectedMessage<'_>) -> Result<Self, Refused> {
        let document = tree::parse(verified.signed_xml())?;
        let root = head(document.root_element(), (verified.kind(), Kind::LogoutRequest), expected)?;
        let name_id = NameId::read(tree::one(root, ASSERTION, "NameID").ok_or(Reason::Missing("NameID"))?)?;
        let given = tree::time(root, "NotOnOrAfter")?.map(|until| until + expected.skew);
        if given.is_some_and(|until| expected.now >= until) {
            return Err(Reason::Time("NotOnOrAfter").into());
        }
        let issued = tree::time(root, "IssueInstant")?.ok_or(Reason::Missing("IssueInstant"))?;
        let oldest = issued + MESSAGE_LIVES + expected.skew;
        Ok(Self {
            id: tree::attribute(root, "ID").ok_or(Reason::Missing("ID"))?.to_owned(),
            name_id,
            session_indexes: tree::all(root, PROTOCOL, "SessionIndex").filter_map(tree::trimmed).collect(),
            until: given.map_or(oldest, |given| given.min(oldest)),
        })
    }
}

impl Left {
    /// A LogoutResponse.
    ///
    /// # Errors
    /// [`Reason::Mismatch`], [`Reason::Missing`], [`Reason::Time`].
    pub fn read(verified: &Verified, expected: &ExpectedMessage<'_>) -> Result<Self, Refused> {
        let document = tree::parse(verified.signed_xml())?;
        let root = head(document.root_element(), (verified.kind(), Kind::LogoutResponse), expected)?;
        let code = tree::one(root, PROTOCOL, "Status").and_then(|status| tree::one(status, PROTOCOL, "StatusCode"));
        let status = code.and_then(|code| tree::attribute(code, "Value")).ok_or(Reason::Missing("Status"))?;
        let in_response_to = tree::attribute(root, "InResponseTo").ok_or(Reason::Missing("InResponseTo"))?;
        Ok(Self { in_response_to: in_response_to.to_owned(), status: status.to_owned() })
    }
}

/// The root, where issuer, destination and age are as expected.
fn head<'a, 'i>(
    root: Node<'a, 'i>,
    (kind, wanted): (Kind, Kind),
    expected: &ExpectedMessage<'_>,
) -> Result<Node<'a, 'i>, Reason> {
    if kind != wanted {
        return Err(Reason::structure("the message is another:", root.tag_name().name()));
    }
    let issuer = tree::one(root, ASSERTION, "Issuer").and_then(tree::trimmed).ok_or(Reason::Missing("Issuer"))?;
    if issuer != expected.issuer {
        return Err(Reason::mismatch("Issuer", &issuer));
    }
    // SAML-Bindings §3.4.5.2, §3.5.5.2: a signed one says whom it was sent to
    let destination = tree::attribute(root, "Destination").ok_or(Reason::Missing("Destination"))?;
    if destination != expected.destination {
        return Err(Reason::mismatch("Destination", destination));
    }
    let issued = tree::time(root, "IssueInstant")?.ok_or(Reason::Missing("IssueInstant"))?;
    if issued > expected.now + expected.skew || expected.now >= issued + MESSAGE_LIVES + expected.skew {
        return Err(Reason::Time("IssueInstant"));
    }
    Ok(root)
}

/// A browser carries it at once; what is older was kept by somebody.
const MESSAGE_LIVES: Duration = Duration::from_secs(300);

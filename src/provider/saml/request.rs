//! An AuthnRequest: from either binding to one whose party and address are known good, and that can be answered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;

use super::SamlProvider;
use super::party::RelyingParty;
use crate::provider::asked::Asked;
use crate::provider::form::Form;
use crate::saml::{
    ExpectedMessage, Guarded, Kind, Parameter, Reason, Redirected, Refused, Requested, SKEW, Trust, from_post, verify,
    verify_redirect,
};

/// A request that can be answered: its party is registered, and so is the address that the answer goes to.
#[derive(Debug)]
pub(in crate::provider) struct Request {
    pub(in crate::provider) party: Arc<RelyingParty>,
    pub(super) id: String,
    pub(super) acs_url: String,
    pub(super) relay_state: Option<String>,
    pub(super) name_id_format: Option<String>,
    /// The ways of proof that are wanted, with a space between; any where there are none.
    pub(super) contexts: Option<String>,
    pub(super) binding: Option<String>,
    pub(super) force_authn: bool,
    pub(super) is_passive: bool,
}

/// Why a request leads nowhere: a page here, and never a redirect or form to an address that it names (A7).
#[derive(Debug, thiserror::Error)]
pub(in crate::provider) enum Unanswerable {
    #[error("the message is refused")]
    Refused(#[from] Refused),
    #[error("the party is not registered")]
    UnknownParty,
    #[error("the address for the answer is not registered for the party")]
    UnknownAddress,
    #[error("there is no such message")]
    NoMessage,
}

/// The login form leads on to `saml/answer?…`, which is [`Request::text`].
pub(in crate::provider) const ANSWER: &str = "saml/answer";

type Parties = HashMap<Arc<str>, Arc<RelyingParty>>;

impl Request {
    /// Reads what came by redirect (GET) or by form (POST). A request that is signed must be by its party; one that is not
    /// will do where the party does not say that it signs: then it says no more than a link does.
    pub(super) async fn receive(saml: &SamlProvider, asked: &Asked, here: String) -> Result<Self, Unanswerable> {
        let relay_state = asked.form.value("RelayState").map(str::to_owned);
        let (parties, now) = (Arc::clone(&saml.parties), asked.now);
        let read = if asked.head.method == Method::POST {
            let message = asked.form.value("SAMLRequest").ok_or(Unanswerable::NoMessage)?.to_owned();
            saml.workers.run(move || posted(&message, &parties, &here, now)).await
        } else {
            let query = asked.text.clone();
            saml.workers.run(move || redirected(&query, &parties, &here, now)).await
        };
        let (party, requested) = read?.ok_or(Unanswerable::UnknownParty)?;
        let acs_url = registered(&party, requested.acs_url.as_deref(), requested.acs_index)?;
        Ok(Self {
            party,
            id: requested.id,
            acs_url,
            relay_state,
            name_id_format: requested.name_id_format,
            contexts: Some(requested.authn_contexts.join(" ")).filter(|contexts| !contexts.is_empty()),
            binding: requested.binding,
            force_authn: requested.force_authn,
            is_passive: requested.is_passive,
        })
    }

    /// The request as parameters, for the way over a form or redirect of ours, which seals it.
    pub(super) fn text(&self) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.append_pair("party", &self.party.entity_id).append_pair("id", &self.id).append_pair("acs", &self.acs_url);
        let more = [
            ("relay_state", self.relay_state.as_deref()),
            ("format", self.name_id_format.as_deref()),
            ("contexts", self.contexts.as_deref()),
            ("binding", self.binding.as_deref()),
            ("force", self.force_authn.then_some("true")),
            ("passive", self.is_passive.then_some("true")),
        ];
        text.extend_pairs(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        text.finish()
    }

    /// Reads [`Self::text`] back. Who is registered is looked at anew.
    pub(in crate::provider) fn read(form: &Form, saml: &SamlProvider) -> Result<Self, Unanswerable> {
        let text = |name| form.value(name).map(str::to_owned);
        let party = form.value("party").and_then(|id| saml.parties.get(id)).ok_or(Unanswerable::UnknownParty)?;
        Ok(Self {
            party: Arc::clone(party),
            id: text("id").ok_or(Unanswerable::NoMessage)?,
            acs_url: registered(party, Some(form.value("acs").unwrap_or_default()), None)?,
            relay_state: text("relay_state"),
            name_id_format: text("format"),
            contexts: text("contexts"),
            binding: text("binding"),
            force_authn: text("force").is_some(),
            is_passive: text("passive").is_some(),
        })
    }
}

impl Unanswerable {
    /// What the page says.
    pub(in crate::provider) fn shown(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::NoMessage => "The application that sent you here did not ask as it must.",
            Self::UnknownParty => "The application that sent you here is not known.",
            Self::UnknownAddress => {
                "The application that sent you here wants the answer at an address that is not registered for it."
            }
        }
    }
}

/// A7: to the letter, and only where the party's registration has it.
fn registered(party: &RelyingParty, url: Option<&str>, index: Option<u16>) -> Result<String, Unanswerable> {
    let endpoint = party.party.consumer(url, index).ok_or(Unanswerable::UnknownAddress)?;
    Ok(endpoint.location.clone())
}

type Received = Option<(Arc<RelyingParty>, Requested)>;

fn posted(message: &str, parties: &Parties, here: &str, now: SystemTime) -> Result<Received, Refused> {
    let guarded = Guarded::new(&from_post(message)?, Kind::AuthnRequest)?;
    let Some(party) = sender(&guarded, parties) else { return Ok(None) };
    let expected = expected(&party, here, now);
    let is_checked = party.party.signs_requests || (guarded.is_signed() && !party.party.certificates.is_empty());
    let requested = if is_checked {
        Requested::read(&verify(guarded, &trust(&party))?, &expected)?
    } else {
        Requested::unverified(&guarded, &expected)?
    };
    Ok(Some((party, requested)))
}

fn redirected(query: &str, parties: &Parties, here: &str, now: SystemTime) -> Result<Received, Refused> {
    let redirected = Redirected::read(query)?;
    if redirected.parameter != Parameter::Request {
        return Err(Reason::Encoding("it is no request").into());
    }
    let guarded = Guarded::new(redirected.document(), Kind::AuthnRequest)?;
    let Some(party) = sender(&guarded, parties) else { return Ok(None) };
    let expected = expected(&party, here, now);
    let has_signature = query.split('&').any(|pair| pair.starts_with("Signature="));
    let is_checked = party.party.signs_requests || (has_signature && !party.party.certificates.is_empty());
    let requested = if is_checked {
        Requested::read(&verify_redirect(&redirected, Kind::AuthnRequest, &trust(&party))?, &expected)?
    } else {
        Requested::unverified(&guarded, &expected)?
    };
    Ok(Some((party, requested)))
}

pub(super) fn sender(guarded: &Guarded, parties: &Parties) -> Option<Arc<RelyingParty>> {
    parties.get(guarded.claimed_issuer()?.as_str()).map(Arc::clone)
}

pub(super) fn trust(party: &RelyingParty) -> Trust {
    Trust { certificates: party.party.certificates.clone(), ..Trust::default() }
}

pub(super) fn expected<'a>(party: &'a RelyingParty, here: &'a str, now: SystemTime) -> ExpectedMessage<'a> {
    ExpectedMessage { issuer: &party.entity_id, destination: here, now, skew: SKEW }
}

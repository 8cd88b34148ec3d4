//! Single sign-on (SAML-Profiles §4.1): a party asks for someone to sign in, and gets a Response by POST.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use tracing::{error, info, warn};

use super::participation::Participation;
use super::party::Signs;
use super::request::{ANSWER, Request, Unanswerable};
use super::{SamlProvider, post_page, subject};
use crate::clock::epoch_seconds;
use crate::provider::asked::Asked;
use crate::provider::form::Form;
use crate::provider::grants::SignedIn;
use crate::provider::token::claims;
use crate::provider::{OpenIdProvider, pages};
use crate::saml::{AssertionOf, Encryption, NO_PASSIVE, POST, ResponseOf, SUCCESS, Signing, fresh_id};
use crate::telemetry::AUDIT;
use crate::web::{Response, chain, redirect};

/// What a Response says.
enum Outcome<'a> {
    Success(AssertionOf<'a>),
    /// A second-level status (SAML-Core §3.2.2.2).
    Failure(&'static str),
}

impl OpenIdProvider {
    pub(super) async fn saml_sign_on(&self, saml: &SamlProvider, asked: &Asked) -> Response {
        match Request::receive(saml, asked, self.at("/saml/sign-on")).await {
            // a form on another site brings no cookies of ours; the redirect after it does
            Ok(request) if asked.head.method == Method::POST => {
                let (text, until) = (request.text(), (epoch_seconds(asked.now) + GOES_ON_WITHIN.as_secs()).to_string());
                let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.form_key, sealed(&text, &until).as_bytes()));
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.extend_pairs([("request", &text), ("until", &until), ("tag", &tag)]);
                redirect(&self.at(&format!("/{ANSWER}?{}", query.finish())))
            }
            Ok(request) => self.saml_answer(saml, request, asked),
            Err(refused) => self.saml_refuse(&refused, asked),
        }
    }

    /// A request that was posted, on its way over a redirect of ours.
    pub(super) fn saml_go_on(&self, saml: &SamlProvider, asked: &Asked) -> Response {
        let value = |name| asked.form.value(name).unwrap_or_default();
        let (text, until) = (value("request"), value("until"));
        let is_ours = URL_SAFE_NO_PAD
            .decode(value("tag"))
            .is_ok_and(|tag| hmac::verify(&self.form_key, sealed(text, until).as_bytes(), &tag).is_ok());
        let is_now = until.parse().is_ok_and(|until: u64| epoch_seconds(asked.now) < until);
        if !is_ours || !is_now {
            return pages::refusal("This address is out of date.");
        }
        match Form::parse(text.as_bytes()).map_err(|_| Unanswerable::NoMessage).and_then(|f| Request::read(&f, saml)) {
            Ok(request) => self.saml_answer(saml, request, asked),
            Err(refused) => self.saml_refuse(&refused, asked),
        }
    }

    /// Answers for who is signed in, or asks them to.
    fn saml_answer(&self, saml: &SamlProvider, request: Request, asked: &Asked) -> Response {
        match self.session(asked) {
            Some((person, _)) if !request.force_authn => self.saml_grant(saml, &request, &person, asked.now),
            _ if request.is_passive => self.saml_respond(saml, &request, Outcome::Failure(NO_PASSIVE), asked.now),
            _ => self.ask_to_sign_in(asked, &format!("{ANSWER}?{}", request.text()), &request.party.name, ""),
        }
    }

    /// Answers a request for someone who has just signed in.
    pub(in crate::provider) fn saml_signed_in(
        &self,
        request: &Request,
        person: &SignedIn,
        now: SystemTime,
    ) -> Response {
        match &self.saml {
            Some(saml) => self.saml_grant(saml, request, person, now),
            None => pages::not_found(),
        }
    }

    /// Answers a request for someone who is signed in.
    fn saml_grant(&self, saml: &SamlProvider, request: &Request, person: &SignedIn, now: SystemTime) -> Response {
        let Some(user) = self.users.active(&person.sub) else {
            return pages::refusal("Your account can't be used now.");
        };
        let party = &request.party;
        let fail = |status| self.saml_respond(saml, request, Outcome::Failure(status), now);
        if request.binding.as_deref().is_some_and(|binding| binding != POST) {
            return fail(UNSUPPORTED_BINDING);
        }
        let wanted = request.contexts.as_deref().unwrap_or(CONTEXTS[0]);
        let Some(context) = wanted.split(' ').find(|context| CONTEXTS.contains(context)) else {
            return fail(NO_AUTHN_CONTEXT);
        };
        let name_id = subject::name_id(&user, request.name_id_format.as_deref(), &saml.entity_id, party);
        let Some(name_id) = name_id else { return fail(INVALID_NAME_ID_POLICY) };
        let attributes = subject::attributes(&claims(&user), party);
        let attributes: Vec<(&str, Vec<String>)> = attributes.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        let (session_index, ends) = (fresh_id(), person.at + self.lifetimes.session);
        let assertion = AssertionOf {
            name_id: &name_id,
            recipient: party.recipient.as_deref().unwrap_or(&request.acs_url),
            audience: party.audience.as_deref().unwrap_or(&party.entity_id),
            attributes: &attributes,
            session_index: &session_index,
            authn_instant: person.at,
            authn_context: context,
            session_ends_at: Some(ends),
            lives: self.lifetimes.assertion,
        };
        let response = self.saml_respond(saml, request, Outcome::Success(assertion), now);
        let served = Participation {
            sid: Arc::clone(&person.sid),
            party: Arc::clone(&party.entity_id),
            name_id: name_id.clone(),
            session_index: session_index.clone(),
        };
        saml.participations.add(served, ends, now);
        info!(
            target: AUDIT,
            { subject.id = &*person.sub, session.id = &*person.sid, saml.party = &*party.entity_id },
            "the provider sent someone to a SAML party"
        );
        response
    }

    fn saml_refuse(&self, why: &Unanswerable, asked: &Asked) -> Response {
        warn!(target: AUDIT, { client.address = %asked.from, reason = chain(why) }, "a SAML request is refused");
        pages::refusal(why.shown())
    }

    fn saml_respond(&self, saml: &SamlProvider, request: &Request, outcome: Outcome<'_>, now: SystemTime) -> Response {
        let party = &request.party;
        let (status, status_detail, assertion) = match outcome {
            Outcome::Success(assertion) => (SUCCESS, None, Some(assertion)),
            Outcome::Failure(detail) => (RESPONDER, Some(detail), None),
        };
        // of an answer without an assertion the Response is all that can be signed
        let around = party.signs != Signs::Assertion || assertion.is_none();
        let within = party.signs != Signs::Response || party.party.wants_signed_assertions;
        let encrypt = party.encryption().map(|to| (to, Encryption::default()));
        let key = &saml.keys.current;
        let response = ResponseOf {
            issuer: &saml.entity_id,
            destination: &request.acs_url,
            in_response_to: Some(&request.id),
            status,
            status_detail,
            assertion,
            at: now,
        };
        match response.build(Signing { key, response: around, assertion: within, encrypt }) {
            Ok(outgoing) => post_page(&outgoing.as_is(), request.relay_state.as_deref(), &party.name),
            Err(e) => {
                error!(saml.party = &*party.entity_id, error = %e, "a SAML response can't be made");
                pages::refusal("The answer for the application can't be made.")
            }
        }
    }
}

/// Of another shape than what forms are sealed by, so that neither passes for the other.
fn sealed(text: &str, until: &str) -> String {
    format!("saml\n{until}\n{text}")
}

/// How people prove who they are here: by a password, over TLS or within this machine.
const CONTEXTS: [&str; 2] = [
    "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
    "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
];
const RESPONDER: &str = "urn:oasis:names:tc:SAML:2.0:status:Responder";
const UNSUPPORTED_BINDING: &str = "urn:oasis:names:tc:SAML:2.0:status:UnsupportedBinding";
const NO_AUTHN_CONTEXT: &str = "urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext";
const INVALID_NAME_ID_POLICY: &str = "urn:oasis:names:tc:SAML:2.0:status:InvalidNameIDPolicy";
/// Between a form and the redirect that answers it.
const GOES_ON_WITHIN: Duration = Duration::from_secs(60);

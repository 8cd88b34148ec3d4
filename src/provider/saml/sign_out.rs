//! Single logout (SAML-Profiles §4.4): a party ends a sign-in, or is told that it has ended. The browser goes from party to
//! party and comes back to where it began.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use tracing::{error, info, warn};

use super::participation::{End, Participation, Round};
use super::party::RelyingParty;
use super::request::{expected, sender, trust};
use super::{SamlProvider, post_page};
use crate::provider::asked::Asked;
use crate::provider::sign_out::signed_out;
use crate::provider::{OpenIdProvider, pages};
use crate::saml::{
    Binding, Endpoint, Guarded, Kind, Leaving, Left, LogoutRequest, LogoutResponse, Outgoing, Parameter, Redirected,
    Refused, SUCCESS, Unsignable, from_post, verify, verify_redirect,
};
use crate::telemetry::AUDIT;
use crate::web::{Response, chain, redirect};

/// A logout message whose signature was verified: there is no other (GHSA-pcgw-qcv5-h8ch).
enum Message {
    Leaving(Leaving),
    Left(Left),
}

type Received = Option<(Arc<RelyingParty>, Message)>;
type Parties = HashMap<Arc<str>, Arc<RelyingParty>>;

impl OpenIdProvider {
    pub(super) async fn saml_sign_out(&self, saml: &SamlProvider, asked: &Asked) -> Response {
        let (parties, here, now) = (Arc::clone(&saml.parties), self.at("/saml/sign-out"), asked.now);
        let received = if asked.head.method == Method::POST {
            let field = |name| asked.form.value(name).map(str::to_owned);
            let (message, kind) = match (field("SAMLRequest"), field("SAMLResponse")) {
                (Some(request), None) => (request, Kind::LogoutRequest),
                (None, Some(response)) => (response, Kind::LogoutResponse),
                _ => return pages::refusal(NO_MESSAGE),
            };
            saml.workers.run(move || posted(&message, kind, &parties, &here, now)).await
        } else {
            let query = asked.text.clone();
            saml.workers.run(move || redirected(&query, &parties, &here, now)).await
        };
        let (party, message) = match received {
            Ok(Some(received)) => received,
            Ok(None) => return pages::refusal("The application that sent you here is not known."),
            Err(refused) => {
                let address = asked.from;
                warn!(
                    target: AUDIT,
                    { client.address = %address, reason = chain(&refused) },
                    "a SAML logout message is refused"
                );
                return pages::refusal(NO_MESSAGE);
            }
        };
        match message {
            Message::Leaving(leaving) => {
                let relay_state = asked.form.value("RelayState").map(str::to_owned);
                self.saml_left_by(saml, &party, leaving, relay_state, now)
            }
            Message::Left(left) => match saml.participations.go_on(&left.in_response_to, &party.entity_id, now) {
                Some(round) => {
                    let all_ended = round.all_ended && left.status == SUCCESS;
                    self.saml_round(saml, Round { all_ended, ..round }, now)
                }
                None => pages::refusal("This sign-out is out of date."),
            },
        }
    }

    /// Tells the parties of a session that has ended, and comes to `to` in the end. `None` where there are none to tell.
    pub(in crate::provider) fn leave_parties(&self, sid: &str, to: Option<&str>) -> Option<Response> {
        let saml = self.saml.as_ref()?;
        let now = self.clock.now();
        let rest = saml.participations.take(sid, now);
        let round = Round { rest, all_ended: true, end: End::Here(to.map(str::to_owned)) };
        (!round.rest.is_empty()).then(|| self.saml_round(saml, round, now))
    }

    /// A party ends the sessions that it speaks of, for all.
    fn saml_left_by(
        &self,
        saml: &SamlProvider,
        party: &RelyingParty,
        leaving: Leaving,
        relay_state: Option<String>,
        now: SystemTime,
    ) -> Response {
        let Leaving { name_id, session_indexes, id, until, .. } = leaving;
        if !saml.participations.is_new(&party.entity_id, &id, until, now) {
            return pages::refusal(NO_MESSAGE);
        }
        let mut rest = Vec::new();
        for sid in saml.participations.sessions(&party.entity_id, &name_id, &session_indexes, now) {
            self.sessions.end(&sid);
            self.grants.end_session(&sid);
            let others = saml.participations.take(&sid, now).into_iter();
            rest.extend(others.filter(|served| served.party != party.entity_id));
            let party = &*party.entity_id;
            info!(target: AUDIT, { session.id = &*sid, saml.party = party }, "signed out at the provider by a SAML party");
        }
        let end = End::Answer { party: Arc::clone(&party.entity_id), in_response_to: id, relay_state };
        self.saml_round(saml, Round { rest, all_ended: true, end }, now)
    }

    /// On to the next party that can be told, or to the end.
    fn saml_round(&self, saml: &SamlProvider, mut round: Round, now: SystemTime) -> Response {
        while let Some(next) = round.rest.pop() {
            let Some(party) = saml.parties.get(&next.party) else { continue };
            let Some(endpoint) = party.logout() else { continue };
            let request = leaving(saml, &next, endpoint, now);
            return match send(saml, &request, endpoint, None, &party.name) {
                Ok(response) => {
                    saml.participations.wait(request.id(), Arc::clone(&next.party), round, now);
                    response
                }
                Err(e) => unsent(&party.entity_id, e),
            };
        }
        match round.end {
            End::Here(Some(to)) => redirect(&to),
            End::Here(None) => signed_out(),
            End::Answer { party, in_response_to, relay_state } => {
                let party = saml.parties.get(&party);
                let Some((party, endpoint)) = party.and_then(|party| Some((party, party.logout()?))) else {
                    return signed_out();
                };
                let response = LogoutResponse {
                    issuer: &saml.entity_id,
                    destination: endpoint.answers_to(),
                    in_response_to: &in_response_to,
                    status: if round.all_ended { SUCCESS } else { RESPONDER },
                    at: now,
                };
                let sent = send(saml, &response.build(), endpoint, relay_state.as_deref(), &party.name);
                sent.unwrap_or_else(|e| unsent(&party.entity_id, e))
            }
        }
    }
}

fn leaving(saml: &SamlProvider, served: &Participation, endpoint: &Endpoint, at: SystemTime) -> Outgoing {
    let request = LogoutRequest {
        issuer: &saml.entity_id,
        destination: &endpoint.location,
        name_id: &served.name_id,
        session_indexes: &[&served.session_index],
        at,
    };
    request.build()
}

fn send(
    saml: &SamlProvider,
    message: &Outgoing,
    endpoint: &Endpoint,
    relay_state: Option<&str>,
    client: &str,
) -> Result<Response, Unsignable> {
    let key = &saml.keys.current;
    Ok(match endpoint.binding {
        Binding::Redirect => redirect(&message.redirect(relay_state, Some(key))?),
        Binding::Post => post_page(&message.post(key)?, relay_state, client),
    })
}

fn unsent(party: &str, why: Unsignable) -> Response {
    error!(saml.party = party, error = %why, "a SAML logout message can't be made");
    pages::refusal("You are signed out here, but applications can't be told.")
}

fn posted(message: &str, kind: Kind, parties: &Parties, here: &str, now: SystemTime) -> Result<Received, Refused> {
    let guarded = Guarded::new(&from_post(message)?, kind)?;
    let Some(party) = sender(&guarded, parties) else { return Ok(None) };
    let verified = verify(guarded, &trust(&party))?;
    let message = match kind {
        Kind::LogoutRequest => Message::Leaving(Leaving::read(&verified, &expected(&party, here, now))?),
        _ => Message::Left(Left::read(&verified, &expected(&party, here, now))?),
    };
    Ok(Some((party, message)))
}

fn redirected(query: &str, parties: &Parties, here: &str, now: SystemTime) -> Result<Received, Refused> {
    let redirected = Redirected::read(query)?;
    let kind = match redirected.parameter {
        Parameter::Request => Kind::LogoutRequest,
        Parameter::Response => Kind::LogoutResponse,
    };
    let Some(party) = sender(&Guarded::new(redirected.document(), kind)?, parties) else { return Ok(None) };
    let verified = verify_redirect(&redirected, kind, &trust(&party))?;
    let message = match kind {
        Kind::LogoutRequest => Message::Leaving(Leaving::read(&verified, &expected(&party, here, now))?),
        _ => Message::Left(Left::read(&verified, &expected(&party, here, now))?),
    };
    Ok(Some((party, message)))
}

const NO_MESSAGE: &str = "The application that sent you here did not sign you out as it must.";
const RESPONDER: &str = "urn:oasis:names:tc:SAML:2.0:status:Responder";

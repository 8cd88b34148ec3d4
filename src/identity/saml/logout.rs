//! Single logout (SAML-Profiles §4.4), both ways, and what we say of ourselves.
//!
//! A message counts where it is the provider's, signed, to us and of now. Whose login it is about stands in it, so no
//! cookie is looked at: a provider has it fetched by a frame, where the browser sends none.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::Saml;
use super::person::named;
use crate::identity::{
    Heard, Leave, LeaveRequest, LoginError, Message, Once, Onward, Party, Returned, SamlLogin, SignedIn,
};
use crate::saml::{
    Certificate, ExpectedMessage, Guarded, Kind, Leaving, Left, LogoutRequest, LogoutResponse, NameId, Parameter,
    PartyOf, Reason, Redirected, Refused, SKEW, SUCCESS, Trust, Verified, from_post, verify, verify_redirect,
};

use super::answer::Asked;

#[async_trait]
impl Party for Saml {
    fn metadata(&self, home: &Url) -> Option<String> {
        let (acs, logout) = (self.place(home, "acs")?, self.place(home, "logout")?);
        let signing: Vec<&Certificate> = self.signing.iter().map(crate::saml::SigningKey::certificate).collect();
        let party = PartyOf {
            entity_id: &self.rules.entity_id,
            acs_url: &acs,
            // without a key of ours no logout could be signed, and none is asked for
            logout_url: (!self.signing.is_empty()).then_some(&logout),
            signing: &signing,
            encryption: &self.rules.decryption,
            wants_signed_assertions: true,
            valid_until: None,
        };
        party.write(None)
    }

    async fn unsolicited(&self, returned: &Returned, home: &Url) -> Result<SignedIn, LoginError> {
        let refused = |problem: &str| LoginError::Refused(problem.into());
        if !self.idp_initiated {
            return Err(refused("no login that it answers was begun in this browser of late"));
        }
        let response = returned.only("SAMLResponse").ok_or_else(|| refused("there is not one response"))?;
        let acs = self.place(home, "acs").ok_or_else(|| refused("there is no ACS"))?;
        let asked = Asked { request: None, acs, proven_since: None, quietly: false };
        self.answered(response, &asked).await
    }

    async fn hear(&self, message: Message, home: &Url) -> Result<Heard, LoginError> {
        let known = self.provider.current().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        let here = self.place(home, "logout").ok_or_else(|| LoginError::Refused("there is no such place".into()))?;
        let (certificates, rules, now) =
            (known.provider.certificates.clone(), Arc::clone(&self.rules), self.clock.now());
        let heard = self.workers.run(move || {
            let expected = ExpectedMessage { issuer: &rules.issuer, destination: &here, now, skew: SKEW };
            let trust = Trust { certificates, ..Trust::default() };
            let (verified, relay_state) = verified(&message, &trust)?;
            match verified.kind() {
                Kind::LogoutResponse => Ok(Said::Left(Left::read(&verified, &expected)?)),
                _ => Ok(Said::Leaving(Leaving::read(&verified, &expected)?, relay_state)),
            }
        });
        match heard.await {
            Ok(Said::Left(left)) => Ok(Heard::Left { asked: left.in_response_to, everywhere: left.status == SUCCESS }),
            Ok(Said::Leaving(leaving, relay_state)) => {
                Ok(Heard::Leave(Box::new(self.leave_request(leaving, relay_state))))
            }
            Err(refused) => Err(as_login_error(&refused)),
        }
    }

    async fn answer(&self, request: &LeaveRequest) -> Option<Onward> {
        let known = self.provider.current().await.ok()?;
        let endpoint = known.provider.logout()?;
        let answer = LogoutResponse {
            issuer: &self.rules.entity_id,
            destination: endpoint.answers_to(),
            in_response_to: &request.id,
            status: SUCCESS,
            at: self.clock.now(),
        };
        self.signing.first()?;
        self.onward(&answer.build(), endpoint.binding, request.relay_state.as_deref()).ok()
    }
}

impl Saml {
    /// The way to end a login at the provider; none where it has no place for that, or we have no key.
    pub(super) async fn request_to_leave(&self, login: &SamlLogin) -> Option<Leave> {
        let known = self.provider.current().await.ok()?;
        let endpoint = known.provider.logout()?;
        self.signing.first()?;
        let indexes: Vec<&str> = login.session_index.as_deref().into_iter().collect();
        let request = LogoutRequest {
            issuer: &self.rules.entity_id,
            destination: &endpoint.location,
            name_id: &name_id(login),
            session_indexes: &indexes,
            at: self.clock.now(),
        };
        let request = request.build();
        let asked = Some(request.id().to_owned());
        Some(Leave { to: self.onward(&request, endpoint.binding, None).ok()?, asked })
    }

    fn leave_request(&self, leaving: Leaving, relay_state: Option<String>) -> LeaveRequest {
        let subject = self.rules.mapping.subject_of(&self.name, &leaving.name_id);
        LeaveRequest {
            once: Once { name: format!("logout {} {}", self.rules.issuer, leaving.id), until: leaving.until },
            id: leaving.id,
            name: named(&leaving.name_id),
            subject,
            sessions: leaving.session_indexes,
            relay_state: relay_state.filter(|state| state.len() <= LONGEST_RELAY_STATE),
        }
    }
}

enum Said {
    Leaving(Leaving, Option<String>),
    Left(Left),
}

/// The message, verified, and the RelayState beside it.
fn verified(message: &Message, trust: &Trust) -> Result<(Verified, Option<String>), Refused> {
    let kind = |parameter| match parameter {
        Parameter::Request => Kind::LogoutRequest,
        Parameter::Response => Kind::LogoutResponse,
    };
    match message {
        Message::Query(query) => {
            let redirected = Redirected::read(query)?;
            let verified = verify_redirect(&redirected, kind(redirected.parameter), trust)?;
            Ok((verified, redirected.relay_state))
        }
        Message::Form(fields) => {
            let (request, response) = (fields.only("SAMLRequest"), fields.only("SAMLResponse"));
            let (parameter, value) = match (request, response) {
                (Some(request), None) => (Parameter::Request, request),
                (None, Some(response)) => (Parameter::Response, response),
                _ => return Err(Reason::Encoding("the form has not one message").into()),
            };
            let guarded = Guarded::new(&from_post(value)?, kind(parameter))?;
            Ok((verify(guarded, trust)?, fields.only("RelayState").map(str::to_owned)))
        }
    }
}

fn name_id(login: &SamlLogin) -> NameId {
    NameId {
        value: login.name.clone(),
        format: login.format.clone(),
        name_qualifier: login.name_qualifier.clone(),
        sp_name_qualifier: login.sp_name_qualifier.clone(),
    }
}

fn as_login_error(refused: &Refused) -> LoginError {
    match refused.reason() {
        Reason::Busy => LoginError::Unavailable(refused.reason().clone().into()),
        reason => LoginError::Refused(reason.to_string()),
    }
}

/// SAML-Bindings §3.4.3 has 80 bytes; some providers take more for themselves.
const LONGEST_RELAY_STATE: usize = 1024;

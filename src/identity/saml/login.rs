//! The request to sign somebody in (SAML-Core §3.4.1), and the login as every source has it.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Saml;
use super::answer::Asked;
use super::provider::Known;
use crate::identity::{
    Begun, Form, Leave, Login, LoginError, LoginMemory, Onward, Party, RenewError, Returned, SignedIn, Subject, Tokens,
};
use crate::saml::{AuthnRequest, Binding, Endpoint, Outgoing, Unsignable};

/// What a login remembers until the answer is posted.
#[derive(Deserialize, Serialize)]
struct Memory {
    request: String,
    acs: String,
    quietly: bool,
    asked_at: SystemTime,
}

#[async_trait]
impl Login for Saml {
    fn label(&self) -> &str {
        &self.label
    }

    fn voucher(&self) -> &Arc<str> {
        &self.voucher
    }

    async fn begin(&self, callback: &Url, quietly: bool) -> Result<Begun, LoginError> {
        let known = self.provider.current().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        let unavailable = |what: &str| LoginError::Unavailable(what.into());
        let acs = self.place(callback, "acs").ok_or_else(|| unavailable("there is no ACS"))?;
        let endpoint = self.sign_on(&known).ok_or_else(|| unavailable("it does not take requests by this binding"))?;
        if known.provider.wants_signed_requests && self.signing.is_empty() {
            return Err(unavailable("it wants requests signed, and no `signing` key is configured"));
        }
        let quietly = quietly && self.passive && !self.force_authn;
        let (at, contexts) = (self.clock.now(), &self.rules.authn_contexts);
        // its ID has 160 random bits: nobody guesses it in ten minutes (A8)
        let request = AuthnRequest {
            issuer: &self.rules.entity_id,
            destination: &endpoint.location,
            acs_url: &acs,
            force_authn: self.force_authn,
            is_passive: quietly,
            name_id_format: self.name_id_format.as_deref(),
            authn_contexts: &contexts.iter().map(String::as_str).collect::<Vec<_>>(),
            at,
        };
        let request = request.build();
        let id = request.id().to_owned();
        let to = self.onward(&request, endpoint.binding, Some(&id)).map_err(|e| LoginError::Unavailable(e.into()))?;
        let memory = Memory { request: id.clone(), acs, quietly, asked_at: at };
        let memory = serde_json::to_value(memory).map_err(|e| LoginError::Unavailable(e.into()))?;
        Ok(Begun { to, is_posted_back: true, state: id, memory: LoginMemory(memory) })
    }

    async fn finish(&self, returned: &Returned, memory: &LoginMemory) -> Result<SignedIn, LoginError> {
        let refused = |problem: &str| LoginError::Refused(problem.into());
        let memory = Memory::deserialize(&memory.0).map_err(|_| refused("its memory is of another kind"))?;
        let response = returned.only("SAMLResponse").ok_or_else(|| refused("there is not one response"))?;
        let asked = Asked {
            request: Some(memory.request),
            acs: memory.acs,
            proven_since: self.force_authn.then_some(memory.asked_at),
            quietly: memory.quietly,
        };
        self.answered(response, &asked).await
    }

    async fn renew(&self, _subject: &Subject, _tokens: &Tokens) -> Result<SignedIn, RenewError> {
        Err(RenewError::Ended("a SAML login can't be renewed without the person".into()))
    }

    async fn leave(&self, tokens: &Tokens, _back: &Url) -> Option<Leave> {
        self.request_to_leave(tokens.saml_login.as_ref()?).await
    }

    fn party(&self) -> Option<&dyn Party> {
        Some(self)
    }
}

impl Saml {
    fn sign_on<'k>(&self, known: &'k Known) -> Option<&'k Endpoint> {
        match self.binding {
            None => known.provider.sign_on(),
            Some(binding) => known.provider.sign_on.iter().find(|endpoint| endpoint.binding == binding),
        }
    }

    /// A message of ours on its way, signed where we have a key.
    pub(super) fn onward(
        &self,
        message: &Outgoing,
        binding: Binding,
        relay_state: Option<&str>,
    ) -> Result<Onward, Unsignable> {
        let key = self.signing.first();
        match binding {
            Binding::Redirect => {
                let url = message.redirect(relay_state, key)?;
                Ok(Onward::Redirect(Url::parse(&url).map_err(|_| Unsignable)?))
            }
            Binding::Post => {
                let posted = key.map_or_else(|| Ok(message.as_is()), |key| message.post(key))?;
                let mut fields = vec![(posted.name, posted.value)];
                fields.extend(relay_state.map(|state| ("RelayState", state.to_owned())));
                Ok(Onward::Post(Form { action: posted.destination, fields }))
            }
        }
    }
}

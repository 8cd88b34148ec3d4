//! A Response: from the form to somebody who is signed in.

use std::sync::Arc;
use std::time::SystemTime;

use super::person::{Mapping, login_of};
use super::{Saml, aws, provider};
use crate::identity::{LoginError, Once, SignedIn, Tokens};
use crate::saml::{
    Answer, Assertion, Certificate, DecryptionKey, Expected, Guarded, Kind, NO_PASSIVE, Reason, Refused, SKEW, Trust,
    from_post, verify,
};

/// What a Response must be, but for what the provider says of itself and what it answers.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) entity_id: String,
    pub(super) decryption: Vec<DecryptionKey>,
    pub(super) cbc: bool,
    pub(super) authn_contexts: Vec<String>,
    pub(super) aws: Option<Aws>,
    pub(super) mapping: Mapping,
}

/// An assertion that is made for AWS and passes through here (`AssumeRoleWithSAML`).
#[derive(Debug)]
pub(super) struct Aws {
    pub(super) recipient: String,
    pub(super) audience: String,
}

/// What was asked, as far as the answer must fit it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The request's ID; absent where nobody asked.
    pub(super) request: Option<String>,
    /// The ACS.
    pub(super) acs: String,
    /// Whether the person must have been asked for a proof since, and since when.
    pub(super) proven_since: Option<SystemTime>,
    /// Whether they must not be asked anything.
    pub(super) quietly: bool,
}

impl Saml {
    /// Who a posted Response signs in, where everything is as it must be.
    pub(super) async fn answered(&self, response: &str, asked: &Asked) -> Result<SignedIn, LoginError> {
        let known = self.provider.current().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        let assertion = match self.accepted(response, asked, &known).await {
            Err(refused) if *refused.reason() == Reason::Signature => match self.provider.newer_than(&known).await {
                Some(newer) => self.accepted(response, asked, &newer).await,
                None => Err(refused),
            },
            verdict => verdict,
        };
        let assertion = assertion.map_err(|refused| as_login_error(refused, asked))?;
        self.signed_in(&assertion, asked, response)
    }

    /// Guard, verifier and expectations, all of them off the async threads.
    async fn accepted(&self, response: &str, asked: &Asked, known: &provider::Known) -> Result<Assertion, Refused> {
        let (rules, asked, response) = (Arc::clone(&self.rules), asked.clone(), response.to_owned());
        let (certificates, now) = (known.provider.certificates.clone(), self.clock.now());
        self.workers.run(move || rules.accept(&response, &asked, certificates, now)).await
    }

    fn signed_in(&self, assertion: &Assertion, asked: &Asked, response: &str) -> Result<SignedIn, LoginError> {
        // a provider that does not know ForceAuthn answers as if it had not been there
        if asked.proven_since.is_some_and(|since| assertion.authn_instant + SKEW < since) {
            return Err(LoginError::Refused("the person was not asked for a proof anew".into()));
        }
        let read = self.rules.mapping.read(&self.name, assertion);
        let (subject, claims) = read.map_err(LoginError::Refused)?;
        let login = login_of(assertion);
        let is_for_aws = |aws: &&Aws| (&aws.recipient, &aws.audience) == (&assertion.recipient, &assertion.audience);
        let saml = self.rules.aws.as_ref().filter(is_for_aws).map(|_| aws::kept(response, assertion));
        Ok(SignedIn {
            subject,
            voucher: Arc::clone(&self.voucher),
            claims,
            ends_at: assertion.session_ends_at,
            at_provider: login.session_index.clone(),
            tokens: Tokens { saml, saml_login: Some(login), ..Tokens::default() },
            // A17: unique at its issuer, so both together are the name
            once: Some(Once {
                name: format!("assertion {} {}", assertion.issuer, assertion.once.id),
                until: assertion.once.until,
            }),
        })
    }
}

impl Rules {
    fn accept(
        &self,
        response: &str,
        asked: &Asked,
        certificates: Vec<Certificate>,
        now: SystemTime,
    ) -> Result<Assertion, Refused> {
        let trust = Trust { certificates, decryption: self.decryption.clone(), cbc: self.cbc };
        let verified = verify(Guarded::new(&from_post(response)?, Kind::Response)?, &trust)?;
        let (ours, contexts) = ((asked.acs.as_str(), self.entity_id.as_str()), self.contexts());
        // what is made for AWS is anybody's to post whom it was given to: only in answer to our own request
        let aws = self.aws.as_ref().filter(|_| asked.request.is_some());
        let aws = aws.map(|aws| (aws.recipient.as_str(), aws.audience.as_str()));
        let mut last = None;
        // recipient and audience belong together: each pair is looked at by itself
        for (recipient, audience) in [Some(ours), aws].into_iter().flatten() {
            let accepted = verified.accept(&Expected {
                issuer: &self.issuer,
                destination: Some(&asked.acs),
                recipients: &[recipient],
                audiences: &[audience],
                answer: asked.request.as_deref().map_or(Answer::Unsolicited, Answer::To),
                authn_contexts: &contexts,
                now,
                skew: SKEW,
            });
            match accepted {
                Ok(assertion) => return Ok(assertion),
                Err(refused) => last = Some(last.unwrap_or(refused)),
            }
        }
        Err(last.unwrap_or_else(|| Reason::Missing("assertion").into()))
    }

    fn contexts(&self) -> Vec<&str> {
        self.authn_contexts.iter().map(String::as_str).collect()
    }
}

fn as_login_error(refused: Refused, asked: &Asked) -> LoginError {
    match refused.reason() {
        Reason::Busy => LoginError::Unavailable(refused.reason().clone().into()),
        Reason::Status { detail: Some(detail), .. } if asked.quietly && detail == NO_PASSIVE => LoginError::WouldAsk,
        reason => LoginError::Refused(reason.to_string()),
    }
}

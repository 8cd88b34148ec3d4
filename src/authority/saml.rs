//! AssumeRoleWithSAML: a SAML provider's Response for a role's credentials.
//!
//! What the Response says comes from [`crate::saml`], verified by the certificates of the provider that the call names;
//! [`told`] reads AWS's attributes in it, [`keys`] makes it the `saml:` keys of trust policies.

mod keys;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::info;

use self::told::Told;
use super::Authority;
use super::assume::{Candidate, Issued, Unnamed};
use super::query::Query;
use super::refusal::Refusal;
use super::session::Federated;
use super::trust::{Asker, Context, Key};
use crate::saml::{
    Answer, Assertion, Certificate, Expected, Guarded, Kind, Metadata, Pinned, Reason, Refused, SKEW, Trust, Workers,
    from_post, verify,
};
use crate::telemetry::AUDIT;
use crate::web::Connection;
use crate::web::xml::Xml;

/// A registered SAML provider.
#[derive(Debug)]
pub(super) struct SamlProvider {
    /// The end of its ARN.
    pub(super) name: String,
    pub(super) arn: String,
    /// As its assertions write it.
    entity_id: String,
    certificates: Vec<Certificate>,
    /// Until when its metadata may be believed.
    valid_until: Option<SystemTime>,
    recipients: Vec<String>,
    audiences: Vec<String>,
}

/// The account's SAML providers, and the threads that verify for them.
#[derive(Debug)]
pub(super) struct SamlProviders {
    /// By their ARN.
    providers: HashMap<String, Arc<SamlProvider>>,
    workers: Workers,
}

/// The answer's own elements.
#[derive(Debug)]
pub(super) struct Assumed {
    issued: Issued,
    subject: String,
    subject_type: String,
    issuer: String,
    recipient: String,
    name_qualifier: String,
}

impl SamlProvider {
    /// A provider of that ARN with its metadata, whose file vouches for it. Beside AWS's own recipient and audience it may
    /// write those for whom its applications can't.
    pub(super) fn read(
        name: &str,
        arn: String,
        metadata: &[u8],
        recipients: &[String],
        audiences: &[String],
    ) -> Result<Self, String> {
        // whether its time is over is looked at when it is used, as it goes on
        let read = Metadata::read(metadata, Pinned::default(), SystemTime::UNIX_EPOCH);
        let metadata = read.map_err(|error| crate::web::chain(&error))?;
        let provider = metadata.provider.ok_or("it describes no identity provider (IDPSSODescriptor)")?;
        let with = |own: &[&str], more: &[String]| {
            own.iter().map(|&text| text.to_owned()).chain(more.iter().cloned()).collect::<Vec<_>>()
        };
        Ok(Self {
            name: name.to_owned(),
            arn,
            entity_id: metadata.entity_id,
            certificates: provider.certificates,
            valid_until: metadata.valid_until,
            recipients: with(&[AWS_RECIPIENT], recipients),
            audiences: with(&AWS_AUDIENCES, audiences),
        })
    }

    /// What a Response says to AWS, where this provider signed it, now. Blocks.
    fn assertion(&self, document: &[u8], now: SystemTime) -> Result<Assertion, Refused> {
        let guarded = Guarded::new(document, Kind::Response)?;
        // AWS decrypts by a private key that is registered with the provider; none can be registered here
        if guarded.is_encrypted() {
            return Err(Reason::Encryption("this STS has no key of the provider's".into()).into());
        }
        let trust = Trust { certificates: self.certificates.clone(), ..Trust::default() };
        let recipients: Vec<&str> = self.recipients.iter().map(String::as_str).collect();
        let audiences: Vec<&str> = self.audiences.iter().map(String::as_str).collect();
        verify(guarded, &trust)?.accept(&Expected {
            issuer: &self.entity_id,
            destination: None,
            recipients: &recipients,
            audiences: &audiences,
            answer: Answer::Any,
            authn_contexts: &[],
            now,
            skew: SKEW,
        })
    }
}

impl SamlProviders {
    pub(super) fn new(providers: Vec<SamlProvider>) -> Self {
        Self { providers: by_arn(providers), workers: Workers::new(VERIFIED_AT_A_TIME) }
    }

    /// Others in their place, on the same threads.
    pub(super) fn replaced(&self, providers: Vec<SamlProvider>) -> Self {
        Self { providers: by_arn(providers), workers: self.workers.clone() }
    }
}

impl Authority {
    pub(super) async fn assume_role_with_saml(
        &self,
        mut query: Query,
        connection: &Connection,
        request_id: &str,
    ) -> Result<Assumed, Refusal> {
        let unnamed = Unnamed::read(&mut query)?;
        let principal = query.text("PrincipalArn", 20, 2048)?;
        let response = query.text("SAMLAssertion", 4, 100_000)?;
        query.finish()?;

        let provider = self.saml.providers.get(&principal);
        let provider = provider.ok_or_else(|| Refusal::invalid_identity_token("Specified provider doesn't exist."))?;
        let now = self.clock.now();
        if provider.valid_until.is_some_and(|until| now >= until) {
            return Err(Refusal::invalid_identity_token("The metadata of the specified provider has expired."));
        }
        let verifier = Arc::clone(provider);
        let work = move || verifier.assertion(&from_post(&response)?, now);
        let assertion = self.saml.workers.run(work).await.map_err(|refused| {
            let (provider, reason) = (&*provider.arn, refused.reason());
            info!(
                target: AUDIT,
                { request.id = request_id, subject.provider = provider, reason = %reason },
                "the authority refused a SAML response"
            );
            refusal(reason)
        })?;
        // STS's own rule, whatever the provider's conditions allow
        if now >= assertion.issued_at + REDEEMED_WITHIN {
            let message = "Token must be redeemed within 5 minutes of issuance";
            return Err(Refusal::expired_token_exception(message));
        }
        let denied = |action: &str| Refusal::access_denied(format!("Not authorized to perform {action}"));
        let told = Told::read(&assertion)?;
        if !told.offers(unnamed.role(), &provider.arn) {
            return Err(denied(ACTION));
        }
        let lasts = told.lasts_at_most(assertion.session_ends_at, now)?;
        let name_qualifier = keys::name_qualifier(&assertion, self.account.id.as_str(), &provider.name);
        let mut context = Context::default();
        keys::describe(&assertion, &name_qualifier, self.account.id.as_str(), &provider.name, &mut context);
        context.set(Key::global("aws:FederatedProvider"), &provider.arn);
        let subject = assertion.name_id.value.clone();
        let candidate = Candidate {
            wish: unnamed.named(told.session_name).for_at_most(lasts),
            action: ACTION,
            asker: Asker::Federated(&provider.arn),
            tags: told.tags,
            source_identity: told.source_identity,
            federated: Some(Federated { subject: subject.clone(), provider: provider.arn.clone() }),
            context,
        };
        let issued = self.assume(candidate, denied, connection, request_id)?;
        let subject_type = keys::subject_type(&assertion);
        let (issuer, recipient) = (assertion.issuer, assertion.recipient);
        Ok(Assumed { issued, subject, subject_type, issuer, recipient, name_qualifier })
    }
}

impl Assumed {
    pub(super) fn write(&self, xml: &mut Xml) {
        self.issued.write(xml);
        xml.text("Subject", &self.subject);
        xml.text("SubjectType", &self.subject_type);
        xml.text("Issuer", &self.issuer);
        // STS calls the Recipient so
        xml.text("Audience", &self.recipient);
        xml.text("NameQualifier", &self.name_qualifier);
    }
}

fn by_arn(providers: Vec<SamlProvider>) -> HashMap<String, Arc<SamlProvider>> {
    providers.into_iter().map(|provider| (provider.arn.clone(), Arc::new(provider))).collect()
}

/// What STS says of a Response. How far a forger got is for the log.
fn refusal(reason: &Reason) -> Refusal {
    let invalid = Refusal::invalid_identity_token;
    match reason {
        Reason::Encoding(_) | Reason::Exceeds(_) => invalid("Invalid base64 SAMLResponse"),
        Reason::Signature | Reason::Unsigned | Reason::NoCertificate => invalid("Response signature invalid"),
        Reason::Mismatch { what: "Issuer", .. } => invalid("Issuer not present in specified provider"),
        Reason::Mismatch { what: "Audience", .. } | Reason::Missing("AudienceRestriction") => {
            invalid("Response does not contain the required audience.")
        }
        Reason::Mismatch { what: "Recipient", .. } | Reason::Missing("Recipient") => {
            invalid("Response is not for a recipient that is accepted here.")
        }
        Reason::Time(what) => Refusal::expired_token_exception(format!("The response must be valid now: {what}")),
        Reason::Status { .. } => {
            Refusal::idp_rejected_claim("The identity provider reported that authentication failed.")
        }
        Reason::Encryption(_) => {
            invalid("Encrypted assertions are not supported here; have the provider send the assertion unencrypted.")
        }
        Reason::Busy => Refusal::throttling(),
        _ => invalid("Your request included an invalid SAML response."),
    }
}

const ACTION: &str = "sts:AssumeRoleWithSAML";
/// The Recipient of AWS's own sign-in.
const AWS_RECIPIENT: &str = "https://signin.aws.amazon.com/saml";
/// The audiences of AWS's own metadata, and of most people's set-ups.
const AWS_AUDIENCES: [&str; 2] = ["urn:amazon:webservices", AWS_RECIPIENT];
/// IAM User Guide, "Configuring SAML assertions": five minutes from its issue on.
const REDEEMED_WITHIN: Duration = Duration::from_secs(300);
/// Two cores' worth; others wait in a short queue.
const VERIFIED_AT_A_TIME: usize = 2;

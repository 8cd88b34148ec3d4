//! AssumeRoleWithWebIdentity: an OpenID provider's token for a role's credentials.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Authority;
use super::account::Provider;
use super::assume::{Candidate, Issued, Wish};
use super::query::Query;
use super::refusal::Refusal;
use super::session::Federated;
use super::tags::{Tags, source_identity_from_claims};
use super::trust::{Asker, Context, Key};
use crate::jose::{self, Expected, JoseError, RemoteIssuer};
use crate::web::Connection;
use crate::web::xml::Xml;

/// A registered provider and the way to its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) provider: Provider,
    pub(super) remote: Arc<RemoteIssuer>,
}

/// The answer's own elements.
#[derive(Debug)]
pub(super) struct Assumed {
    issued: Issued,
    subject: String,
    audience: String,
    provider: String,
}

impl Authority {
    pub(super) async fn assume_role_with_web_identity(
        &self,
        mut query: Query,
        connection: &Connection,
        request_id: &str,
    ) -> Result<Assumed, Refusal> {
        let wish = Wish::read(&mut query)?;
        let token = query.text("WebIdentityToken", 4, 20_000)?;
        query.finish()?;

        let (issuer, claims) = self.verify_token(&token).await?;
        let Provider { name, arn, .. } = &issuer.provider;
        let subject = claims.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty());
        let subject =
            subject.ok_or_else(|| Refusal::invalid_identity_token("Missing a required claim: sub"))?.to_owned();
        // `azp` is who the token was made for, where there are several audiences
        let audience = ["azp", "aud"].iter().find_map(|claim| claims.get(*claim).and_then(first_text));
        let audience = audience.unwrap_or_default().to_owned();
        let mut context = Context::default();
        context.add_claims(name, &claims);
        context.set(Key::global("aws:FederatedProvider"), arn);
        let candidate = Candidate {
            wish,
            action: "sts:AssumeRoleWithWebIdentity",
            asker: Asker::Federated(arn),
            tags: Tags::from_claims(&claims)?,
            source_identity: source_identity_from_claims(&claims)?,
            federated: Some(Federated { subject: subject.clone(), provider: arn.clone() }),
            context,
        };
        let denied = |action: &str| Refusal::access_denied(format!("Not authorized to perform {action}"));
        let issued = self.assume(candidate, denied, connection, request_id)?;
        Ok(Assumed { issued, subject, audience, provider: arn.clone() })
    }

    /// The claims of a token that one of our providers signed for one of its audiences, now.
    async fn verify_token(&self, token: &str) -> Result<(&Issuer, Map<String, Value>), Refusal> {
        let unverified = jose::unverified(token).map_err(|_| not_a_token())?;
        // to the letter: an issuer that differs by a slash is another one (A18)
        let issuer = self.issuers.get(&unverified.issuer).ok_or_else(|| {
            let issuer: String = unverified.issuer.chars().take(200).collect();
            Refusal::invalid_identity_token(format!("No OpenIDConnect provider found in your account for {issuer}"))
        })?;
        let audiences: Vec<&str> = issuer.provider.audiences.iter().map(String::as_str).collect();
        let expected =
            Expected { issuer: &issuer.provider.issuer, audiences: &audiences, now: self.clock.now(), leeway: LEEWAY };
        let keys = issuer.remote.keys().await.map_err(refusal)?;
        let claims = match jose::verify(token, &keys, &expected) {
            Err(JoseError::UnknownKey(kid)) => {
                let keys = issuer.remote.keys_with(&kid).await.map_err(refusal)?;
                jose::verify(token, &keys, &expected)
            }
            verdict => verdict,
        };
        Ok((issuer, claims.map_err(refusal)?))
    }
}

impl Assumed {
    pub(super) fn write(&self, xml: &mut Xml) {
        self.issued.write(xml);
        xml.text("SubjectFromWebIdentityToken", &self.subject);
        xml.text("Audience", &self.audience);
        xml.text("Provider", &self.provider);
    }
}

fn first_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.as_array()?.first()?.as_str())
}

fn not_a_token() -> Refusal {
    Refusal::invalid_identity_token(
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
    )
}

fn refusal(error: JoseError) -> Refusal {
    match error {
        JoseError::Malformed(_) => not_a_token(),
        JoseError::Signature(_) | JoseError::UnknownKey(_) => {
            Refusal::invalid_identity_token(format!("The token can't be verified: {error}"))
        }
        JoseError::Time(_) => Refusal::expired_token_exception(format!("The token must be valid now: {error}")),
        JoseError::Claim(problem) if problem.starts_with("`aud`") => {
            Refusal::invalid_identity_token(format!("Incorrect token audience: {problem}"))
        }
        JoseError::Claim(problem) => Refusal::idp_rejected_claim(format!("A claim can't be used: {problem}")),
        JoseError::Unavailable(_) => Refusal::idp_communication_error(
            "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity \
             documentation for requirements",
        ),
    }
}

/// How far a provider's clock may be off.
const LEEWAY: Duration = Duration::from_secs(30);

//! Signed callers: whose key it is, and whether the signature is right.

use http::request;

use super::Authority;
use super::account::{SESSION_PREFIX, User};
use super::refusal::Refusal;
use super::session::Session;
use super::trust::{Asker, Context, Key};
use crate::arn::{AccountId, ServiceName};
use crate::secret::Secret;
use crate::sigv4::{HexDigest, Presented, VerifyError};

/// Who signed a request.
#[derive(Debug)]
pub(super) enum Caller<'a> {
    /// A user, with a long-term key.
    User(&'a User),
    /// A role session, with the credentials this STS gave it.
    Session(Box<Session>),
}

/// Why a key is no good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeyFault {
    /// No such key.
    Unknown,
    /// A session's key without its token, with another one, or a user's key with one.
    WrongToken,
    /// The session is over.
    Expired,
}

impl Authority {
    /// Who signed this call to STS.
    pub(super) fn caller(&self, head: &request::Parts, body: &[u8]) -> Result<Caller<'_>, Refusal> {
        let presented =
            Presented::read(head, &self.service, &HexDigest::of(body), self.clock.now()).map_err(refusal)?;
        if presented.scope().region() != &self.account.region {
            return Err(Refusal::signature_does_not_match("Credential should be scoped to a valid region."));
        }
        let token = presented.session_token().map(Secret::expose);
        let caller = self.holder(presented.access_key_id(), token).map_err(|fault| match fault {
            KeyFault::Unknown | KeyFault::WrongToken => Refusal::invalid_client_token_id(),
            KeyFault::Expired => Refusal::expired_token(),
        })?;
        presented.verify(caller.secret()).map_err(refusal)?;
        Ok(caller)
    }

    /// Whose access key it is. Nothing is proven until a signature by its secret is.
    pub(super) fn holder(&self, access_key_id: &str, session_token: Option<&str>) -> Result<Caller<'_>, KeyFault> {
        let Some(token) = session_token else {
            let missing =
                if access_key_id.starts_with(SESSION_PREFIX) { KeyFault::WrongToken } else { KeyFault::Unknown };
            return self.account.users.get(access_key_id).map(Caller::User).ok_or(missing);
        };
        if self.account.users.contains_key(access_key_id) {
            return Err(KeyFault::WrongToken);
        }
        let session = self.seal.open(token).ok_or(KeyFault::WrongToken)?;
        // one session's token must not lend its name to another's key
        if session.access_key_id != access_key_id {
            return Err(KeyFault::WrongToken);
        }
        if self.clock.now() >= session.expires() {
            return Err(KeyFault::Expired);
        }
        Ok(Caller::Session(Box::new(session)))
    }
}

impl Caller<'_> {
    pub(super) fn secret(&self) -> &Secret {
        match self {
            Self::User(user) => &user.secret,
            Self::Session(session) => &session.secret,
        }
    }

    pub(super) fn arn(&self) -> String {
        match self {
            Self::User(user) => user.arn.clone(),
            Self::Session(session) => session.arn(),
        }
    }

    /// The unique id that policies and logs know a caller by.
    pub(super) fn id(&self) -> String {
        match self {
            Self::User(user) => user.id.clone(),
            Self::Session(session) => session.id(),
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Self::User(_) => None,
            Self::Session(session) => Some(session),
        }
    }

    /// As a trust policy sees it; `arn` is [`Self::arn`].
    pub(super) fn asker<'a>(&'a self, account: &'a AccountId, arn: &'a str) -> Asker<'a> {
        Asker::Aws { account: account.as_str(), arn, role: self.session().map(|session| session.role.as_str()) }
    }

    /// Adds the keys that tell of the caller.
    pub(super) fn describe(&self, account: &AccountId, context: &mut Context) {
        // IAM: for a session, aws:PrincipalArn is its role's
        let arn = self.session().map_or_else(|| self.arn(), |session| session.role.to_string());
        context.set(Key::global("aws:PrincipalArn"), arn);
        context.set(Key::global("aws:PrincipalAccount"), account.as_str());
        let Some(session) = self.session() else { return };
        for (key, value) in session.tags.iter() {
            context.set(Key::principal_tag(key.as_str()), value.as_str());
        }
        if let Some(identity) = &session.source_identity {
            context.set(Key::global("aws:SourceIdentity"), identity.as_str());
        }
        if let Some(federated) = &session.federated {
            context.set(Key::global("aws:FederatedProvider"), &*federated.provider);
        }
    }
}

/// The service that calls to STS are signed for.
#[expect(clippy::expect_used, reason = "`sts` is a signing name")]
pub(super) fn sts() -> ServiceName {
    "sts".parse().expect("`sts` is a signing name")
}

fn refusal(error: VerifyError) -> Refusal {
    match error {
        VerifyError::MissingAuthenticationToken => Refusal::missing_authentication_token(),
        VerifyError::Incomplete(_) => Refusal::incomplete_signature(error.to_string()),
        VerifyError::RequestTimeTooSkewed | VerifyError::RequestExpired => {
            Refusal::signature_does_not_match(format!("Signature expired: {error}"))
        }
        VerifyError::HeaderNotSigned(_) | VerifyError::ContentSha256Mismatch | VerifyError::PayloadMode => {
            Refusal::signature_does_not_match(error.to_string())
        }
        VerifyError::SignatureDoesNotMatch => Refusal::signature_does_not_match(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
             Key and signing method. Consult the service documentation for details.",
        ),
    }
}

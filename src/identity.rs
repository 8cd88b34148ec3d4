//! Who is asking, and how we know.
//!
//! An [`IdentitySource`] recognises what a caller presents, and some can log a person in ([`Login`]).
//! The kinds are listed in [`BUILT_INS`]; a new one is a new file and a line there.

use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::built_in::BuiltIn;
use crate::fetch::Fetch;
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::web::Caller;

mod assertion;
mod bearer;
mod claims;
mod derived;
mod email;
mod groups;
mod issued;
mod issuer;
mod kubernetes;
mod login;
mod mtls;
mod oidc;
mod onward;
mod party;
mod presented;
#[cfg(feature = "saml")]
mod saml;
mod secret_text;
mod seen;
mod shards;
mod sigv4;
mod token_file;
mod token_judge;
mod unhashed;

pub use assertion::{RolePair, SamlResponse};
pub use bearer::EXAMPLES as BEARER_EXAMPLES;
pub use claims::Claims;
pub use derived::Derived;
pub use email::Email;
pub use issued::{IssuedKey, IssuedKeys, IssuedTo};
pub use login::{
    Begun, DeviceLogin, Leave, Login, LoginError, LoginMemory, Once, RenewError, Returned, Shown, SignedIn, Token,
    Tokens,
};
pub use onward::{Form, Onward};
pub use party::{Heard, LeaveRequest, Message, Party, SamlLogin};
pub use presented::{BodyDigest, Presented, Rejection, Signed};
#[cfg(feature = "saml")]
pub use saml::EXAMPLES as SAML_EXAMPLES;
pub use token_judge::TokenJudge;
pub use unhashed::Unhashed;

/// Every kind of `[identity.<name>]`.
pub const BUILT_INS: &[BuiltIn<dyn IdentitySource, Materials>] = &[
    oidc::BUILT_IN,
    #[cfg(feature = "saml")]
    saml::BUILT_IN,
    bearer::BUILT_IN,
    mtls::BUILT_IN,
    token_file::BUILT_IN,
    sigv4::BUILT_IN,
    kubernetes::BUILT_IN,
];

/// What a source may use.
#[derive(Clone, Debug)]
pub struct Materials {
    /// The way out to the identity provider.
    pub fetch: Arc<Fetch>,
    /// Where verifications are counted.
    pub metrics: Metrics,
    /// The keys that our endpoints issue.
    pub keys: IssuedKeys,
}

/// The name of a configured source: `corp` in `[identity.corp]`.
pub type SourceName = Arc<str>;

/// A person or workload, named so that two sources can never mean the same one by accident (A21, A27).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Subject {
    /// The source that vouches.
    pub source: SourceName,
    /// The source's own, stable name for the subject (`sub`).
    pub id: Arc<str>,
}

/// Someone a source has vouched for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who.
    pub subject: Arc<Subject>,
    /// What is said of them.
    pub claims: Claims,
    /// When this stops being true at the latest.
    pub ends_at: SystemTime,
    /// Who keeps their credentials alive.
    pub holder: Holder,
}

/// Who keeps credentials alive: a session, a workload. Gone, and its entries go.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its name in the broker.
    pub id: HolderId,
    /// When it ends at the latest; credentials asked for it end no later, as far as STS allows.
    pub ends: SystemTime,
    /// Where the proof of identity comes from.
    pub evidence: Arc<dyn EvidenceSource>,
}

/// 128 bits that name a holder, and nothing else: safe to log.
#[derive(Clone, Copy, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct HolderId(u128);

impl HolderId {
    /// A fresh one.
    #[expect(clippy::expect_used, reason = "without randomness there is nothing safe to go on with")]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source answers");
        Self(u128::from_be_bytes(bytes))
    }

    /// The one of a credential that is shown with each request: the same for the same credential of the same source,
    /// and another for any other. It tells nothing of the credential, of which `hash` is the SHA-256.
    fn of_credential(source: &SourceName, hash: &[u8; 32]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(hash); // of one length, so that where the name begins is never in doubt (A27)
        context.update(source.as_bytes());
        let digest = context.finish();
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        Self(u128::from_be_bytes(first))
    }
}

/// By half of its bits, of which none choose the shard, so that maps may take it [`Unhashed`].
impl Hash for HolderId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64((self.0 >> 64) as u64);
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The proof of identity in the form a credential service takes.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// An OpenID Connect ID token.
    OidcToken(Secret),
    /// A SAML response that was made for AWS.
    SamlResponse(SamlResponse),
}

/// Where proof of identity comes from. Asked on a miss or a renewal only, as a token dies long before a session.
#[async_trait]
pub trait EvidenceSource: Debug + Send + Sync {
    /// Evidence valid for at least so long, or the freshest there can be.
    async fn evidence(&self, valid_for: Duration) -> Result<Evidence, EvidenceError>;

    /// The provider's own token, where one is at hand that is good at `now`. Sources that vouch for workloads have none.
    fn token(&self, _kind: TokenKind, _now: SystemTime) -> Option<Secret> {
        None
    }

    /// Renews the provider's tokens: once, however many ask.
    async fn renew_tokens(&self) -> Result<(), EvidenceError> {
        Err(EvidenceError::Expired)
    }
}

/// A provider's token for a person.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// What services of the provider take (RFC 6749 §1.4).
    #[default]
    Access,
    /// What tells a client who somebody is (OpenID Connect Core §2).
    Id,
}

/// Why there is no evidence.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The login must be done again.
    #[error("the login's proof of identity has expired and can't be renewed")]
    Expired,
    /// The provider does not answer now.
    #[error("the identity provider can't renew the proof of identity now")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// What a source makes of a caller.
#[derive(Debug)]
pub enum Recognition {
    /// The caller presents nothing of this source's.
    NotPresented,
    /// The caller presents something of this source's, and it is bad. The search ends here: a forged token is
    /// not forgiven because a cookie came along.
    Rejected(Rejection),
    /// The caller presents something of this source's, and it can't be judged now: the issuer's keys can't be had.
    Undecided(Arc<dyn std::error::Error + Send + Sync>),
    /// The source vouches.
    Verified(Identity),
    /// The caller has shown a key that was issued to somebody for whom another source vouches, if it still does.
    Issued(IssuedTo),
}

/// A source of identities.
#[async_trait]
pub trait IdentitySource: Debug + Send + Sync {
    /// What [`IdentitySource::recognize`] would say, where that is known without waiting or working: every request asks
    /// every source, and most callers present nothing, or what they presented a moment ago.
    fn glance(&self, _caller: &Caller<'_>) -> Option<Recognition> {
        None
    }

    /// Whether the caller presents something of this source's, and what it is worth.
    async fn recognize(&self, caller: &Caller<'_>) -> Recognition;

    /// The id of whom the source would vouch for if it had verified a credential with these claims, and the claims it
    /// would vouch for; for `claviger explain`.
    ///
    /// # Errors
    /// Why such a credential would be rejected.
    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let id = claims.get("sub").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.ok_or("there is no `sub`, the text that names who it is")?.into();
        Ok((id, Claims::new(claims)))
    }

    /// Whether it looks at client certificates, which some listener must then ask for.
    fn wants_certificates(&self) -> bool {
        false
    }

    /// Whether callers sign with keys that this installation has issued.
    fn takes_signatures(&self) -> bool {
        false
    }

    /// What the caller's signature says besides who they are, where they signed.
    ///
    /// # Errors
    /// Why it can't be believed.
    fn signed(&self, _caller: &Caller<'_>) -> Result<Option<Signed>, String> {
        Ok(None)
    }

    /// Whether there are tokens of those it vouches for, to be shown to STS or to an upstream.
    fn has_tokens(&self) -> bool {
        true
    }

    /// Whether logins of its leave a SAML response that was made for AWS.
    fn has_assertions(&self) -> bool {
        false
    }

    /// The interactive login, where this source has one.
    fn login(&self) -> Option<&dyn Login> {
        None
    }

    /// The judge of tokens that are shown outside of `Authorization: Bearer`, where this source takes such.
    fn token_judge(&self) -> Option<&dyn TokenJudge> {
        None
    }

    /// Whether it vouches for the workload that claviger itself runs beside, and for no caller.
    fn is_own(&self) -> bool {
        false
    }

    /// The workload that claviger itself runs beside, where this source vouches for it.
    ///
    /// # Errors
    /// Why it can't now.
    fn own(&self) -> Result<Identity, EvidenceError> {
        Err(EvidenceError::Expired)
    }

    /// Whether the source can work now; the reason if not. For `/readyz`, without secrets.
    fn trouble(&self) -> Option<String> {
        None
    }
}

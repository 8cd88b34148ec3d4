//! The provider's tokens, where something on the route puts them on requests: good ones, or none at all.

use std::time::SystemTime;

use crate::fault::Fault;
use crate::identity::{Identity, TokenKind};
use crate::policy::Permit;
use crate::route::Route;
use crate::secret::Secret;

/// What is at hand for one request.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) access: Option<Secret>,
    pub(super) id: Option<Secret>,
}

impl Tokens {
    /// What the route's injectors need of the person who passes.
    ///
    /// # Errors
    /// [`Fault::Token`]: a token that has ended is never passed on, and what can't be renewed needs a login.
    pub(super) async fn of(route: &Route, permit: &Permit, now: SystemTime) -> Result<Self, Fault> {
        let mut tokens = Self::default();
        let Some(identity) = permit.identity() else { return Ok(tokens) };
        for kind in route.injectors.iter().filter_map(|injector| injector.needs().token) {
            let token = match identity.holder.evidence.token(kind, now) {
                Some(token) => token,
                None => Box::pin(renewed(identity, kind, now)).await?,
            };
            match kind {
                TokenKind::Access => tokens.access = Some(token),
                TokenKind::Id => tokens.id = Some(token),
            }
        }
        Ok(tokens)
    }
}

/// `now` is a little in the past when the renewal is done, and a token that was good then is good enough.
async fn renewed(identity: &Identity, kind: TokenKind, now: SystemTime) -> Result<Secret, Fault> {
    let evidence = &identity.holder.evidence;
    evidence.renew_tokens().await.map_err(Fault::Token)?;
    // a provider may give no ID token at a renewal (OpenID Connect Core §12.2)
    evidence.token(kind, now).ok_or(Fault::Token(crate::identity::EvidenceError::Expired))
}

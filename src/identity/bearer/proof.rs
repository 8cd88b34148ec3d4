//! A token as proof of who its bearer is, for STS and for upstreams.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::clock::Clock;
use crate::identity::{Evidence, EvidenceError, EvidenceSource, TokenKind};
use crate::secret::Secret;

/// The token itself, until it expires.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) token: Secret,
    pub(super) expires: SystemTime,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl EvidenceSource for Proof {
    /// It can't be renewed from here: there is no fresher one, until its service shows it.
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        if self.clock.now() < self.expires {
            Ok(Evidence::OidcToken(self.token.clone()))
        } else {
            Err(EvidenceError::Expired)
        }
    }

    /// What a service shows to us is an access token, whatever else it may be.
    fn token(&self, kind: TokenKind, now: SystemTime) -> Option<Secret> {
        (kind == TokenKind::Access && now < self.expires).then(|| self.token.clone())
    }
}

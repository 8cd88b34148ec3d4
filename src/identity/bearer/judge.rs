//! What a token is worth that a caller shows.
//!
//! What is whose: a token whose claimed `iss` is not ours belongs to the app behind, or to nobody, and is not looked
//! at. Once `iss` is ours, any fault rejects the request, whatever else it brings along.
//!
//! A token that was verified a moment ago is known by its hash: [`Seen`].

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use serde_json::{Map, Value};

use super::counts::Counts;
use super::proof::Proof;
use super::shown::{Shown, shown};
use crate::built_in::Settings;
use crate::clock::{Clock, from_epoch_seconds};
use crate::identity::seen::{Hash, Seen};
use crate::identity::{
    Holder, HolderId, Identity, IdentitySource, Materials, Presented, Recognition, SourceName, Subject,
};
use crate::jose::{Expected, Form, JoseError, RemoteIssuer, claimed_issuer, verify_access_token};
use crate::secret::Secret;

/// Which tokens a source takes.
#[derive(Debug)]
pub(in crate::identity) struct Terms {
    pub(in crate::identity) issuer: Arc<RemoteIssuer>,
    pub(in crate::identity) audiences: Vec<String>,
    pub(in crate::identity) form: Form,
    pub(in crate::identity) leeway: Duration,
}

/// Judges a source's tokens; what their claims mean, the source says by [`IdentitySource::read`].
#[derive(Debug)]
pub(in crate::identity) struct Judge {
    name: SourceName,
    terms: Terms,
    seen: Seen,
    counts: Counts,
    clock: Arc<dyn Clock>,
}

impl Judge {
    pub(in crate::identity) fn new(section: &Settings<'_>, materials: &Materials, terms: Terms) -> Self {
        Self {
            name: section.name.into(),
            terms,
            seen: Seen::default(),
            counts: Counts::register(&materials.metrics, section.name),
            clock: Arc::clone(section.clock),
        }
    }

    /// What is known at once of what stands in `Authorization: Bearer`.
    pub(in crate::identity) fn glance(&self, headers: &HeaderMap) -> Option<Recognition> {
        match shown(headers) {
            Shown::Nothing => Some(Recognition::NotPresented),
            Shown::One(token) => self.known(token).map(Recognition::Verified),
            Shown::Several(_) => None,
        }
    }

    /// What comes of looking into it.
    pub(in crate::identity) async fn recognize(&self, headers: &HeaderMap, source: &dyn IdentitySource) -> Recognition {
        match shown(headers) {
            Shown::One(token) => self.judge(token, source).await,
            // which of them an upstream would look at is anybody's guess
            Shown::Several(tokens) if tokens.iter().any(|token| self.is_ours(token)) => {
                self.reject("there is more than one Authorization header")
            }
            _ => Recognition::NotPresented,
        }
    }

    /// Whose a token is that was verified a moment ago.
    pub(in crate::identity) fn known(&self, token: &str) -> Option<Identity> {
        let known = self.seen.fresh(&hash_of(token), self.clock.now())?;
        self.counts.hit();
        Some(known)
    }

    /// What a token is worth, where it is ours to judge.
    pub(in crate::identity) async fn judge(&self, token: &str, source: &dyn IdentitySource) -> Recognition {
        if !self.is_ours(token) {
            return Recognition::NotPresented;
        }
        let claims = match self.verified(token).await {
            Ok(claims) => claims,
            Err(error @ JoseError::Unavailable(_)) => {
                self.counts.undecided();
                return Recognition::Undecided(Arc::new(error));
            }
            Err(error) => return self.reject(error),
        };
        let expires = from_epoch_seconds(claims.get("exp").and_then(Value::as_u64).unwrap_or_default());
        let (id, claims) = match source.read(claims) {
            Ok(read) => read,
            Err(reason) => return self.reject(reason),
        };
        self.counts.verified();
        let (hash, now) = (hash_of(token), self.clock.now());
        Recognition::Verified(self.seen.keep(hash, now, || {
            let subject = Subject { source: Arc::clone(&self.name), id };
            let proof = Proof { token: Secret::new(token), expires, clock: Arc::clone(&self.clock) };
            let ends = expires + self.terms.leeway; // as the verification had it
            let id = HolderId::of_credential(&self.name, &hash);
            let holder = Holder { id, ends, evidence: Arc::new(proof) };
            Identity { subject: Arc::new(subject), claims, ends_at: ends, holder }
        }))
    }

    pub(in crate::identity) fn trouble(&self) -> Option<String> {
        self.terms.issuer.trouble()
    }

    fn is_ours(&self, token: &str) -> bool {
        claimed_issuer(token).is_some_and(|issuer| self.terms.issuer.is_called(&issuer))
    }

    /// The claims of a token that is signed, for us and timely.
    async fn verified(&self, token: &str) -> Result<Map<String, Value>, JoseError> {
        let Terms { issuer, audiences, form, leeway } = &self.terms;
        let metadata = issuer.metadata().await?;
        let name = metadata.get("issuer").and_then(Value::as_str).unwrap_or_default();
        let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
        let expected = Expected { issuer: name, audiences: &audiences, now: self.clock.now(), leeway: *leeway };
        match verify_access_token(token, &*issuer.keys().await?, &expected, form) {
            Err(JoseError::UnknownKey(kid)) => {
                verify_access_token(token, &*issuer.keys_with(&kid).await?, &expected, form)
            }
            verdict => verdict,
        }
    }

    fn reject(&self, reason: impl std::fmt::Display) -> Recognition {
        self.counts.rejected();
        Recognition::Rejected(Presented::Bearer.rejected(reason))
    }
}

fn hash_of(token: &str) -> Hash {
    digest(&SHA256, token.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default()
}

//! Credentials among instances: one asks the provider, and the others take what it got.
//!
//! What was issued is left for the others, sealed, until it ends. Names are made from the whole grant (A27) by our keys,
//! so that nobody who reads them learns a person or a role. Whatever fails here, the provider is asked: an outage of the
//! place in between must not be one of credentials.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::policy::Grant;
use crate::secret::Secret;
use crate::session::Commons;
use crate::web::chain;

/// The way to the other instances.
#[derive(Debug)]
pub(super) struct Exchange {
    commons: Arc<dyn Commons>,
    clock: Arc<dyn Clock>,
}

/// What an instance that needs credentials is to do.
pub(super) enum Part {
    /// Ask, leave what comes with [`Exchange::leave`], and end the turn with [`Exchange::end`].
    Ask,
    /// Another instance has asked: this is what it got.
    Take(Credentials),
    /// Ask, for this instance alone.
    Alone,
}

/// Credentials as they are left: always sealed.
#[derive(Deserialize, Serialize)]
struct Left<'a> {
    access_key_id: Arc<str>,
    secret_access_key: Cow<'a, str>,
    session_token: Cow<'a, str>,
    expires: SystemTime,
    issued: SystemTime,
    role_session: Arc<str>,
    request_id: Arc<str>,
}

impl Exchange {
    pub(super) fn new(commons: Arc<dyn Commons>, clock: Arc<dyn Clock>) -> Self {
        Self { commons, clock }
    }

    /// Waits until another instance has left credentials for `grant`, or it is this one's turn to ask.
    pub(super) async fn part(&self, grant: &Grant) -> Part {
        let name = self.name(grant);
        for _ in 0..LOOKS {
            let Ok(is_ours) = self.commons.claim(&turn(&name), TURN).await else { return Part::Alone };
            let found = self.commons.read(&name).await;
            if let Some(credentials) = found.ok().flatten().and_then(|note| self.read(&note)) {
                if is_ours {
                    self.end(grant).await;
                }
                return Part::Take(credentials);
            }
            if is_ours {
                return Part::Ask;
            }
            tokio::time::sleep(LOOK).await;
        }
        Part::Alone
    }

    /// Leaves credentials for the others.
    pub(super) async fn leave(&self, grant: &Grant, credentials: &Credentials) {
        let life = credentials.expires.duration_since(self.clock.now()).unwrap_or_default();
        let Ok(session_token) = credentials.session_token.to_str() else { return };
        let left = Left {
            access_key_id: Arc::clone(&credentials.access_key_id),
            secret_access_key: Cow::Borrowed(credentials.secret_access_key.expose()),
            session_token: Cow::Borrowed(session_token),
            expires: credentials.expires,
            issued: credentials.issued,
            role_session: Arc::clone(&credentials.role_session),
            request_id: Arc::clone(&credentials.request_id),
        };
        // a struct of texts and times is always JSON
        let note = Zeroizing::new(serde_json::to_vec(&left).unwrap_or_default());
        self.note(self.commons.put(&self.name(grant), &note, life).await);
    }

    /// Ends this instance's turn.
    pub(super) async fn end(&self, grant: &Grant) {
        self.note(self.commons.release(&turn(&self.name(grant))).await);
    }

    /// Takes back what was left: whoever asks next asks the provider.
    pub(super) async fn take_back(&self, grant: &Grant) {
        self.note(self.commons.take(&self.name(grant)).await.map(drop));
    }

    /// What was left, if it is not time for a renewal already.
    fn read(&self, note: &[u8]) -> Option<Credentials> {
        let left: Left<'_> = serde_json::from_slice(note).ok()?;
        let life = left.expires.duration_since(left.issued).unwrap_or_default();
        if self.clock.now() >= left.issued + life.mul_f64(NEW_ENOUGH) {
            return None;
        }
        let mut session_token = HeaderValue::from_str(&left.session_token).ok()?;
        session_token.set_sensitive(true);
        Some(Credentials {
            access_key_id: left.access_key_id,
            secret_access_key: Secret::new(left.secret_access_key),
            session_token,
            expires: left.expires,
            issued: left.issued,
            role_session: left.role_session,
            request_id: left.request_id,
        })
    }

    /// Derived `Debug` quotes every text and has every field: no two grants are the same bytes, and a new field joins by
    /// being added.
    fn name(&self, grant: &Grant) -> String {
        format!("grant-{}", self.commons.blind(&["grant", &format!("{grant:?}")]))
    }

    fn note<E: std::error::Error>(&self, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            tracing::debug!(reason = chain(&error), "the other instances could not be told of credentials");
        }
    }
}

fn turn(name: &str) -> String {
    format!("issue-{name}")
}

/// Longer than a provider is waited for.
const TURN: Duration = Duration::from_secs(35);
/// How often one looks whether another's have come; for 10 s in all, then everyone asks for themselves.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 200;
/// Less of their life than after which an instance renews them, or one that renews would be given its own.
const NEW_ENOUGH: f64 = 0.6;

//! Remembering a login: a ticket in the browser, a session here.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::identity::{HolderId, Subject};

/// A login that is remembered.
#[derive(Debug)]
pub struct Session {}

/// The SHA-256 of a ticket: what a store knows a ticket by, so that reading the store gives nobody a session.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TicketHash(pub [u8; 32]);

impl Debug for TicketHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketHash(…)")
    }
}

/// Why a store can't answer.
#[derive(Debug, thiserror::Error)]
#[error("the session store is unavailable")]
pub struct StoreError(#[source] pub crate::web::BoxError);

/// Where sessions are kept.
#[async_trait]
pub trait SessionStore: Debug + Send + Sync {
    /// The session a ticket opens.
    async fn find(&self, ticket: &TicketHash) -> Result<Option<Arc<Session>>, StoreError>;
    /// A subject's sessions.
    async fn of_subject(&self, subject: &Subject) -> Result<Vec<Arc<Session>>, StoreError>;
    /// A session by its holder id.
    async fn by_id(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError>;
}

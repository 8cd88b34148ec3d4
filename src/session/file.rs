//! `kind = "file"`: sessions in this process, and each sealed in a file of its own, so that a restart keeps them.
//!
//! Requests are answered from memory; only what changes a session waits for the disk, on a thread of its own
//! ([`writer`]). A login, a logout, renewed tokens and a choice are on the disk before they are answered. When a session
//! was used last is its file's time, set now and then: after a kill it may be a tenth of `idle` too old.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::keeper::{Upkeep, lock};
use super::memory::Memory;
use super::{Changed, Glance, Session, SessionSettings, SessionStore, StoreError, TicketHash, Why};
use crate::identity::{HolderId, Subject};
use crate::secret::Sealer;

mod folder;
mod writer;

use folder::{Folder, Found};
use writer::Writer;

/// Sessions in memory, and the thread that keeps the files as they are there.
pub(super) struct Files {
    near: Arc<Memory>,
    writer: Writer,
    /// Whose file is not as the session is: the disk was full, or gone.
    behind: Mutex<HashSet<HolderId>>,
}

/// Why kept sessions can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Others could read or redirect what is kept (A25).
    #[error("`{}` must be a folder that only its owner can use (mode 0700)", .0.display())]
    Exposed(PathBuf),
    /// Another process keeps its sessions there.
    #[error("`{}` is in use by another process; each needs a folder of its own", .0.display())]
    InUse(PathBuf),
    /// It can't be read or written.
    #[error("`{}` can't be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Files {
    /// The sessions that are kept in `folder`.
    ///
    /// # Errors
    /// A folder that can't be used, that others can use, or that another process uses.
    pub(super) fn open(
        folder: &Path,
        sealer: Arc<Sealer>,
        settings: &SessionSettings,
        upkeep: &Arc<Upkeep>,
    ) -> Result<Self, OpenError> {
        let folder = Folder::open(folder, sealer)?;
        let near = Arc::new(Memory::new(settings.max_sessions));
        let (now, mut crowded, mut unreadable) = (upkeep.clock.now(), Vec::new(), 0_u32);
        let mut found = Vec::new();
        for name in folder.names().map_err(|source| folder.failed(source))? {
            match folder.read(&name, now) {
                Found::Session { whole, last_use } => found.push((whole, last_use.min(now))),
                Found::Unreadable { since } => {
                    unreadable += 1;
                    // it may be another key's, and that key may come back; but not for longer than a session lives
                    if since + settings.lifetime <= now {
                        folder.discard(&name);
                    }
                }
                Found::Nothing => {}
            }
        }
        // as they came: of one person's too many the oldest make room
        found.sort_by_key(|(whole, _)| whole.record.login.created);
        for (whole, last_use) in found {
            let session = Session::restore(whole.record, last_use, upkeep);
            if session.overdue(now).is_some() {
                folder.discard(&session.id.to_string());
                continue;
            }
            for ticket in whole.tickets {
                crowded.extend(near.enter(&session, ticket).1);
            }
        }
        if unreadable > 0 {
            tracing::warn!(
                sessions = unreadable,
                "kept sessions can't be read: other keys sealed them, or they were changed; nobody is logged in by them"
            );
        }
        let restored = near.at_hand().len();
        if restored > 0 {
            tracing::info!(sessions = restored, "sessions were restored");
        }
        let writer = Writer::start(folder, Arc::clone(&near))?;
        crowded.iter().for_each(|session| writer.order(session.id));
        Ok(Self { near, writer, behind: Mutex::default() })
    }

    /// Brings a session's file in line with the session; one that could not be is tried again later.
    async fn write(&self, id: HolderId) -> Result<(), StoreError> {
        let written = self.writer.write(id).await;
        let mut behind = lock(&self.behind);
        match &written {
            Ok(()) => behind.remove(&id),
            Err(_) => behind.insert(id),
        };
        written.map_err(|error| StoreError(Box::new(error)))
    }
}

#[async_trait]
impl SessionStore for Files {
    fn glance(&self, ticket: &TicketHash) -> Glance {
        self.near.glance(ticket)
    }

    async fn find(&self, ticket: &TicketHash) -> Result<Option<Arc<Session>>, StoreError> {
        self.near.find(ticket).await
    }

    async fn of_subject(&self, subject: &Subject) -> Result<Vec<Arc<Session>>, StoreError> {
        self.near.of_subject(subject).await
    }

    async fn of_provider_session(&self, source: &str, sid: &str) -> Result<Vec<Arc<Session>>, StoreError> {
        self.near.of_provider_session(source, sid).await
    }

    async fn by_id(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError> {
        self.near.by_id(id).await
    }

    async fn keep(&self, session: &Arc<Session>, ticket: TicketHash) -> Result<(), StoreError> {
        let (_, crowded) = self.near.enter(session, ticket);
        for session in crowded {
            session.end(Why::Crowded);
            self.writer.order(session.id);
        }
        let written = self.write(session.id).await;
        if written.is_err() {
            // a login that a restart would forget is none, and the browser is told so (A37)
            if let Some(session) = self.near.take_ticket(&ticket) {
                session.end(Why::Unkept);
            }
        }
        written
    }

    async fn retire(&self, ticket: &TicketHash) -> Result<(), StoreError> {
        let Some(session) = self.near.find(ticket).await? else { return Ok(()) };
        self.near.retire(ticket).await?;
        self.write(session.id).await
    }

    async fn forget(&self, session: &Session) -> Result<(), StoreError> {
        self.near.forget(session).await?;
        self.write(session.id).await
    }

    fn at_hand(&self) -> Vec<Arc<Session>> {
        self.near.at_hand()
    }

    async fn update(&self, session: &Session, _changed: Changed) -> Result<(), StoreError> {
        self.write(session.id).await
    }

    async fn tend(&self) {
        let behind: Vec<HolderId> = lock(&self.behind).iter().copied().collect();
        for id in behind {
            if self.write(id).await.is_err() {
                break; // the others would fail as well
            }
        }
        let used = self.near.at_hand().into_iter().filter(|session| session.use_to_note().is_some());
        self.writer.note_uses(used.collect());
    }

    async fn close(&self) {
        self.writer.note_uses(self.near.at_hand());
        self.writer.finish().await;
    }

    fn trouble(&self) -> Option<String> {
        let behind = lock(&self.behind).len();
        (behind > 0).then(|| format!("{behind} sessions could not be written; is the disk full?"))
    }
}

impl Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("near", &self.near).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

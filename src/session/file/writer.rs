//! The one thread that writes session files.
//!
//! An order names a session and says nothing of it: when its turn comes, the file is made what the session is then, or
//! goes with it. So orders can be joined, and none can undo a later one. What was ordered meanwhile is settled together.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::oneshot;

use super::folder::Folder;
use super::{Memory, OpenError, Session};
use crate::clock::from_epoch_seconds;
use crate::identity::HolderId;
use crate::session::record::Whole;

/// Orders what is to be written.
pub(super) struct Writer(Sender<Order>);

enum Order {
    /// The file of this session shall be as the session is.
    Write(HolderId, Option<oneshot::Sender<io::Result<()>>>),
    /// These were used; each file shall say when.
    NoteUses(Vec<Arc<Session>>),
    /// Everything before has been done.
    Finish(oneshot::Sender<()>),
}

impl Writer {
    /// Writes what is in `near`.
    pub(super) fn start(folder: Folder, near: Arc<Memory>) -> Result<Self, OpenError> {
        let (orders, taken) = channel();
        let failed = folder.failed(io::Error::other("the system gives no thread"));
        let work = move || run(&folder, &near, &taken);
        thread::Builder::new().name("sessions".into()).spawn(work).map_err(|_| failed)?;
        Ok(Self(orders))
    }

    /// Brings a session's file in line with the session.
    pub(super) async fn write(&self, id: HolderId) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        let _ = self.0.send(Order::Write(id, Some(tell)));
        told.await.unwrap_or_else(|_| Err(io::Error::other("session files are not written any more")))
    }

    /// As [`Writer::write`], without waiting.
    pub(super) fn order(&self, id: HolderId) {
        let _ = self.0.send(Order::Write(id, None));
    }

    /// Takes down when these were used last.
    pub(super) fn note_uses(&self, sessions: Vec<Arc<Session>>) {
        if !sessions.is_empty() {
            let _ = self.0.send(Order::NoteUses(sessions));
        }
    }

    /// Waits until all that was ordered is done.
    pub(super) async fn finish(&self) {
        let (tell, told) = oneshot::channel();
        let _ = self.0.send(Order::Finish(tell));
        let _ = told.await;
    }
}

fn run(folder: &Folder, near: &Memory, orders: &Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let mut writes: HashMap<HolderId, Vec<oneshot::Sender<io::Result<()>>>> = HashMap::new();
        let mut finishes = Vec::new();
        for order in std::iter::once(first).chain(orders.try_iter()).take(TOGETHER) {
            match order {
                Order::Write(id, tell) => writes.entry(id).or_default().extend(tell),
                Order::NoteUses(sessions) => note_uses(folder, &sessions),
                Order::Finish(tell) => finishes.push(tell),
            }
        }
        let done: Vec<_> = writes.into_iter().map(|(id, waiting)| (write(folder, near, id), waiting)).collect();
        let settled = if done.is_empty() { Ok(()) } else { folder.settle() };
        for (written, waiting) in done {
            for tell in waiting {
                let _ = tell.send(match written.as_ref().and(settled.as_ref()) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                });
            }
        }
        for tell in finishes {
            let _ = tell.send(());
        }
    }
}

fn write(folder: &Folder, near: &Memory, id: HolderId) -> io::Result<()> {
    let name = id.to_string();
    match near.kept(id) {
        Some((session, tickets)) if !session.is_over() => {
            let last_use = from_epoch_seconds(session.last_used());
            folder.write(&name, &Whole { record: session.record(), tickets }, last_use)?;
            session.use_is_noted(last_use);
            Ok(())
        }
        _ => folder.remove(&name),
    }
}

fn note_uses(folder: &Folder, sessions: &[Arc<Session>]) {
    for session in sessions.iter().filter(|session| !session.is_over()) {
        let at = from_epoch_seconds(session.last_used());
        folder.note_use(&session.id().to_string(), at);
        session.use_is_noted(at);
    }
}

/// Enough that a burst of logins shares its waits for the disk.
const TOGETHER: usize = 256;

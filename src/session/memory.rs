//! `kind = "memory"`: sessions in this process.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, RwLock};

use async_trait::async_trait;

use super::keeper::lock;
use super::{Glance, Session, SessionStore, StoreError, TicketHash, Why};
use crate::identity::{HolderId, SourceName, Subject, Unhashed};

/// Tickets in shards that every request reads, and an index that only logins, logouts and sweeps touch.
///
/// Where both are locked, the index is first.
pub(super) struct Memory {
    shards: Vec<RwLock<Tickets>>,
    index: Mutex<Index>,
    most: usize,
}

type Tickets = HashMap<TicketHash, Arc<Session>, Unhashed>;

#[derive(Default)]
struct Index {
    by_id: HashMap<HolderId, Kept>,
    by_subject: HashMap<Arc<Subject>, Vec<HolderId>>,
    by_provider: HashMap<(SourceName, Arc<str>), Vec<HolderId>>,
}

struct Kept {
    session: Arc<Session>,
    tickets: Vec<TicketHash>,
}

impl Memory {
    /// Keeps no more than `most` sessions.
    pub(super) fn new(most: usize) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, index: Mutex::default(), most: most.max(1) }
    }

    fn find_now(&self, ticket: &TicketHash) -> Option<Arc<Session>> {
        let shard = self.shard(ticket)?.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        shard.get(ticket).cloned()
    }

    /// The shard by other bits than those a map uses to find its slot.
    fn shard(&self, ticket: &TicketHash) -> Option<&RwLock<Tickets>> {
        let number = (ticket.number() >> 32) as usize % SHARDS;
        self.shards.get(number)
    }

    /// Forgets a ticket, and leaves its session as it is.
    fn drop_ticket(&self, ticket: &TicketHash) {
        if let Some(shard) = self.shard(ticket) {
            shard.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(ticket);
        }
    }

    /// The same, where it is written down too that the session has it.
    pub(super) fn forget_ticket(&self, id: HolderId, ticket: &TicketHash) {
        let mut index = lock(&self.index);
        self.drop_ticket(ticket);
        if let Some(kept) = index.by_id.get_mut(&id) {
            kept.tickets.retain(|one| one != ticket);
        }
    }

    fn drop_session(&self, index: &mut Index, id: HolderId) -> Option<Arc<Session>> {
        let Kept { session, tickets } = index.by_id.remove(&id)?;
        for ticket in &tickets {
            self.drop_ticket(ticket);
        }
        drop_from(&mut index.by_subject, &session.subject, id);
        if let Some(sid) = &session.at_provider {
            drop_from(&mut index.by_provider, &(Arc::clone(&session.subject.source), Arc::clone(sid)), id);
        }
        Some(session)
    }

    /// Makes room for one more of `subject`: by ending the subject's own oldest where there are many, so that nobody
    /// crowds out others by logging in again and again; else by ending those unused the longest, several at a
    /// time, as finding them is a walk over all.
    fn make_room(&self, index: &mut Index, subject: &Subject) -> Vec<Arc<Session>> {
        if let Some(own) = index.by_subject.get(subject)
            && own.len() >= OF_A_SUBJECT
            && let Some(oldest) = own.first().copied()
        {
            return self.drop_session(index, oldest).into_iter().collect();
        }
        if index.by_id.len() < self.most {
            return Vec::new();
        }
        let mut by_use: Vec<(u64, HolderId)> =
            index.by_id.values().map(|kept| (kept.session.last_used(), kept.session.id)).collect();
        let few = (index.by_id.len() + 1 - self.most).max(self.most / 100).clamp(1, by_use.len());
        by_use.select_nth_unstable(few - 1);
        by_use.truncate(few);
        by_use.into_iter().filter_map(|(_, id)| self.drop_session(index, id)).collect()
    }
}

impl Memory {
    /// Keeps a session, or one more ticket of a session that is kept: then that one is given back. Also gives back the
    /// sessions that had to make room; ending them is the caller's.
    pub(super) fn enter(
        &self,
        session: &Arc<Session>,
        ticket: impl Into<Option<TicketHash>>,
    ) -> (Arc<Session>, Vec<Arc<Session>>) {
        let mut index = lock(&self.index);
        let (session, crowded) = match index.by_id.get(&session.id) {
            Some(kept) => (Arc::clone(&kept.session), Vec::new()),
            None => (Arc::clone(session), self.make_room(&mut index, &session.subject)),
        };
        let ticket = ticket.into();
        index.enter(&session, ticket).iter().for_each(|oldest| self.drop_ticket(oldest));
        if let Some(ticket) = ticket
            && let Some(shard) = self.shard(&ticket)
        {
            let mut shard = shard.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            shard.insert(ticket, Arc::clone(&session));
        }
        (session, crowded)
    }

    /// Forgets a ticket; gives back the session if that was its last, and is forgotten with it. Ending it is the caller's.
    pub(super) fn take_ticket(&self, ticket: &TicketHash) -> Option<Arc<Session>> {
        let mut index = lock(&self.index);
        let session = self.find_now(ticket)?;
        self.drop_ticket(ticket);
        let kept = index.by_id.get_mut(&session.id)?;
        kept.tickets.retain(|one| one != ticket);
        let is_last = kept.tickets.is_empty();
        is_last.then(|| self.drop_session(&mut index, session.id)).flatten()
    }

    /// Forgets a session and all its tickets.
    pub(super) fn drop_by_id(&self, id: HolderId) {
        self.drop_session(&mut lock(&self.index), id);
    }

    /// A session that is kept, and its tickets.
    pub(super) fn kept(&self, id: HolderId) -> Option<(Arc<Session>, Vec<TicketHash>)> {
        let index = lock(&self.index);
        index.by_id.get(&id).map(|kept| (Arc::clone(&kept.session), kept.tickets.clone()))
    }
}

#[async_trait]
impl SessionStore for Memory {
    fn glance(&self, ticket: &TicketHash) -> Glance {
        self.find_now(ticket).map_or(Glance::Nothing, Glance::Found)
    }

    async fn find(&self, ticket: &TicketHash) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.find_now(ticket))
    }

    async fn of_subject(&self, subject: &Subject) -> Result<Vec<Arc<Session>>, StoreError> {
        let index = lock(&self.index);
        Ok(index.sessions(index.by_subject.get(subject)))
    }

    async fn of_provider_session(&self, source: &str, sid: &str) -> Result<Vec<Arc<Session>>, StoreError> {
        let index = lock(&self.index);
        Ok(index.sessions(index.by_provider.get(&(Arc::from(source), Arc::from(sid)))))
    }

    async fn by_id(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(lock(&self.index).by_id.get(&id).map(|kept| Arc::clone(&kept.session)))
    }

    async fn keep(&self, session: &Arc<Session>, ticket: TicketHash) -> Result<(), StoreError> {
        let (_, crowded) = self.enter(session, ticket);
        crowded.iter().for_each(|session| session.end(Why::Crowded));
        Ok(())
    }

    async fn retire(&self, ticket: &TicketHash) -> Result<(), StoreError> {
        if let Some(last) = self.take_ticket(ticket) {
            last.end(Why::Replaced);
        }
        Ok(())
    }

    async fn forget(&self, session: &Session) -> Result<(), StoreError> {
        self.drop_session(&mut lock(&self.index), session.id);
        Ok(())
    }

    fn at_hand(&self) -> Vec<Arc<Session>> {
        lock(&self.index).by_id.values().map(|kept| Arc::clone(&kept.session)).collect()
    }
}

impl Index {
    /// Writes the session and its ticket down; gives back the tickets that are too many.
    fn enter(&mut self, session: &Arc<Session>, ticket: Option<TicketHash>) -> Option<TicketHash> {
        let id = session.id;
        if let Some(kept) = self.by_id.get_mut(&id) {
            let ticket = ticket.filter(|ticket| !kept.tickets.contains(ticket))?;
            let oldest = (kept.tickets.len() >= TICKETS).then(|| kept.tickets.remove(0));
            kept.tickets.push(ticket);
            return oldest;
        }
        self.by_subject.entry(Arc::clone(&session.subject)).or_default().push(id);
        if let Some(sid) = &session.at_provider {
            let key = (Arc::clone(&session.subject.source), Arc::clone(sid));
            self.by_provider.entry(key).or_default().push(id);
        }
        self.by_id.insert(id, Kept { session: Arc::clone(session), tickets: ticket.into_iter().collect() });
        None
    }

    fn sessions(&self, ids: Option<&Vec<HolderId>>) -> Vec<Arc<Session>> {
        let ids = ids.into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id)).map(|kept| Arc::clone(&kept.session)).collect()
    }
}

impl Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("most", &self.most).finish_non_exhaustive()
    }
}

fn drop_from<K: Eq + std::hash::Hash>(map: &mut HashMap<K, Vec<HolderId>>, key: &K, id: HolderId) {
    if let Some(ids) = map.get_mut(key) {
        ids.retain(|one| *one != id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

/// Enough that workers rarely meet.
const SHARDS: usize = 64;
/// More browsers than a person has, and a limit for one who logs in in a loop.
const OF_A_SUBJECT: usize = 100;
/// Of one session: hosts, and what browsers lost.
const TICKETS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::House;

    #[tokio::test]
    async fn a_session_is_found_by_ticket_subject_provider_session_and_id() {
        let house = House::new();
        let (memory, session) = (Memory::new(10), house.session("alice"));
        let (one, two) = (TicketHash([1; 32]), TicketHash([2; 32]));
        memory.keep(&session, one).await.unwrap();
        memory.keep(&session, two).await.unwrap();
        assert!(matches!(memory.glance(&one), Glance::Found(found) if found.id == session.id));
        assert_eq!(memory.of_subject(&session.subject).await.unwrap().len(), 1);
        assert_eq!(memory.of_provider_session("corp", "sid-alice").await.unwrap().len(), 1);
        assert!(memory.of_provider_session("other", "sid-alice").await.unwrap().is_empty(), "A21");
        assert!(memory.by_id(session.id).await.unwrap().is_some());

        assert!(memory.take_ticket(&one).is_none());
        assert!(matches!((memory.glance(&one), memory.glance(&two)), (Glance::Nothing, Glance::Found(_))));
        assert!(memory.take_ticket(&two).is_some(), "that was the last");
        assert!(memory.of_subject(&session.subject).await.unwrap().is_empty());
        assert!(memory.of_provider_session("corp", "sid-alice").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_forgotten_session_leaves_no_ticket() {
        let house = House::new();
        let (memory, session) = (Memory::new(10), house.session("alice"));
        for number in 0..100 {
            memory.keep(&session, TicketHash([number; 32])).await.unwrap();
        }
        let known = |memory: &Memory| (0..100).filter(|n| memory.find_now(&TicketHash([*n; 32])).is_some()).count();
        assert_eq!(known(&memory), TICKETS);
        memory.forget(&session).await.unwrap();
        assert_eq!(known(&memory), 0);
    }

    #[tokio::test]
    async fn one_person_crowds_out_nobody_else() {
        let house = House::new();
        let memory = Memory::new(OF_A_SUBJECT + 1);
        let bob = house.session("bob");
        memory.keep(&bob, TicketHash([255; 32])).await.unwrap();
        let mut sessions = Vec::new();
        for number in 0..OF_A_SUBJECT + 2 {
            house.clock.advance(std::time::Duration::from_secs(1));
            let session = house.session("alice");
            memory.keep(&session, TicketHash([u8::try_from(number).unwrap(); 32])).await.unwrap();
            sessions.push(session);
        }
        assert!(!bob.is_over(), "unused the longest, and not alice's");
        let over: Vec<bool> = sessions.iter().take(4).map(|session| session.is_over()).collect();
        assert_eq!(over, [true, true, false, false]);
        assert_eq!(memory.of_subject(&sessions[0].subject).await.unwrap().len(), OF_A_SUBJECT);
    }

    #[tokio::test]
    async fn the_longest_unused_make_room() {
        let house = House::new();
        let memory = Memory::new(3);
        let mut sessions = Vec::new();
        for number in 0..5u8 {
            let session = house.session("alice");
            memory.keep(&session, TicketHash([number; 32])).await.unwrap();
            sessions.push(session);
            house.clock.advance(std::time::Duration::from_secs(1));
        }
        let over: Vec<bool> = sessions.iter().map(|session| session.is_over()).collect();
        assert_eq!(over, [true, true, false, false, false]);
        assert_eq!(memory.at_hand().len(), 3);
    }
}

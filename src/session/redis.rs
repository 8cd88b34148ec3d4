//! `kind = "redis"`: sessions that several instances share.
//!
//! A request of a session at hand is answered from memory. What changes a session is written to Redis first, and told to
//! the others by a stream they all read ([`follow`]): a logout on one instance cuts what is open on the others as soon as
//! they have read of it. Tickets that are not known here are looked up.
//!
//! While Redis does not answer, sessions at hand go on for `outage`, and whatever needs Redis answers 503: a login, a
//! logout, a ticket that is not known here. After that nobody is let in until it is back. A logout meanwhile ends the
//! session here, is answered 503, as the others can't be told, and is told them when Redis is back. So does a ticket that is
//! retired: it opens nothing here any more, and nothing elsewhere as soon as Redis is told.
//!
//! Values are sealed; tickets are known by their hash, people by names that only the session keys can make.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::commons::Commons;
use super::keeper::{Upkeep, lock};
use super::memory::Memory;
use super::record::{LoginPart, Part, Record, WordPart};
use super::renewal::Word;
use super::{Changed, Glance, Session, SessionSettings, SessionStore, StoreError, TicketHash, Why};
use crate::clock::from_epoch_seconds;
use crate::identity::{HolderId, Subject};
use crate::redis::{Pipeline, Redis, RedisError, cmd, pipe};
use crate::secret::{Sealer, random_token};

mod commons;
mod follow;
mod keys;

use keys::Keys;

/// Sessions in Redis, and those of them that were used here in memory.
pub(super) struct Shared(Arc<Inner>, Vec<JoinHandle<()>>);

struct Inner {
    redis: Arc<Redis>,
    keys: Keys,
    sealer: Arc<Sealer>,
    near: Memory,
    upkeep: Arc<Upkeep>,
    outage: Duration,
    /// This instance among the others.
    me: String,
    /// What is at hand is as Redis has it.
    in_step: watch::Sender<bool>,
    /// What is at hand may be served.
    serves: AtomicBool,
    /// Ends and changes that Redis does not know yet.
    behind: Mutex<Behind>,
}

#[derive(Default)]
struct Behind {
    ends: HashMap<HolderId, Arc<Subject>>,
    changes: HashSet<(HolderId, Changed)>,
    retired: HashMap<TicketHash, HolderId>,
}

/// The sealed parts of a session that change, as Redis has them.
type Changing = (Option<Vec<u8>>, Option<Vec<u8>>);
/// All of its parts.
type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

impl Shared {
    /// Sessions in `redis`; connects, and follows what other instances do, on the runtime of the caller.
    pub(super) fn join(
        redis: Arc<Redis>,
        sealer: Arc<Sealer>,
        settings: &SessionSettings,
        upkeep: &Arc<Upkeep>,
    ) -> Self {
        let inner = Arc::new(Inner {
            keys: Keys::of(&redis),
            redis,
            sealer,
            near: Memory::new(settings.max_sessions),
            upkeep: Arc::clone(upkeep),
            outage: settings.outage,
            me: random_token(12),
            in_step: watch::Sender::new(false),
            serves: AtomicBool::new(true),
            behind: Mutex::default(),
        });
        let redis = Arc::clone(&inner.redis);
        let connected = tokio::spawn(async move { redis.stay_connected().await });
        let following = tokio::spawn(Arc::clone(&inner).follow());
        Self(inner, vec![connected, following])
    }

    pub(super) fn commons(&self) -> Arc<dyn Commons> {
        Arc::clone(&self.0) as _
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.1.iter().for_each(JoinHandle::abort);
    }
}

impl Inner {
    /// The time until `at`, in milliseconds, as Redis counts; at least one.
    fn millis_until(&self, at: SystemTime) -> u64 {
        millis(at.duration_since(self.upkeep.clock.now()).unwrap_or_default())
    }

    /// How long Redis shall keep a session that was used last at `last_use`. Each instance judges by its own uses what is
    /// idle; this only has to be longer, by what they may tell too late. It may end after the session does: other
    /// instances read from it when the session was used.
    fn life(&self, session: &Session, last_use: SystemTime) -> u64 {
        self.millis_until(last_use + session.idle + slack(session.idle))
    }

    fn require_step(&self) -> Result<(), StoreError> {
        if *self.in_step.borrow() { Ok(()) } else { Err(RedisError::Gone.into()) }
    }

    /// The session called `id`, brought here where it was not.
    async fn fetch(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError> {
        if let Some((session, _)) = self.near.kept(id) {
            return Ok(Some(session));
        }
        self.require_step()?;
        let name = id.to_string();
        let key = self.keys.session(&name);
        let mut ask = pipe();
        ask.cmd("HMGET").arg(&key).arg(&["login", "word", "choices"]).cmd("PTTL").arg(&key);
        let (parts, left): (Parts, i64) = self.redis.ask_all(&ask).await?;
        let (Some(login), Some(word), Some(choices)) = parts else { return Ok(None) };
        let opened = (|| {
            let login: LoginPart =
                Part::Login.open(&self.sealer, &name, &login).filter(|login: &LoginPart| login.id == id)?;
            let word = Part::Word.open(&self.sealer, &name, &word)?;
            let choices = Part::Choices.open(&self.sealer, &name, &choices)?;
            Some(Record { login, word, choices })
        })();
        let Some(record) = opened else {
            // A9; it is left alone, as another instance may have its key already
            tracing::warn!(session.id = %id, "a session in redis can't be read: another key sealed it, or it was changed");
            return Ok(None);
        };
        let last_use = self.last_use(record.login.idle, left);
        let session = Session::restore(record, last_use, &self.upkeep);
        let is_vouched_for = |session: &Session| self.upkeep.source_of(session).is_some();
        if !is_vouched_for(&session) {
            return Ok(None); // A21; it is left alone, as another instance's config may be ahead of ours
        }
        let session = self.bring(&session, None).await;
        // it may have ended between reading it and having it at hand, where the stream's word would have found it, or a
        // new config
        let is_there: bool = self.redis.ask(cmd("EXISTS").arg(&key)).await?;
        if !is_there || lock(&self.behind).ends.contains_key(&id) || !is_vouched_for(&session) {
            self.end_here(&session);
            return Ok(None);
        }
        Ok(Some(session))
    }

    /// When a session was used last, by the time Redis will keep it.
    fn last_use(&self, idle: Duration, left: i64) -> SystemTime {
        let (now, left) = (self.upkeep.clock.now(), Duration::from_millis(u64::try_from(left).unwrap_or_default()));
        let unused = (idle + slack(idle)).saturating_sub(left);
        now.checked_sub(unused).unwrap_or(now)
    }

    /// Has a session at hand. Those that make room end, for all.
    async fn bring(&self, session: &Arc<Session>, ticket: Option<TicketHash>) -> Arc<Session> {
        let (session, crowded) = self.near.enter(session, ticket);
        for other in crowded {
            other.end(Why::Crowded);
            let _ = self.tell_end(other.id, &other.subject, other.at_provider.as_deref()).await;
        }
        session
    }

    /// It has ended elsewhere. First it is over, then it is not at hand: what is neither would be taken for a new one, and
    /// written anew.
    fn end_here(&self, session: &Session) {
        session.end(Why::Elsewhere);
        self.near.drop_by_id(session.id);
    }

    /// Has Redis forget a session, and the others read of it.
    async fn tell_end(&self, id: HolderId, subject: &Arc<Subject>, sid: Option<&str>) -> Result<(), StoreError> {
        let ended = self.redis.ask::<()>(&self.keys.end(id, &self.indexes(subject, sid), &self.me)).await;
        let mut behind = lock(&self.behind);
        match &ended {
            Ok(()) => drop(behind.ends.remove(&id)),
            Err(_) => drop(behind.ends.insert(id, Arc::clone(subject))),
        }
        Ok(ended?)
    }

    /// Has Redis forget a ticket, and the session with its last. Until that is done it is tried again and again: a session
    /// whose last ticket is gone would be nobody's, and what was opened with it would go on.
    async fn tell_retired(&self, id: HolderId, ticket: &TicketHash) -> Result<(), StoreError> {
        lock(&self.behind).retired.insert(*ticket, id);
        let is_last: bool = self.redis.ask(&self.keys.retire(id, &ticket.text(), &self.me)).await?;
        if is_last && let Some(session) = self.fetch(id).await? {
            session.end(Why::Replaced);
            self.near.drop_by_id(id);
            // from here on it is the session's end that is behind, if anything is
            let told = self.tell_end(id, &session.subject, session.at_provider.as_deref()).await;
            lock(&self.behind).retired.remove(ticket);
            return told;
        }
        lock(&self.behind).retired.remove(ticket);
        Ok(())
    }

    /// The sets that list a session: of its subject, and by what the provider calls it. One for each of our keys.
    fn indexes(&self, subject: &Subject, sid: Option<&str>) -> Vec<String> {
        let mut indexes = self.of_subject(subject);
        indexes.extend(sid.into_iter().flat_map(|sid| self.of_provider_session(&subject.source, sid)));
        indexes
    }

    fn of_subject(&self, subject: &Subject) -> Vec<String> {
        let names = self.sealer.blinded(&["subject", &subject.source, &subject.id]);
        names.iter().map(|name| self.keys.index(name)).collect()
    }

    fn of_provider_session(&self, source: &str, sid: &str) -> Vec<String> {
        let names = self.sealer.blinded(&["provider session", source, sid]);
        names.iter().map(|name| self.keys.index(name)).collect()
    }

    /// The sessions that these sets list.
    async fn listed(&self, indexes: &[String]) -> Result<Vec<Arc<Session>>, StoreError> {
        self.require_step()?;
        let ids: Vec<String> = self.redis.ask(cmd("SUNION").arg(indexes)).await?;
        let mut sessions = Vec::new();
        for id in ids.iter().filter_map(|id| serde_json::from_str(id).ok()) {
            sessions.extend(self.fetch(id).await?);
        }
        Ok(sessions)
    }

    /// Writes a session that Redis does not have yet, with these tickets.
    fn writing(&self, session: &Session, tickets: &[TicketHash]) -> Pipeline {
        let (name, record) = (session.id.to_string(), session.record());
        let (key, all) = (self.keys.session(&name), self.keys.tickets(&name));
        let ends = self.millis_until(session.ends);
        let mut write = pipe();
        write.atomic();
        write.cmd("HSET").arg(&key);
        write.arg("login").arg(Part::Login.seal(&self.sealer, &name, &record.login));
        write.arg("word").arg(Part::Word.seal(&self.sealer, &name, &record.word));
        write.arg("choices").arg(Part::Choices.seal(&self.sealer, &name, &record.choices)).ignore();
        let last_use = from_epoch_seconds(session.last_used());
        write.cmd("PEXPIRE").arg(&key).arg(self.life(session, last_use)).ignore();
        for ticket in tickets {
            let (text, sealed) = (ticket.text(), self.sealed_id(ticket, session.id));
            write.cmd("SET").arg(self.keys.ticket(&text)).arg(sealed).arg("PX").arg(ends).ignore();
            write.cmd("SADD").arg(&all).arg(text).ignore();
        }
        write.cmd("PEXPIRE").arg(&all).arg(ends).ignore();
        for index in self.first_indexes(session) {
            write.cmd("SADD").arg(&index).arg(keys::member(session.id)).ignore();
            write.cmd("PEXPIRE").arg(&index).arg(ends).ignore();
        }
        write
    }

    /// The sets that are written: those under our first key.
    fn first_indexes(&self, session: &Session) -> impl Iterator<Item = String> {
        let sid = session.at_provider.as_deref();
        let provider = sid.map(|sid| self.of_provider_session(&session.subject.source, sid)).unwrap_or_default();
        self.of_subject(&session.subject).into_iter().take(1).chain(provider.into_iter().take(1))
    }

    /// What a ticket's key holds: nobody who can write to Redis makes a ticket of theirs open another's session.
    fn sealed_id(&self, ticket: &TicketHash, id: HolderId) -> Vec<u8> {
        self.sealer.seal_bytes(&["ticket", &ticket.text()], keys::member(id).as_bytes())
    }

    async fn id_of(&self, ticket: &TicketHash) -> Result<Option<HolderId>, StoreError> {
        let text = ticket.text();
        let sealed: Option<Vec<u8>> = self.redis.ask(cmd("GET").arg(self.keys.ticket(&text))).await?;
        let plain = sealed.and_then(|sealed| self.sealer.open_bytes(&["ticket", &text], &sealed));
        Ok(plain.and_then(|plain| serde_json::from_slice(&plain).ok()))
    }

    /// Takes over what other instances have written, where it is newer.
    fn take_over(&self, session: &Session, word: &[u8], choices: &[u8]) {
        let name = session.id.to_string();
        if let Some(word) = Part::Word.open::<WordPart>(&self.sealer, &name, word)
            && word.revision > session.word.load().revision
        {
            session.word.store(Arc::new(Word::of(word)));
        }
        if !lock(&self.behind).changes.contains(&(session.id, Changed::Choices))
            && let Some(choices) = Part::Choices.open(&self.sealer, &name, choices)
        {
            session.choices.store(Arc::new(choices));
        }
    }

    /// Reads a session at hand anew; it ends here where it has ended.
    async fn look_again(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        let key = self.keys.session(&session.id.to_string());
        let parts: Changing = self.redis.ask(cmd("HMGET").arg(key).arg(&["word", "choices"])).await?;
        match parts {
            (Some(word), Some(choices)) => self.take_over(session, &word, &choices),
            _ => self.end_here(session),
        }
        Ok(())
    }

    async fn write_change(&self, session: &Session, changed: Changed) -> Result<(), StoreError> {
        let (name, record) = (session.id.to_string(), session.record());
        let (field, sealed) = match changed {
            Changed::Word => ("word", Part::Word.seal(&self.sealer, &name, &record.word)),
            Changed::Choices => ("choices", Part::Choices.seal(&self.sealer, &name, &record.choices)),
        };
        let written = self.redis.ask::<bool>(&self.keys.change(session.id, field, &sealed, &self.me)).await;
        let mut behind = lock(&self.behind);
        match &written {
            Ok(_) => drop(behind.changes.remove(&(session.id, changed))),
            Err(_) => drop(behind.changes.insert((session.id, changed))),
        }
        drop(behind);
        if !written? {
            self.end_here(session);
        }
        Ok(())
    }
}

#[async_trait]
impl SessionStore for Shared {
    fn glance(&self, ticket: &TicketHash) -> Glance {
        match self.0.near.glance(ticket) {
            Glance::Found(session) if self.0.serves.load(Ordering::Relaxed) => Glance::Found(session),
            _ => Glance::Unsure,
        }
    }

    async fn find(&self, ticket: &TicketHash) -> Result<Option<Arc<Session>>, StoreError> {
        self.0.require_step()?;
        if let Glance::Found(session) = self.0.near.glance(ticket) {
            return Ok(Some(session));
        }
        if lock(&self.0.behind).retired.contains_key(ticket) {
            return Ok(None);
        }
        let Some(id) = self.0.id_of(ticket).await? else { return Ok(None) };
        let Some(session) = self.0.fetch(id).await? else { return Ok(None) };
        Ok(Some(self.0.bring(&session, Some(*ticket)).await))
    }

    async fn of_subject(&self, subject: &Subject) -> Result<Vec<Arc<Session>>, StoreError> {
        self.0.listed(&self.0.of_subject(subject)).await
    }

    async fn of_provider_session(&self, source: &str, sid: &str) -> Result<Vec<Arc<Session>>, StoreError> {
        self.0.listed(&self.0.of_provider_session(source, sid)).await
    }

    async fn by_id(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError> {
        self.0.fetch(id).await
    }

    async fn keep(&self, session: &Arc<Session>, ticket: TicketHash) -> Result<(), StoreError> {
        let inner = &self.0;
        inner.require_step()?;
        if inner.near.kept(session.id).is_none() && !session.is_over() {
            inner.redis.ask_all::<()>(&inner.writing(session, &[ticket])).await?;
        } else {
            let (sealed, ends) = (inner.sealed_id(&ticket, session.id), inner.millis_until(session.ends));
            let more = inner.keys.more(session.id, &ticket.text(), &sealed, ends);
            if !inner.redis.ask::<bool>(&more).await? {
                inner.end_here(session); // the ticket opens nothing, and the browser logs in again
                return Ok(());
            }
        }
        inner.bring(session, Some(ticket)).await;
        Ok(())
    }

    async fn retire(&self, ticket: &TicketHash) -> Result<(), StoreError> {
        let inner = &self.0;
        inner.require_step()?;
        let near = match inner.near.glance(ticket) {
            Glance::Found(session) => Some(session.id),
            _ => inner.id_of(ticket).await?,
        };
        let Some(id) = near else { return Ok(()) };
        inner.near.forget_ticket(id, ticket);
        inner.tell_retired(id, ticket).await
    }

    async fn forget(&self, session: &Session) -> Result<(), StoreError> {
        self.0.near.drop_by_id(session.id);
        self.0.tell_end(session.id, &session.subject, session.at_provider.as_deref()).await
    }

    fn at_hand(&self) -> Vec<Arc<Session>> {
        self.0.near.at_hand()
    }

    async fn update(&self, session: &Session, changed: Changed) -> Result<(), StoreError> {
        self.0.write_change(session, changed).await
    }

    async fn reread(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        self.0.look_again(session).await
    }

    async fn used_elsewhere(&self, session: &Session) -> Result<Option<SystemTime>, StoreError> {
        let key = self.0.keys.session(&session.id.to_string());
        let left: i64 = self.0.redis.ask(cmd("PTTL").arg(key)).await?;
        Ok((left > 0).then(|| self.0.last_use(session.idle, left)))
    }

    async fn settled(&self, patience: Duration) {
        let mut told = self.0.in_step.subscribe();
        let _ = tokio::time::timeout(patience, told.wait_for(|in_step| *in_step)).await;
    }

    async fn tend(&self) {
        self.0.tend().await;
    }

    async fn close(&self) {
        self.0.note_uses(true).await;
    }

    fn trouble(&self) -> Option<String> {
        if !*self.0.in_step.borrow() {
            let serves = self.0.serves.load(Ordering::Relaxed);
            let meanwhile = if serves { "sessions at hand go on for a while" } else { "nobody is let in" };
            return Some(format!("redis does not answer; {meanwhile}"));
        }
        None
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self(Box::new(error))
    }
}

impl Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.0).finish()
    }
}

impl Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("redis", &self.redis).field("near", &self.near).finish_non_exhaustive()
    }
}

/// How much longer than `idle` Redis keeps a session: uses are told it a tenth of that too late.
fn slack(idle: Duration) -> Duration {
    idle / 5 + Duration::from_secs(30)
}

/// At least one, as Redis takes 0 for a mistake.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

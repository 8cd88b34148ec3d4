//! Following what other instances do, and coming back into step after Redis was away.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::{Changing, Inner, Session, lock, millis};
use crate::clock::from_epoch_seconds;
use crate::redis::{RedisError, cmd, pipe};
use crate::secret::random_token;
use crate::session::{SessionStore as _, StoreError, TicketHash};
use crate::web::chain;

/// What the stream brings: `[[stream, [[entry, [field, value, …]], …]]]`, or nothing.
type Read = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;

impl Inner {
    /// Follows the stream, and never ends. While it can't, what is at hand is served for `outage`.
    pub(super) async fn follow(self: Arc<Self>) {
        let (mut lost_since, mut epoch): (Option<SystemTime>, Option<String>) = (None, None);
        loop {
            let followed = self.keep_step(&mut lost_since, &mut epoch).await;
            self.in_step.send_replace(false);
            let now = self.upkeep.clock.now();
            let since = *lost_since.get_or_insert_with(|| {
                if let Err(error) = followed {
                    let reason = chain(&error);
                    tracing::warn!(reason, "out of step with redis: sessions at hand go on, logins do not");
                }
                now
            });
            if now.duration_since(since).is_ok_and(|lost| lost >= self.outage)
                && self.serves.swap(false, Ordering::AcqRel)
            {
                tracing::error!(
                    outage_s = self.outage.as_secs(),
                    "redis is away for too long: nobody is let in any more"
                );
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Comes into step, and follows until that fails.
    async fn keep_step(
        &self,
        lost_since: &mut Option<SystemTime>,
        epoch: &mut Option<String>,
    ) -> Result<(), StoreError> {
        let mut own = self.redis.connect(WAIT).await?;
        let _ = tokio::time::timeout(WAIT, self.redis.up()).await;
        let newest: Vec<(String, Vec<String>)> =
            self.redis.ask(cmd("XREVRANGE").arg(self.keys.changes()).arg("+").arg("-").arg("COUNT").arg(1)).await?;
        let mut last = newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(entry, _)| entry);
        self.catch_up(epoch).await?;
        self.in_step.send_replace(true);
        self.serves.store(true, Ordering::Release);
        if lost_since.take().is_some() {
            tracing::info!("in step with redis again");
        }
        while self.redis.is_up() {
            let mut read = cmd("XREAD");
            read.arg("COUNT")
                .arg(1_000)
                .arg("BLOCK")
                .arg(millis(WAIT))
                .arg("STREAMS")
                .arg(self.keys.changes())
                .arg(&last);
            let read: Read = read.query_async(&mut own).await.map_err(RedisError::from)?;
            for (entry, fields) in read.into_iter().flatten().flat_map(|(_, entries)| entries) {
                last = entry;
                let field = |name: &str| {
                    fields.chunks_exact(2).find_map(|pair| match pair {
                        [key, value] if key == name => Some(value),
                        _ => None,
                    })
                };
                let id = field("id").filter(|_| field("by") != Some(&self.me));
                let Some(id) = id.and_then(|id| serde_json::from_str(id).ok()) else { continue };
                if let Some(ticket) = field("ticket").and_then(|text| TicketHash::from_text(text)) {
                    self.near.forget_ticket(id, &ticket);
                } else if let Some((session, _)) = self.near.kept(id) {
                    self.look_again(&session).await?;
                }
            }
        }
        Err(RedisError::Gone.into())
    }

    /// Tells what could not be told, then looks at every session at hand. Where Redis has lost everything, they are
    /// written anew: those that ended are not at hand any more.
    async fn catch_up(&self, epoch: &mut Option<String>) -> Result<(), StoreError> {
        self.tell_what_is_behind().await?;
        let key = self.keys.epoch();
        let mut ask = pipe();
        ask.cmd("SET").arg(&key).arg(random_token(12)).arg("NX").ignore().cmd("GET").arg(&key);
        let (now,): (String,) = self.redis.ask_all(&ask).await?;
        let is_another = epoch.as_ref().is_some_and(|before| *before != now);
        if is_another {
            tracing::warn!("redis has lost what it had; sessions at hand are written anew");
            for session in self.near.at_hand().into_iter().filter(|session| !session.is_over()) {
                self.write_anew(&session).await?;
            }
        }
        *epoch = Some(now);
        for sessions in self.near.at_hand().chunks(TOGETHER) {
            self.look_at(sessions).await?;
        }
        Ok(())
    }

    pub(super) async fn tell_what_is_behind(&self) -> Result<(), StoreError> {
        let ends: Vec<_> = lock(&self.behind).ends.iter().map(|(id, subject)| (*id, Arc::clone(subject))).collect();
        for (id, subject) in ends {
            self.tell_end(id, &subject, None).await?;
        }
        let retired: Vec<_> = lock(&self.behind).retired.iter().map(|(ticket, id)| (*ticket, *id)).collect();
        for (ticket, id) in retired {
            self.tell_retired(id, &ticket).await?;
        }
        let changes: Vec<_> = lock(&self.behind).changes.iter().copied().collect();
        for (id, changed) in changes {
            match self.near.kept(id) {
                Some((session, _)) => self.write_change(&session, changed).await?,
                None => drop(lock(&self.behind).changes.remove(&(id, changed))),
            }
        }
        Ok(())
    }

    async fn write_anew(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        let known: u8 = self.redis.ask(&self.keys.is_lost(&session.id.to_string())).await?;
        let tickets = self.near.kept(session.id).map(|(_, tickets)| tickets).unwrap_or_default();
        if known == 0 && !tickets.is_empty() {
            self.redis.ask_all::<()>(&self.writing(session, &tickets)).await?;
        }
        Ok(())
    }

    /// Looks at several sessions in one round trip.
    async fn look_at(&self, sessions: &[Arc<Session>]) -> Result<(), StoreError> {
        let mut ask = pipe();
        for session in sessions {
            let key = self.keys.session(&session.id.to_string());
            ask.cmd("HMGET").arg(key).arg(&["word", "choices"]);
        }
        let found: Vec<Changing> = self.redis.ask_all(&ask).await?;
        for (session, parts) in sessions.iter().zip(found) {
            match parts {
                (Some(word), Some(choices)) => self.take_over(session, &word, &choices),
                _ => self.end_here(session),
            }
        }
        self.look_at_tickets(sessions).await
    }

    /// Forgets the tickets of these that were retired elsewhere. One that is kept meanwhile is looked up when it is used.
    async fn look_at_tickets(&self, sessions: &[Arc<Session>]) -> Result<(), StoreError> {
        let mut ask = pipe();
        for session in sessions {
            ask.cmd("SMEMBERS").arg(self.keys.tickets(&session.id.to_string()));
        }
        let found: Vec<HashSet<String>> = self.redis.ask_all(&ask).await?;
        for (session, there) in sessions.iter().zip(found) {
            let (_, tickets) = self.near.kept(session.id).unzip();
            for ticket in tickets.into_iter().flatten().filter(|ticket: &TicketHash| !there.contains(&ticket.text())) {
                self.near.forget_ticket(session.id, &ticket);
            }
        }
        Ok(())
    }

    /// Every few seconds: tells what is behind, and when sessions were used. Looks at a part of those at hand, in case an
    /// entry of the stream was lost, or Redis dropped a session.
    pub(super) async fn tend(&self) {
        if !*self.in_step.borrow() {
            return;
        }
        let _ = self.tell_what_is_behind().await;
        self.note_uses(false).await;
        let mut sessions = self.near.at_hand();
        fastrand::shuffle(&mut sessions);
        sessions.truncate(LOOKED_AT);
        for sessions in sessions.chunks(TOGETHER) {
            if self.look_at(sessions).await.is_err() {
                return;
            }
        }
    }

    /// Has Redis keep what is in use.
    pub(super) async fn note_uses(&self, all: bool) {
        let used: Vec<_> = self.near.at_hand().into_iter().filter(|one| all || one.use_to_note().is_some()).collect();
        for sessions in used.chunks(TOGETHER) {
            let mut note = pipe();
            for session in sessions {
                let last_use = from_epoch_seconds(session.last_used());
                let life = self.life(session, last_use);
                note.cmd("PEXPIRE").arg(self.keys.session(&session.id.to_string())).arg(life).ignore();
            }
            if self.redis.ask_all::<()>(&note).await.is_err() {
                return;
            }
            sessions.iter().for_each(|one| one.use_is_noted(from_epoch_seconds(one.last_used())));
        }
    }
}

/// How long a read waits for news: an instance whose connection has died without a word notices two seconds later.
const WAIT: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_millis(100);
/// In one round trip.
const TOGETHER: usize = 100;
/// A turn; of more, each is looked at in one of the turns to come.
const LOOKED_AT: usize = 2_000;

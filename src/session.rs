//! Remembering a login: a ticket in the browser, a session here.
//!
//! A ticket is 256 random bits and says nothing; everything is kept on this side and found by the ticket's hash.
//! One login has one session, and a ticket on every host it is used on. The session is the [`EvidenceSource`] of
//! what is issued for it: tokens are renewed once, however many ask.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::Notify;

use crate::clock::{epoch_seconds, from_epoch_seconds};
use crate::identity::{
    Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Identity, SignedIn, Subject, TokenKind, Tokens,
};
use crate::secret::Secret;
use crate::telemetry::AUDIT;

mod commons;
mod cookies;
mod file;
mod keeper;
mod memory;
mod record;
mod redis;
mod renewal;
mod settings;
mod ticket;

pub use commons::Commons;
pub use cookies::{CookieNames, strip_from_request, strip_from_response};
pub use file::OpenError;
pub use keeper::{Place, Sessions};
pub use settings::{SessionSettings, StoreKind};
pub use ticket::{Ticket, TicketHash};

use keeper::Upkeep;
use record::{LoginPart, Record, WordPart};
use renewal::{Flight, Word};

/// A login that is remembered.
#[derive(Debug)]
pub struct Session {
    id: HolderId,
    subject: Arc<Subject>,
    voucher: Arc<str>,
    at_provider: Option<Arc<str>>,
    created: SystemTime,
    ends: SystemTime,
    idle: Duration,
    /// Seconds since the epoch: written at most once a second, as every request of the session reads it.
    last_use: AtomicU64,
    /// The last use that the store has taken down.
    noted_use: AtomicU64,
    word: ArcSwap<Word>,
    /// By route, where it offers several roles.
    choices: ArcSwap<BTreeMap<Arc<str>, Arc<str>>>,
    flight: Mutex<Flight>,
    over: AtomicBool,
    ended: Notify,
    upkeep: Arc<Upkeep>,
    me: Weak<Self>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The person logged out.
    Logout,
    /// It was not used for too long.
    Idle,
    /// Its time is up.
    Lifetime,
    /// The provider does not renew it any more: logged out there, disabled, or the subject changed.
    Provider,
    /// Nothing points to it any more: the browser logged in anew.
    Replaced,
    /// There were too many, and this one was unused the longest, or the subject's oldest.
    Crowded,
    /// Its source is no longer configured, or another provider speaks by its name.
    SourceGone,
    /// Someone in charge ended it.
    Revoked,
    /// The login could not be kept, so it was none.
    Unkept,
    /// Another instance ended it, and knows why.
    Elsewhere,
}

/// A part of a session that changes while it lasts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Changed {
    /// What the provider says: claims and tokens.
    Word,
    /// What the person has chosen.
    Choices,
}

/// What a store knows without waiting.
#[derive(Debug)]
pub enum Glance {
    /// The session the ticket opens.
    Found(Arc<Session>),
    /// There is none, for certain.
    Nothing,
    /// It must be looked up with [`SessionStore::find`].
    Unsure,
}

/// Where sessions are kept and found. A store may give back sessions that are over; the keeper looks at that.
#[async_trait]
pub trait SessionStore: Debug + Send + Sync {
    /// The session a ticket opens, as far as it is known without waiting: every request asks.
    fn glance(&self, ticket: &TicketHash) -> Glance;
    /// The session a ticket opens.
    async fn find(&self, ticket: &TicketHash) -> Result<Option<Arc<Session>>, StoreError>;
    /// A subject's sessions.
    async fn of_subject(&self, subject: &Subject) -> Result<Vec<Arc<Session>>, StoreError>;
    /// The sessions a source's provider knows by its own name (`sid`).
    async fn of_provider_session(&self, source: &str, sid: &str) -> Result<Vec<Arc<Session>>, StoreError>;
    /// A session by its holder id.
    async fn by_id(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError>;
    /// Keeps a session, or one more ticket of a session that is kept.
    async fn keep(&self, session: &Arc<Session>, ticket: TicketHash) -> Result<(), StoreError>;
    /// Forgets one ticket, and the session with its last: then it is over, whether or not that can be kept.
    async fn retire(&self, ticket: &TicketHash) -> Result<(), StoreError>;
    /// Forgets a session and all its tickets.
    async fn forget(&self, session: &Session) -> Result<(), StoreError>;
    /// The sessions held in this process.
    fn at_hand(&self) -> Vec<Arc<Session>>;
    /// A part of a session has changed.
    async fn update(&self, _session: &Session, _changed: Changed) -> Result<(), StoreError> {
        Ok(())
    }
    /// Takes over what other instances have made of a session.
    async fn reread(&self, _session: &Arc<Session>) -> Result<(), StoreError> {
        Ok(())
    }
    /// When any instance used a session last, as far as that is known elsewhere than here.
    async fn used_elsewhere(&self, _session: &Session) -> Result<Option<SystemTime>, StoreError> {
        Ok(None)
    }
    /// Waits until what is kept can be used, for so long at most.
    async fn settled(&self, _patience: Duration) {}
    /// What is to be done from time to time: called every few seconds.
    async fn tend(&self) {}
    /// Takes down what it has not yet; the last call.
    async fn close(&self) {}
    /// What does not work now, without secrets.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Why a login is no session.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It can't be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Meanwhile a new config has taken away the source it was made at, or made it another's (A21).
    #[error("the source it was made at has gone, or is another's now")]
    SourceGone,
}

/// Why a store can't answer.
#[derive(Debug, thiserror::Error)]
#[error("the session store is unavailable")]
pub struct StoreError(#[source] pub crate::web::BoxError);

impl Why {
    /// The word for it in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Provider => "provider",
            Self::Replaced => "replaced",
            Self::Crowded => "crowded",
            Self::SourceGone => "source_gone",
            Self::Revoked => "revoked",
            Self::Unkept => "unkept",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl Session {
    fn new(signed_in: SignedIn, settings: &SessionSettings, upkeep: &Arc<Upkeep>) -> Arc<Self> {
        let now = upkeep.clock.now();
        let SignedIn { subject, voucher, claims, ends_at, tokens, at_provider, once: _ } = signed_in;
        let end = now + settings.lifetime;
        let ends = ends_at.map_or(end, |at| at.min(end));
        let login = LoginPart {
            id: HolderId::random(),
            subject,
            voucher,
            at_provider: at_provider.map(Arc::from),
            created: now,
            ends,
            // one that is never unused for so long is not kept for so long either
            idle: settings.idle.min(ends.duration_since(now).unwrap_or_default()),
        };
        let word = WordPart { claims, tokens, received: now, revision: 0 };
        Self::restore(Record { login, word, choices: BTreeMap::new() }, now, upkeep)
    }

    /// The session of a record, used last at `last_use`.
    fn restore(record: Record, last_use: SystemTime, upkeep: &Arc<Upkeep>) -> Arc<Self> {
        let Record { login, word, choices } = record;
        let last_use = epoch_seconds(last_use);
        Arc::new_cyclic(|me| Self {
            id: login.id,
            subject: Arc::new(login.subject),
            voucher: login.voucher,
            at_provider: login.at_provider,
            created: login.created,
            ends: login.ends,
            idle: login.idle,
            last_use: AtomicU64::new(last_use),
            noted_use: AtomicU64::new(last_use),
            word: ArcSwap::from_pointee(Word::of(word)),
            choices: ArcSwap::from_pointee(choices),
            flight: Mutex::default(),
            over: AtomicBool::new(false),
            ended: Notify::new(),
            upkeep: Arc::clone(upkeep),
            me: Weak::clone(me),
        })
    }

    /// As it is now.
    fn record(&self) -> Record {
        let login = LoginPart {
            id: self.id,
            subject: Subject::clone(&self.subject),
            voucher: Arc::clone(&self.voucher),
            at_provider: self.at_provider.clone(),
            created: self.created,
            ends: self.ends,
            idle: self.idle,
        };
        Record { login, word: self.word.load().part(), choices: BTreeMap::clone(&self.choices.load()) }
    }

    /// Its name, in logs and in the broker.
    pub fn id(&self) -> HolderId {
        self.id
    }

    /// Whose it is.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// What the provider says of the subject, as of the last renewal.
    pub fn claims(&self) -> Claims {
        self.word.load().claims.clone()
    }

    /// The provider's tokens, for its own logout.
    pub fn tokens(&self) -> Tokens {
        self.word.load().tokens.clone()
    }

    /// The provider's own name for the login (`sid`).
    pub fn at_provider(&self) -> Option<&Arc<str>> {
        self.at_provider.as_ref()
    }

    /// The role that the person has chosen on a route, by its name there. Whether it is still theirs is the policy's to
    /// say, at every request.
    pub fn choice(&self, route: &str) -> Option<Arc<str>> {
        self.choices.load().get(route).cloned()
    }

    /// When the login was.
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// When it ends at the latest.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    /// Who asks, where this session's ticket was shown.
    pub fn identity(self: &Arc<Self>) -> Identity {
        let evidence: Arc<dyn EvidenceSource> = Arc::clone(self) as _;
        Identity {
            subject: Arc::clone(&self.subject),
            claims: self.claims(),
            ends_at: self.ends,
            holder: Holder { id: self.id, ends: self.ends, evidence },
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits for its end: open streams and upgrades live no longer.
    pub async fn ended(&self) {
        let told = self.ended.notified(); // before the look, so that no end falls between both
        if !self.is_over() {
            told.await;
        }
    }

    /// Why it is over at `now`, if it is; ends nothing.
    fn overdue(&self, now: SystemTime) -> Option<Why> {
        if now >= self.ends {
            return Some(Why::Lifetime);
        }
        let last_use = from_epoch_seconds(self.last_used());
        (now >= last_use + self.idle).then_some(Why::Idle)
    }

    /// In seconds since the epoch.
    fn last_used(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    fn touch(&self, now: SystemTime) {
        let now = epoch_seconds(now);
        if self.last_used() < now {
            self.last_use.store(now, Ordering::Relaxed);
        }
    }

    /// When it was used last, where that is so much later than what the store has taken down that it should be told.
    fn use_to_note(&self) -> Option<SystemTime> {
        let (last, noted) = (self.last_used(), self.noted_use.load(Ordering::Relaxed));
        (last >= noted + (self.idle.as_secs() / NOTED_OF_IDLE).max(1)).then(|| from_epoch_seconds(last))
    }

    fn use_is_noted(&self, at: SystemTime) {
        self.noted_use.fetch_max(epoch_seconds(at), Ordering::Relaxed);
    }

    /// Ends it, once: cuts what is open, drops what was issued for it.
    fn end(&self, why: Why) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        self.ended.notify_waiters();
        // a logout has its audit line at the door, with the request's id
        if why != Why::Logout {
            tracing::info!(
                target: AUDIT,
                {
                    subject.source = &*self.subject.source,
                    subject.id = &*self.subject.id,
                    session.id = %self.id,
                    why = why.as_str(),
                },
                "a session ended"
            );
        }
        self.upkeep.ended(self.id, why);
    }
}

#[async_trait]
impl EvidenceSource for Session {
    async fn evidence(&self, valid_for: Duration) -> Result<Evidence, EvidenceError> {
        let now = self.upkeep.clock.now();
        if self.is_over() || self.overdue(now).is_some() {
            return Err(EvidenceError::Expired);
        }
        let word = self.word.load_full();
        if let Some(evidence) = word.evidence(now + valid_for) {
            return Ok(evidence);
        }
        // a provider whose tokens live shorter than asked for is not asked at every turn
        let failure = if word.is_fresh(now) { None } else { self.renewed().await.err() };
        let now = self.upkeep.clock.now();
        match self.word.load().evidence(now) {
            Some(evidence) if !self.is_over() => Ok(evidence),
            _ => Err(failure.unwrap_or(EvidenceError::Expired)),
        }
    }

    fn token(&self, kind: TokenKind, now: SystemTime) -> Option<Secret> {
        let word = self.word.load();
        let token = match kind {
            TokenKind::Access => word.tokens.access.as_ref(),
            TokenKind::Id => word.tokens.id.as_ref(),
        };
        token.filter(|token| token.ends > now).map(|token| token.text.clone())
    }

    async fn renew_tokens(&self) -> Result<(), EvidenceError> {
        self.renewed().await
    }
}

/// A store may know the last use this part of the idle time too late.
const NOTED_OF_IDLE: u64 = 10;

#[cfg(test)]
mod tests;

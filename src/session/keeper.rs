//! Who keeps the sessions: starts them, recognises their tickets, ends them. Outlives every reload of the config.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderMap;
use metrics::Counter;

use super::commons::{Alone, Commons};
use super::file::{Files, OpenError};
use super::memory::Memory;
use super::redis::Shared;
use super::{
    Changed, CookieNames, Glance, Session, SessionSettings, SessionStore, StartError, StoreError, Ticket, TicketHash,
    Why,
};
use crate::clock::Clock;
use crate::identity::{HolderId, IdentitySource, SignedIn, SourceName, Subject};
use crate::redis::{Address, Redis};
use crate::secret::{Sealer, Secret};
use crate::telemetry::Metrics;
use crate::web::cookies;

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    commons: Arc<dyn Commons>,
    /// What seals outside of memory, and Redis where that is the place.
    sealed: Option<(Arc<Sealer>, Option<Arc<Redis>>)>,
    settings: ArcSwap<SessionSettings>,
    upkeep: Arc<Upkeep>,
    count: metrics::Gauge,
}

/// What a session needs of the house it lives in.
pub(super) struct Upkeep {
    pub(super) clock: Arc<dyn Clock>,
    sources: ArcSwap<HashMap<SourceName, Arc<dyn IdentitySource>>>,
    on_end: RwLock<Vec<OnEnd>>,
    metrics: Metrics,
    /// Where sessions are kept: they tell it when they change.
    store: OnceLock<(Weak<dyn SessionStore>, Arc<dyn Commons>)>,
}

/// A place to keep sessions.
#[derive(Debug)]
pub enum Place {
    /// This process.
    Memory,
    /// Files in this folder, sealed.
    File {
        /// The folder; made where there is none.
        folder: PathBuf,
        /// The session keys.
        sealer: Arc<Sealer>,
    },
    /// Redis, sealed, among other instances.
    Redis {
        /// Not connected yet.
        redis: Arc<Redis>,
        /// The session keys, which all instances have.
        sealer: Arc<Sealer>,
    },
}

type OnEnd = Box<dyn Fn(HolderId) + Send + Sync>;

impl Sessions {
    /// None yet, kept in this process. Nobody is recognised before [`Sessions::use_sources`].
    pub fn new(settings: &SessionSettings, clock: Arc<dyn Clock>, metrics: &Metrics) -> Arc<Self> {
        let upkeep = Upkeep::new(clock, metrics);
        let commons = Arc::new(Alone::new(Arc::clone(&upkeep.clock)));
        Arc::new(Self::over(Arc::new(Memory::new(settings.max_sessions)), commons, settings, upkeep))
    }

    /// Those that are kept in this place. Nobody is recognised before [`Sessions::use_sources`].
    ///
    /// # Errors
    /// A place that can't be used.
    pub fn kept_in(
        settings: &SessionSettings,
        place: Place,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, OpenError> {
        let upkeep = Upkeep::new(clock, metrics);
        let alone = || Arc::new(Alone::new(Arc::clone(&upkeep.clock)));
        let sealed = match &place {
            Place::Memory => None,
            Place::File { sealer, .. } => Some((Arc::clone(sealer), None)),
            Place::Redis { redis, sealer } => Some((Arc::clone(sealer), Some(Arc::clone(redis)))),
        };
        let (store, commons): (Arc<dyn SessionStore>, Arc<dyn Commons>) = match place {
            Place::Memory => (Arc::new(Memory::new(settings.max_sessions)), alone()),
            Place::File { folder, sealer } => (Arc::new(Files::open(&folder, sealer, settings, &upkeep)?), alone()),
            Place::Redis { redis, sealer } => {
                let shared = Shared::join(redis, sealer, settings, &upkeep);
                let commons = shared.commons();
                (Arc::new(shared), commons)
            }
        };
        Ok(Arc::new(Self { sealed, ..Self::over(store, commons, settings, upkeep) }))
    }

    fn over(
        store: Arc<dyn SessionStore>,
        commons: Arc<dyn Commons>,
        settings: &SessionSettings,
        upkeep: Arc<Upkeep>,
    ) -> Self {
        upkeep.metrics.describe("claviger_sessions", None, "Sessions kept in this process.");
        let renewals = "Renewals of sessions' tokens, by outcome.";
        upkeep.metrics.describe("claviger_session_renewals_total", None, renewals);
        let [started, ended] = ["claviger_sessions_started_total", "claviger_sessions_ended_total"];
        upkeep.metrics.describe(started, None, "Logins that became sessions.");
        upkeep.metrics.describe(ended, None, "Sessions that ended in this process, by why.");
        for outcome in ["renewed", "ended", "unavailable"] {
            upkeep.renewals(outcome).increment(0);
        }
        let _ = upkeep.store.set((Arc::downgrade(&store), Arc::clone(&commons)));
        let count = upkeep.metrics.gauge("claviger_sessions", &[]);
        Self { store, commons, sealed: None, settings: ArcSwap::from_pointee(settings.clone()), upkeep, count }
    }

    /// What all instances that share these sessions have in common.
    pub fn commons(&self) -> &Arc<dyn Commons> {
        &self.commons
    }

    /// Waits for the place to be reached, but not for long: without it everything else can start.
    pub async fn settled(&self) {
        self.store.settled(SETTLING).await;
    }

    /// Seals what is kept with the first of these from now on, and believes all of them.
    pub fn use_keys(&self, keys: &[Secret]) {
        if let Some((sealer, _)) = &self.sealed {
            sealer.replace_keys(keys);
        }
    }

    /// Connects to Redis by this from the next time on, where sessions are kept there.
    pub fn use_address(&self, address: &Address) {
        if let Some((_, Some(redis))) = &self.sealed {
            redis.use_address(address);
        }
    }

    /// How long logins are remembered that are made from now on.
    pub fn use_settings(&self, settings: &SessionSettings) {
        self.settings.store(Arc::new(settings.clone()));
    }

    /// The sources of the config as it is now: renewals go to them. Sessions that none of them vouches for end.
    pub async fn use_sources(&self, sources: impl IntoIterator<Item = (SourceName, Arc<dyn IdentitySource>)>) {
        self.upkeep.sources.store(Arc::new(sources.into_iter().collect()));
        for session in self.store.at_hand() {
            if self.upkeep.source_of(&session).is_none() {
                let _ = self.end(&session, Why::SourceGone).await;
            }
        }
    }

    /// Calls `hook` at every session's end, whatever the reason.
    pub fn on_end(&self, hook: impl Fn(HolderId) + Send + Sync + 'static) {
        self.upkeep.on_end.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// Remembers a login. The ticket is new, whatever the browser had before (A10), and for `host`.
    ///
    /// # Errors
    /// [`StartError`]; nobody is logged in by it then.
    pub async fn start(&self, signed_in: SignedIn, host: &str) -> Result<(Arc<Session>, Ticket), StartError> {
        let session = Session::new(signed_in, &self.settings.load(), &self.upkeep);
        let ticket = self.admit(&session, host).await?;
        // kept first and looked at then: whatever the order, a config that comes now finds it, or it finds the config
        if self.upkeep.source_of(&session).is_none() {
            self.end(&session, Why::SourceGone).await?;
            return Err(StartError::SourceGone);
        }
        self.upkeep.metrics.counter("claviger_sessions_started_total", &[]).increment(1);
        Ok((session, ticket))
    }

    /// One more ticket to a session, for another host: in lower case and without a port, as everywhere here.
    pub async fn admit(&self, session: &Arc<Session>, host: &str) -> Result<Ticket, StoreError> {
        let ticket = Ticket::random();
        self.store.keep(session, ticket.hash(host)).await?;
        Ok(ticket)
    }

    /// The session that one of the tickets in `headers` opens on `host`, used `now`. Cookies of our name may come from
    /// elsewhere, and before ours: each is tried (A10). An unknown, changed, expired or other host's ticket is no ticket.
    pub async fn recognize(
        &self,
        headers: &HeaderMap,
        names: &CookieNames,
        host: &str,
        now: SystemTime,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        for ticket in cookies(headers, names.ticket()) {
            if let Some(session) = self.at_hand(ticket, host, now) {
                return Ok(Some(session));
            }
            if let Some(session) = Box::pin(self.open(ticket, host)).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The session that `ticket` opens, used now, where there is nothing to wait for and nothing to do: nearly always.
    fn at_hand(&self, ticket: &str, host: &str, now: SystemTime) -> Option<Arc<Session>> {
        let Glance::Found(session) = self.store.glance(&TicketHash::of(ticket, host)?) else { return None };
        if session.is_over() || session.overdue(now).is_some() || session.is_due(now) {
            return None;
        }
        session.touch(now);
        Some(session)
    }

    /// The session that `ticket` opens on `host`, used now. Renews what is due: waits only where the tokens have ended.
    pub async fn open(&self, ticket: &str, host: &str) -> Result<Option<Arc<Session>>, StoreError> {
        let Some(hash) = TicketHash::of(ticket, host) else { return Ok(None) };
        let session = match self.store.glance(&hash) {
            Glance::Found(session) => session,
            Glance::Nothing => return Ok(None),
            Glance::Unsure => match self.store.find(&hash).await? {
                Some(session) => session,
                None => return Ok(None),
            },
        };
        let now = self.upkeep.clock.now();
        if let Some(why) = self.overdue(&session, now).await? {
            self.end(&session, why).await?;
            return Ok(None);
        }
        session.touch(now);
        session.refresh(now).await;
        if session.is_over() {
            self.store.forget(&session).await?;
            return Ok(None);
        }
        Ok(Some(session))
    }

    /// Why a session is over at `now`, as far as any instance knows; ends nothing.
    async fn overdue(&self, session: &Session, now: SystemTime) -> Result<Option<Why>, StoreError> {
        if session.overdue(now) == Some(Why::Idle)
            && let Some(used) = self.store.used_elsewhere(session).await?
        {
            session.touch(used);
        }
        Ok(session.overdue(now))
    }

    /// Forgets one ticket of `host`. Its session ends if nothing else points to it.
    pub async fn retire(&self, ticket: &str, host: &str) -> Result<(), StoreError> {
        let Some(hash) = TicketHash::of(ticket, host) else { return Ok(()) };
        self.store.retire(&hash).await
    }

    /// Ends a session: its tickets open nothing any more, its streams are cut, what was issued for it is dropped.
    pub async fn end(&self, session: &Session, why: Why) -> Result<(), StoreError> {
        session.end(why);
        self.store.forget(session).await
    }

    /// Keeps which role a person has chosen on a route, in place of an earlier choice.
    pub async fn choose(&self, session: &Session, route: &str, role: &str) -> Result<(), StoreError> {
        let (route, role): (Arc<str>, Arc<str>) = (route.into(), role.into());
        session.choices.rcu(|choices| {
            let mut choices = BTreeMap::clone(choices);
            choices.insert(Arc::clone(&route), Arc::clone(&role));
            choices
        });
        self.store.update(session, Changed::Choices).await
    }

    /// A session by its id.
    pub async fn by_id(&self, id: HolderId) -> Result<Option<Arc<Session>>, StoreError> {
        self.store.by_id(id).await
    }

    /// A subject's sessions.
    pub async fn of_subject(&self, subject: &Subject) -> Result<Vec<Arc<Session>>, StoreError> {
        self.store.of_subject(subject).await
    }

    /// The sessions that a source's provider calls `sid`.
    pub async fn of_provider_session(&self, source: &str, sid: &str) -> Result<Vec<Arc<Session>>, StoreError> {
        self.store.of_provider_session(source, sid).await
    }

    /// Ends what has expired: a stream that nobody asks for again must not outlive its session.
    pub async fn sweep(&self) {
        let now = self.upkeep.clock.now();
        let mut left = 0_u32;
        for session in self.store.at_hand() {
            session.let_go(now);
            // what can't be known now is asked again at the next turn
            let why = self.overdue(&session, now).await.unwrap_or_default();
            if why.is_none() && !session.is_over() {
                left = left.saturating_add(1);
            } else if let Err(error) = self.end(&session, why.unwrap_or(Why::Provider)).await {
                tracing::warn!(session.id = %session.id, reason = %error, "an ended session could not be forgotten");
            }
        }
        self.count.set(f64::from(left));
        self.store.tend().await;
    }

    /// Takes down what is not yet, before the process ends.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// What does not work now with keeping sessions, without secrets.
    pub fn trouble(&self) -> Option<String> {
        self.store.trouble()
    }

    #[cfg(test)]
    pub(super) fn upkeep(&self) -> Arc<Upkeep> {
        Arc::clone(&self.upkeep)
    }

    /// Sweeps, again and again; never ends.
    pub async fn tend(&self) {
        let mut turns = tokio::time::interval(SWEEP);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.sweep().await;
        }
    }
}

impl Upkeep {
    fn new(clock: Arc<dyn Clock>, metrics: &Metrics) -> Arc<Self> {
        let (sources, on_end) = (ArcSwap::default(), RwLock::default());
        Arc::new(Self { clock, sources, on_end, metrics: metrics.clone(), store: OnceLock::new() })
    }

    pub(super) fn store(&self) -> Option<Arc<dyn SessionStore>> {
        self.store.get()?.0.upgrade()
    }

    pub(super) fn commons(&self) -> Option<Arc<dyn Commons>> {
        Some(Arc::clone(&self.store.get()?.1))
    }

    /// The source that vouches for a session: the one of that name, if it still is whose it was.
    pub(super) fn source_of(&self, session: &Session) -> Option<Arc<dyn IdentitySource>> {
        let source = self.sources.load().get(&session.subject.source).cloned()?;
        let vouches = source.login().is_some_and(|login| *login.voucher() == session.voucher);
        vouches.then_some(source)
    }

    pub(super) fn ended(&self, id: HolderId, why: Why) {
        self.metrics.counter("claviger_sessions_ended_total", &[("why", why.as_str())]).increment(1);
        for hook in self.on_end.read().unwrap_or_else(PoisonError::into_inner).iter() {
            hook(id);
        }
    }

    pub(super) fn renewals(&self, outcome: &str) -> Counter {
        self.metrics.counter("claviger_session_renewals_total", &[("outcome", outcome)])
    }
}

impl Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("sources", &self.sources.load().keys()).finish_non_exhaustive()
    }
}

/// A lock that a panic elsewhere does not take away: what these guard is whole at every step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How late an expired session's streams may be cut.
const SWEEP: Duration = Duration::from_secs(5);
/// A connection within a network takes milliseconds.
const SETTLING: Duration = Duration::from_secs(2);

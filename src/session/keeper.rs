//! Who keeps the sessions: starts them, recognises their tickets, ends them. Outlives every reload of the config.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use metrics::Counter;

use super::memory::Memory;
use super::{
    CookieNames, Glance, Session, SessionSettings, SessionStore, StoreError, StoreKind, Ticket, TicketHash, Why,
};
use crate::clock::Clock;
use crate::identity::{HolderId, IdentitySource, SignedIn, SourceName, Subject};
use crate::telemetry::Metrics;
use crate::web::cookies;

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
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
}

type OnEnd = Box<dyn Fn(HolderId) + Send + Sync>;

impl Sessions {
    /// None yet. Nobody is recognised before [`Sessions::use_sources`].
    pub fn new(settings: &SessionSettings, clock: Arc<dyn Clock>, metrics: &Metrics) -> Arc<Self> {
        metrics.describe("claviger_sessions", None, "Sessions kept in this process.");
        metrics.describe("claviger_session_renewals_total", None, "Renewals of sessions' tokens, by outcome.");
        metrics.describe("claviger_sessions_started_total", None, "Logins that became sessions.");
        metrics.describe("claviger_sessions_ended_total", None, "Sessions that ended in this process, by why.");
        let store = match settings.kind {
            StoreKind::Memory => Arc::new(Memory::new(settings.max_sessions)),
        };
        for outcome in ["renewed", "ended", "unavailable"] {
            metrics.counter("claviger_session_renewals_total", &[("outcome", outcome)]).increment(0);
        }
        let upkeep = Upkeep { clock, sources: ArcSwap::default(), on_end: RwLock::default(), metrics: metrics.clone() };
        let count = metrics.gauge("claviger_sessions", &[]);
        Arc::new(Self { store, settings: ArcSwap::from_pointee(settings.clone()), upkeep: Arc::new(upkeep), count })
    }

    /// How long logins are remembered that are made from now on.
    pub fn use_settings(&self, settings: &SessionSettings) {
        self.settings.store(Arc::new(settings.clone()));
    }

    /// The sources of the config as it is now: renewals go to them. Sessions of a source that is gone end.
    pub async fn use_sources(&self, sources: impl IntoIterator<Item = (SourceName, Arc<dyn IdentitySource>)>) {
        self.upkeep.sources.store(Arc::new(sources.into_iter().collect()));
        for session in self.store.at_hand() {
            if self.upkeep.source(&session.subject.source).is_none() {
                let _ = self.end(&session, Why::SourceGone).await;
            }
        }
    }

    /// Calls `hook` at every session's end, whatever the reason.
    pub fn on_end(&self, hook: impl Fn(HolderId) + Send + Sync + 'static) {
        self.upkeep.on_end.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// Remembers a login. The ticket is new, whatever the browser had before (A10), and for `host`.
    pub async fn start(&self, signed_in: SignedIn, host: &str) -> Result<(Arc<Session>, Ticket), StoreError> {
        let session = Session::new(signed_in, &self.settings.load(), &self.upkeep);
        let ticket = self.admit(&session, host).await?;
        self.upkeep.metrics.counter("claviger_sessions_started_total", &[]).increment(1);
        Ok((session, ticket))
    }

    /// One more ticket to a session, for another host: in lower case and without a port, as everywhere here.
    pub async fn admit(&self, session: &Arc<Session>, host: &str) -> Result<Ticket, StoreError> {
        let ticket = Ticket::random();
        self.store.keep(session, ticket.hash(host)).await?;
        Ok(ticket)
    }

    /// The session that one of the tickets in `headers` opens on `host`. Cookies of our name may come from elsewhere, and
    /// before ours: each is tried (A10). An unknown, changed, expired or other host's ticket is no ticket.
    pub async fn recognize(
        &self,
        headers: &HeaderMap,
        names: &CookieNames,
        host: &str,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        for ticket in cookies(headers, names.ticket()) {
            if let Some(session) = self.at_hand(ticket, host) {
                return Ok(Some(session));
            }
            if let Some(session) = Box::pin(self.open(ticket, host)).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The session that `ticket` opens, used now, where there is nothing to wait for and nothing to do: nearly always.
    fn at_hand(&self, ticket: &str, host: &str) -> Option<Arc<Session>> {
        let Glance::Found(session) = self.store.glance(&TicketHash::of(ticket, host)?) else { return None };
        let now = self.upkeep.clock.now();
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
        if let Some(why) = session.overdue(now) {
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

    /// Forgets one ticket of `host`. Its session ends if nothing else points to it.
    pub async fn retire(&self, ticket: &str, host: &str) -> Result<(), StoreError> {
        let Some(hash) = TicketHash::of(ticket, host) else { return Ok(()) };
        if let Some(session) = self.store.retire(&hash).await? {
            session.end(Why::Replaced);
        }
        Ok(())
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
        Ok(())
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
            // a login that began before its source went may have come after everybody else was ended
            let homeless = self.upkeep.source(&session.subject.source).is_none();
            let why = session.overdue(now).or_else(|| homeless.then_some(Why::SourceGone));
            if why.is_none() && !session.is_over() {
                left = left.saturating_add(1);
            } else if let Err(error) = self.end(&session, why.unwrap_or(Why::Provider)).await {
                tracing::warn!(session.id = %session.id, reason = %error, "an ended session could not be forgotten");
            }
        }
        self.count.set(f64::from(left));
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
    pub(super) fn source(&self, name: &SourceName) -> Option<Arc<dyn IdentitySource>> {
        self.sources.load().get(name).cloned()
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

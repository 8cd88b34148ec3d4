//! How long what was let in may go on: no longer than whoever let it in is vouched for, by the config as it is by then.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::{Arrival, Taken};
use crate::clock::Clock;
use crate::generation::Generation;
use crate::identity::SourceName;
use crate::policy::Permit;
use crate::session::Session;
use crate::web::Connection;

/// Gives terms, and tells those that run of each reload.
#[derive(Debug)]
pub(super) struct Terms {
    clock: Arc<dyn Clock>,
    standing: watch::Sender<Standing>,
}

/// What still stands after reloads. Nothing is looked at where there was none.
#[derive(Default)]
struct Standing {
    /// The config that is in use.
    generation: Option<Arc<Generation>>,
    /// The sources that have gone or speak for others, by the number of the generation without them.
    gone: BTreeMap<SourceName, u64>,
    /// The listeners that were closed, the same way, and how long what came in by them may go on.
    closed: BTreeMap<Arc<str>, (u64, Duration)>,
}

/// The term of a stream or an upgraded connection.
#[derive(Clone)]
pub(super) enum Term {
    /// As long as the session.
    Session(Arc<Session>),
    /// As long as what was shown is good.
    Shown(Shown),
}

/// A token or a certificate that was shown: good until it ends, or until a reload takes its word away.
#[derive(Clone)]
pub(super) struct Shown {
    ends: SystemTime,
    clock: Arc<dyn Clock>,
    source: SourceName,
    /// The connection, where it is its certificate that was shown.
    certified: Option<Connection>,
    /// The number of the generation by which it was let in.
    since: u64,
    standing: watch::Receiver<Standing>,
    stands: bool,
}

/// The listener that something came in by.
pub(super) struct Entry {
    listener: Arc<str>,
    since: u64,
    standing: watch::Receiver<Standing>,
}

impl Terms {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, standing: watch::Sender::new(Standing::default()) }
    }

    /// The term of what this permit of this generation lets in; `session` is the one that it is for, if there is one. None
    /// where nobody is vouched for, so that nobody's end ends it.
    pub(super) fn of(
        &self,
        permit: &Permit,
        session: Option<&Arc<Session>>,
        generation: &Generation,
        arrival: &Arrival<'_>,
    ) -> Option<Term> {
        let identity = permit.identity()?;
        if let Some(session) = session {
            return Some(Term::Session(Arc::clone(session)));
        }
        let source = Arc::clone(&identity.subject.source);
        let is_certified = generation.sources.get(&source).is_some_and(|source| source.wants_certificates());
        let mut shown = Shown {
            ends: identity.ends_at,
            clock: Arc::clone(&self.clock),
            source,
            certified: is_certified.then(|| arrival.connection.clone()),
            since: generation.number,
            standing: self.standing.subscribe(),
            stands: true,
        };
        shown.look(); // there may have been a reload since the request began
        Some(Term::Shown(shown))
    }

    /// Where what arrives with this generation came in.
    pub(super) fn entry(&self, generation: &Generation, arrival: &Arrival<'_>) -> Entry {
        let listener = Arc::clone(&arrival.connection.listener);
        Entry { listener, since: generation.number, standing: self.standing.subscribe() }
    }

    /// This generation is in use from now on. What was let in by a source that was taken away, or by a certificate that its
    /// listener does not believe any more, is over.
    pub(super) fn reloaded(&self, generation: &Arc<Generation>, taken: Taken) {
        let Taken { sources, listeners, grace } = taken;
        let number = generation.number;
        self.standing.send_modify(|standing| {
            standing.gone.extend(sources.into_iter().map(|name| (name, number)));
            standing.closed.extend(listeners.into_iter().map(|name| (name, (number, grace))));
            standing.generation = Some(Arc::clone(generation));
        });
    }
}

impl Term {
    /// Whether it is over: cheap enough to ask at every piece of a body.
    pub(super) fn is_over(&mut self) -> bool {
        match self {
            Self::Session(session) => session.is_over(),
            Self::Shown(shown) => shown.is_over(),
        }
    }

    /// Waits for its end.
    pub(super) async fn ended(self) {
        match self {
            Self::Session(session) => session.ended().await,
            Self::Shown(mut shown) => shown.ended().await,
        }
    }
}

impl Shown {
    fn is_over(&mut self) -> bool {
        // one load while there is no reload
        if self.standing.has_changed().unwrap_or_default() {
            self.look();
        }
        !self.stands || self.clock.now() >= self.ends
    }

    async fn ended(&mut self) {
        // our clock decides: the timer's stands still while a machine sleeps, and knows of no step
        while !self.is_over() {
            let left = self.ends.duration_since(self.clock.now()).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(left.clamp(SHORTEST, LONGEST)) => {}
                Ok(()) = self.standing.changed() => self.look(),
            }
        }
    }

    /// Looks at what stands after the last reload. What a reload took away no other brings back.
    fn look(&mut self) {
        let standing = self.standing.borrow_and_update();
        let Some(generation) = standing.generation.as_ref().filter(|one| one.number > self.since) else { return };
        let is_gone = standing.gone.get(&self.source).is_some_and(|number| *number > self.since);
        let is_believed = || self.certified.as_ref().is_none_or(|connection| generation.believes(connection));
        self.stands &= !is_gone && is_believed();
    }
}

impl Entry {
    /// Waits until a reload has closed the listener; how long what came in by it may go on.
    pub(super) async fn closed(mut self) -> Duration {
        loop {
            let closed = self.standing.borrow_and_update().closed.get(&self.listener).copied();
            if let Some((_, grace)) = closed.filter(|(number, _)| *number > self.since) {
                return grace;
            }
            if self.standing.changed().await.is_err() {
                return std::future::pending().await; // the process ends
            }
        }
    }
}

impl Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("gone", &self.gone).field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// A step of the clock is seen so late at the most.
const LONGEST: Duration = Duration::from_secs(5);
/// The timer's own step.
const SHORTEST: Duration = Duration::from_millis(1);

//! One grant's credentials, who holds them, and what is under way for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::flight::{Landing, Outcome, Waiters, flight};
use super::setback::Setback;
use crate::credentials::{CredentialProvider, Credentials, IssueError};
use crate::identity::{Holder, HolderId};
use crate::policy::Grant;

/// What the broker keeps of one grant.
#[derive(Debug)]
pub(super) struct Entry {
    grant: Arc<Grant>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Who issued what is kept, and is asked for more while nobody is there to bring one.
    provider: Arc<dyn CredentialProvider>,
    kept: Option<Kept>,
    holders: Vec<Holder>,
    under_way: Option<Landing>,
    setback: Setback,
    /// Out of the broker, or about to be: nothing is kept here any more.
    gone: bool,
}

#[derive(Debug)]
struct Kept {
    credentials: Arc<Credentials>,
    renew_at: SystemTime,
    serve_until: SystemTime,
}

/// What a caller gets, or does, next.
pub(super) enum Turn {
    Served(Arc<Credentials>),
    Refused(Arc<IssueError>),
    Wait(Landing),
    /// Take another entry: this one is over, or another provider's.
    Gone,
}

impl Entry {
    pub(super) fn new(grant: Arc<Grant>, provider: Arc<dyn CredentialProvider>) -> Self {
        let setback = Setback::default();
        let state = State { provider, kept: None, holders: Vec::new(), under_way: None, setback, gone: false };
        Self { grant, state: Mutex::new(state) }
    }

    pub(super) fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// Whether this is the provider that is asked for it.
    pub(super) fn is_of(&self, provider: &Arc<dyn CredentialProvider>) -> bool {
        Arc::ptr_eq(&self.state().provider, provider)
    }

    /// From now on this provider is asked.
    pub(super) fn hand_over(&self, provider: &Arc<dyn CredentialProvider>) {
        self.state().provider = Arc::clone(provider);
    }

    /// The credentials, if they are good, this holder's and this provider's. Starts a renewal when it is time.
    pub(super) fn hit(
        &self,
        holder: HolderId,
        provider: &Arc<dyn CredentialProvider>,
        now: SystemTime,
        take_off: impl FnOnce(Arc<dyn CredentialProvider>, Waiters),
    ) -> Option<Arc<Credentials>> {
        let mut state = self.state();
        let kept = state.kept.as_ref().filter(|kept| now < kept.serve_until)?;
        if !Arc::ptr_eq(&state.provider, provider) {
            return None; // a request sees one generation (A33)
        }
        if !state.holders.iter().any(|h| h.id == holder) {
            return None;
        }
        let credentials = Arc::clone(&kept.credentials);
        if now >= kept.renew_at && !state.is_under_way() && !state.setback.holds_renewals(now) {
            let provider = Arc::clone(&state.provider);
            state.start(|waiters| take_off(provider, waiters));
        }
        Some(credentials)
    }

    /// The next step of a caller who found nothing at hand.
    pub(super) fn turn(
        &self,
        now: SystemTime,
        provider: &Arc<dyn CredentialProvider>,
        take_off: impl FnOnce(Waiters),
    ) -> Turn {
        let mut state = self.state();
        if state.gone || !Arc::ptr_eq(&state.provider, provider) {
            state.leave();
            return Turn::Gone;
        }
        if let Some(kept) = state.kept.as_ref().filter(|kept| now < kept.serve_until) {
            return Turn::Served(Arc::clone(&kept.credentials));
        }
        if let Some(landing) = state.under_way.as_ref().filter(|landing| landing.is_expected()) {
            return Turn::Wait(landing.clone());
        }
        if let Some(error) = state.setback.answer(now) {
            return Turn::Refused(Arc::clone(error));
        }
        Turn::Wait(state.start(take_off))
    }

    /// Adds a holder; false if it was there.
    pub(super) fn enrol(&self, holder: &Holder) -> bool {
        let mut state = self.state();
        if state.holders.iter().any(|h| h.id == holder.id) {
            return false;
        }
        state.holders.push(holder.clone());
        true
    }

    /// The holders that live, the longest-living first.
    pub(super) fn living(&self, now: SystemTime) -> Vec<Holder> {
        let mut holders: Vec<_> = self.state().holders.iter().filter(|holder| holder.ends > now).cloned().collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.ends));
        holders
    }

    /// A holder has ended; true if it was the last, and the entry is gone.
    pub(super) fn release(&self, holder: HolderId) -> bool {
        let mut state = self.state();
        state.holders.retain(|h| h.id != holder);
        if state.holders.is_empty() {
            state.leave();
        }
        state.gone
    }

    /// The entry is gone; its holders may ask for another.
    pub(super) fn retire(&self) {
        self.state().leave();
    }

    /// Whether nothing here is worth keeping: all holders have ended, or nobody came back for what has expired.
    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        let mut state = self.state();
        state.holders.retain(|holder| holder.ends > now);
        state.kept.take_if(|kept| now >= kept.serve_until);
        let idle = state.kept.is_none() && !state.is_under_way() && !state.setback.holds_renewals(now);
        if state.holders.is_empty() || idle {
            state.leave();
        }
        state.gone
    }

    /// Keeps an outcome, and turns it into what the waiters get. Whoever's holders have all ended gets nothing.
    pub(super) fn settle(&self, outcome: Result<Credentials, IssueError>, now: SystemTime) -> Outcome {
        let mut state = self.state();
        state.under_way = None;
        if state.holders.is_empty() {
            return Err(Arc::new(IssueError::EvidenceExpired));
        }
        let kept = outcome.and_then(|credentials| Kept::new(Arc::new(credentials), now));
        match kept {
            Ok(kept) => {
                let credentials = Arc::clone(&kept.credentials);
                if !state.gone {
                    state.kept = Some(kept);
                    state.setback = Setback::default();
                }
                Ok(credentials)
            }
            Err(error) => Err(state.setback.note(error, now, fastrand::f64())),
        }
    }

    /// What is under way, where a test wants to wait for it.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> Option<Landing> {
        self.state().under_way.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_under_way(&self) -> bool {
        self.under_way.as_ref().is_some_and(Landing::is_expected)
    }

    fn start(&mut self, take_off: impl FnOnce(Waiters)) -> Landing {
        let (waiters, landing) = flight();
        self.under_way = Some(landing.clone());
        take_off(waiters);
        landing
    }

    fn leave(&mut self) {
        self.gone = true;
        self.kept = None;
    }
}

impl Kept {
    /// Credentials that have ended when they come would be asked for again at once, and again: the clocks differ, and
    /// that is a failure.
    fn new(credentials: Arc<Credentials>, now: SystemTime) -> Result<Self, IssueError> {
        let life = credentials.expires.duration_since(now).unwrap_or_default();
        if life.is_zero() {
            let source = "the credentials had ended by our clock when they came".into();
            return Err(IssueError::Unavailable { retry_after: None, source });
        }
        let jitter = 0.65 + 0.1 * fastrand::f64();
        Ok(Self {
            renew_at: now + life.mul_f64(jitter),
            serve_until: credentials.expires - MARGIN.min(life / 10),
            credentials,
        })
    }
}

/// What is signed now is judged a little later, by another clock.
const MARGIN: Duration = Duration::from_secs(5);

//! Keeping credentials and renewing them: however many ask, the provider is asked once, and nobody waits for a renewal.
//!
//! An entry belongs to a whole [`Grant`] (A27) and to the holders who asked for it. When the last of them is released
//! or ends, the entry goes, and what is still under way for it is not kept. Whether credentials are still good is
//! judged by our clock at every hit: moka's own clock stands still while a laptop sleeps, so moka is here for its
//! bound on size and nothing else.
//!
//! Everything that talks to a provider runs as a task of its own on the runtime that was handed in. A caller that goes
//! away, or whose worker's runtime ends, takes nothing from those who wait with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use metrics::{Counter, Gauge};
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::credentials::{CredentialProvider, Credentials, IssueError};
use crate::identity::{Holder, HolderId};
use crate::policy::Grant;
use crate::session::Commons;
use crate::telemetry::Metrics;
use desk::Desks;
use entry::{Entry, Turn};
use exchange::Exchange;
use roll::Roll;

mod desk;
mod entry;
mod exchange;
mod flight;
mod roll;
mod setback;

#[cfg(test)]
mod tests;

/// Keeps credentials, renews them ahead of their end, and drops them with their last holder. Clones are one broker.
#[derive(Clone, Debug)]
pub struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    runtime: Handle,
    entries: Cache<Arc<Grant>, Arc<Entry>>,
    roll: Mutex<Roll>,
    desks: Desks,
    counts: Counts,
    /// Whose credentials are kept; until somebody says, everybody's.
    providers: ArcSwapOption<BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>>,
    /// Where there are other instances.
    exchange: OnceLock<Exchange>,
}

struct Counts {
    hits: Counter,
    misses: Counter,
    entries: Gauge,
}

impl Broker {
    /// Keeps up to `capacity` grants' credentials. Providers are asked on `runtime`, which must have its timer on.
    pub fn new(clock: Arc<dyn Clock>, metrics: Metrics, runtime: Handle, capacity: u64) -> Self {
        // LRU, as moka's default may turn a newcomer away at once, and a login must not be among the unlucky
        let entries = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru()).build();
        let counts = Counts::register(&metrics);
        let (desks, providers) = (Desks::new(metrics), ArcSwapOption::empty());
        let (roll, exchange) = (Mutex::default(), OnceLock::new());
        let inner = Inner { clock, runtime, entries, roll, desks, counts, providers, exchange };
        let broker = Self(Arc::new(inner));
        broker.sweep_from_time_to_time();
        broker
    }

    /// From now on one instance asks the provider for all that have `commons` in common.
    pub fn share(&self, commons: &Arc<dyn Commons>) {
        if commons.is_shared() {
            let _ = self.0.exchange.set(Exchange::new(Arc::clone(commons), Arc::clone(&self.0.clock)));
        }
    }

    /// The credentials for a grant, at hand or by asking the provider; however many wait, it is asked once.
    ///
    /// # Errors
    /// What the provider answered, or answered a moment ago. [`IssueError::EvidenceExpired`] also for a holder that
    /// has ended.
    pub async fn credentials(
        &self,
        grant: &Arc<Grant>,
        holder: &Holder,
        provider: &Arc<dyn CredentialProvider>,
    ) -> Result<Arc<Credentials>, Arc<IssueError>> {
        let now = self.0.clock.now();
        if let Some(credentials) = self.fresh(grant, holder, provider, now) {
            return Ok(credentials);
        }
        self.0.counts.misses.increment(1);
        loop {
            let new = || Arc::new(Entry::new(Arc::clone(grant), Arc::clone(provider)));
            if !self.0.is_current(&grant.provider, provider) {
                return self.aside(&new(), holder, provider).await;
            }
            let entry = self.0.entries.get_with_by_ref(grant, new);
            // between the look and the keeping the provider may have been replaced: then this entry must go again
            if !self.0.is_current(&grant.provider, provider) {
                if entry.is_of(provider) {
                    entry.retire();
                    self.0.remove(&entry);
                }
                continue;
            }
            if !self.0.enrol(&entry, holder, now) {
                return Err(Arc::new(IssueError::EvidenceExpired));
            }
            let take_off = |waiters| Inner::take_off(&self.0, &entry, Arc::clone(provider), Some(holder.id), waiters);
            match entry.turn(now, provider, take_off) {
                Turn::Served(credentials) => return Ok(credentials),
                Turn::Refused(error) => return Err(error),
                Turn::Wait(landing) => return landing.wait().await,
                Turn::Gone => self.0.remove(&entry),
            }
        }
    }

    /// The credentials for a grant if they are at hand, good, this holder's already and `provider`'s own: no waiting, no
    /// allocation. When it is time, a renewal starts in the background.
    pub fn fresh(
        &self,
        grant: &Arc<Grant>,
        holder: &Holder,
        provider: &Arc<dyn CredentialProvider>,
        now: SystemTime,
    ) -> Option<Arc<Credentials>> {
        if holder.ends <= now {
            return None;
        }
        let entry = self.0.entries.get(grant)?;
        let take_off = |provider, waiters| Inner::take_off(&self.0, &entry, provider, None, waiters);
        let hit = entry.hit(holder.id, provider, now, take_off)?;
        self.0.counts.hits.increment(1);
        Some(hit)
    }

    /// For a request of an earlier generation, whose provider has been replaced meanwhile: it gets what its own provider
    /// issues, and nobody else does (A33).
    async fn aside(
        &self,
        entry: &Arc<Entry>,
        holder: &Holder,
        provider: &Arc<dyn CredentialProvider>,
    ) -> Result<Arc<Credentials>, Arc<IssueError>> {
        let now = self.0.clock.now();
        if !self.0.enrol(entry, holder, now) {
            return Err(Arc::new(IssueError::EvidenceExpired));
        }
        let take_off = |waiters| Inner::take_off(&self.0, entry, Arc::clone(provider), Some(holder.id), waiters);
        let turn = entry.turn(now, provider, take_off);
        entry.retire();
        match turn {
            Turn::Wait(landing) => landing.wait().await,
            Turn::Served(credentials) => Ok(credentials),
            Turn::Refused(error) => Err(error),
            Turn::Gone => Err(Arc::new(IssueError::EvidenceExpired)),
        }
    }

    /// A holder has ended: what it alone held is dropped, also what is still under way.
    pub fn release(&self, holder: &HolderId) {
        let held = self.0.roll().end(*holder, self.0.clock.now());
        for entry in held {
            if entry.release(*holder) {
                self.0.remove(&entry);
                Inner::take_back(&self.0, &entry);
            }
        }
    }

    /// The providers of the config as it is now. What was issued by one of the same name that `is_same` does not know
    /// any more is dropped; what is under way is handed to those who wait for it but not kept. The others' is renewed by
    /// the providers that are here now. From now on nothing of any other provider is kept.
    pub fn use_providers(
        &self,
        providers: BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
        is_same: impl Fn(&str) -> bool,
    ) {
        let providers = Arc::new(providers);
        self.0.providers.store(Some(Arc::clone(&providers)));
        for (grant, entry) in &self.0.entries {
            match providers.get(&grant.provider).filter(|_| is_same(&grant.provider)) {
                Some(provider) => entry.hand_over(provider),
                None => {
                    entry.retire();
                    self.0.remove(&entry);
                    Inner::take_back(&self.0, &entry);
                }
            }
        }
    }

    /// Drops what has ended, so that keys don't lie in memory for sessions that nobody uses any more.
    pub fn sweep(&self) {
        let now = self.0.clock.now();
        for (_, entry) in &self.0.entries {
            if entry.is_over(now) {
                self.0.remove(&entry);
            }
        }
        self.0.roll().prune(now);
        self.0.count_entries();
    }

    fn sweep_from_time_to_time(&self) {
        let inner = Arc::downgrade(&self.0);
        self.0.runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                let Some(inner) = inner.upgrade() else { return };
                Self(inner).sweep();
            }
        });
    }
}

impl Inner {
    fn is_current(&self, name: &str, provider: &Arc<dyn CredentialProvider>) -> bool {
        match &*self.providers.load() {
            Some(providers) => providers.get(name).is_some_and(|current| Arc::ptr_eq(current, provider)),
            None => true,
        }
    }

    /// Enters the holder on the entry and on the roll, in one step with looking whether it has ended: a request that
    /// was under way at logout must not bring an entry back. False if it has.
    fn enrol(&self, entry: &Arc<Entry>, holder: &Holder, now: SystemTime) -> bool {
        let mut roll = self.roll();
        if holder.ends <= now || roll.has_ended(holder.id) {
            return false;
        }
        if entry.enrol(holder) {
            roll.enter(holder.id, entry);
        }
        true
    }

    /// Removes this entry, not another that has come to its place since.
    fn remove(&self, entry: &Arc<Entry>) {
        self.entries.entry_by_ref(entry.grant()).and_compute_with(|there| match there {
            Some(there) if Arc::ptr_eq(there.value(), entry) => Op::Remove,
            _ => Op::Nop,
        });
        self.count_entries();
    }

    fn roll(&self) -> std::sync::MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_entries(&self) {
        // moka counts what has come and gone in its own time only
        self.entries.run_pending_tasks();
        #[expect(clippy::cast_precision_loss, reason = "a count of entries is far below 2^53")]
        self.counts.entries.set(self.entries.entry_count() as f64);
    }
}

impl Counts {
    fn register(metrics: &Metrics) -> Self {
        metrics.describe("claviger_credentials_lookups_total", None, "Lookups of credentials: at hand or not.");
        metrics.describe("claviger_credentials_entries", None, "Grants whose credentials are kept.");
        let lookups = |verdict| metrics.counter("claviger_credentials_lookups_total", &[("verdict", verdict)]);
        let entries = metrics.gauge("claviger_credentials_entries", &[]);
        Self { hits: lookups("hit"), misses: lookups("miss"), entries }
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

/// Credentials live for an hour; half a minute more in memory is little, and a sweep of all entries is not nothing.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

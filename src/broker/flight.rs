//! One request to a provider under way, and those who wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::desk::Verdict;
use super::entry::Entry;
use super::exchange::{Exchange, Part};
use super::{Broker, Inner};
use crate::credentials::{CredentialProvider, Credentials, IssueError};
use crate::identity::{Holder, HolderId};
use crate::policy::Grant;

/// What came of it, for everyone who waits.
pub(super) type Outcome = Result<Arc<Credentials>, Arc<IssueError>>;
/// The side that answers.
pub(super) type Waiters = watch::Sender<Option<Outcome>>;

/// The side that waits.
#[derive(Clone, Debug)]
pub(super) struct Landing(watch::Receiver<Option<Outcome>>);

/// The two sides.
pub(super) fn flight() -> (Waiters, Landing) {
    let (waiters, landing) = watch::channel(None);
    (waiters, Landing(landing))
}

impl Landing {
    /// Whether an answer is still to come. Not if its task panicked or its runtime ended.
    pub(super) fn is_expected(&self) -> bool {
        self.0.has_changed().is_ok()
    }

    pub(super) async fn wait(mut self) -> Outcome {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }
}

impl Inner {
    /// Asks the provider in a task of its own; the answer goes to the entry and to who waits. `asker` is who needs it
    /// now; none: it is a renewal.
    pub(super) fn take_off(
        this: &Arc<Self>,
        entry: &Arc<Entry>,
        provider: Arc<dyn CredentialProvider>,
        asker: Option<HolderId>,
        waiters: Waiters,
    ) {
        let (this, entry) = (Arc::clone(this), Arc::clone(entry));
        this.runtime.clone().spawn(async move {
            let outcome = match this.exchange.get() {
                Some(exchange) => Self::ask_in_turn(&this, exchange, &entry, &provider, asker).await,
                None => entry.settle(Self::ask(&this, &entry, &provider, asker).await, this.clock.now()),
            };
            this.count_entries();
            waiters.send_replace(Some(outcome));
        });
    }

    /// Asks when no other instance does, or takes what another got.
    async fn ask_in_turn(
        this: &Arc<Self>,
        exchange: &Exchange,
        entry: &Entry,
        provider: &Arc<dyn CredentialProvider>,
        asker: Option<HolderId>,
    ) -> Outcome {
        let part = exchange.part(entry.grant()).await;
        let is_turn = matches!(part, Part::Ask);
        let outcome = match part {
            Part::Take(credentials) => {
                tracing::debug!(access_key.id = &*credentials.access_key_id, "took another instance's credentials");
                Ok(credentials)
            }
            Part::Ask | Part::Alone => Self::ask(this, entry, provider, asker).await,
        };
        // nothing is left for others that nobody here holds any more
        let outcome = entry.settle(outcome, this.clock.now());
        if is_turn {
            if let Ok(credentials) = &outcome {
                exchange.leave(entry.grant(), credentials).await;
            }
            exchange.end(entry.grant()).await;
        }
        outcome
    }

    /// Has nobody else take what was issued for this entry.
    pub(super) fn take_back(this: &Arc<Self>, entry: &Arc<Entry>) {
        if this.exchange.get().is_some() {
            let (this, entry) = (Arc::clone(this), Arc::clone(entry));
            this.runtime.clone().spawn(async move {
                if let Some(exchange) = this.exchange.get() {
                    exchange.take_back(entry.grant()).await;
                }
            });
        }
    }

    /// Asks by the proof of one holder, and by the next one's where a login is too old for it.
    async fn ask(
        this: &Arc<Self>,
        entry: &Entry,
        provider: &Arc<dyn CredentialProvider>,
        asker: Option<HolderId>,
    ) -> Result<Credentials, IssueError> {
        let grant = entry.grant();
        let desk = this.desks.of(&grant.provider);
        let now = this.clock.now();
        let mut holders = entry.living(now);
        let longest = holders.first().and_then(|holder| holder.ends.duration_since(now).ok()).unwrap_or_default();
        let duration = clamped(grant.duration, longest);
        holders.sort_by_key(|holder| Some(holder.id) != asker); // stable: the others stay in order
        let verdict = if asker.is_some() { Verdict::Miss } else { Verdict::Renewal };
        for holder in holders.iter().take(MOST_PROOFS) {
            // before a place is taken: who waits in one for who waits for one would wait for ever
            let before = match Self::before(this, grant, holder, provider).await {
                Ok(before) => before,
                Err(error) if matches!(*error, IssueError::EvidenceExpired) => continue,
                Err(error) => return Err(error.on_the_way()),
            };
            let started = Instant::now();
            let asked = async {
                let _place = desk.place().await;
                match &before {
                    None => provider.issue(grant, holder, duration).await,
                    Some(before) => provider.go_on(grant, before, duration).await,
                }
            };
            let outcome = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(too_slow()));
            desk.note(grant, holder, verdict, &outcome, started.elapsed());
            if !matches!(outcome, Err(IssueError::EvidenceExpired)) {
                return outcome;
            }
        }
        Err(IssueError::EvidenceExpired)
    }

    /// In a chain of roles, the keys of the one before: kept and renewed like any others, so that chains that begin alike
    /// share them.
    async fn before(
        this: &Arc<Self>,
        grant: &Grant,
        holder: &Holder,
        provider: &Arc<dyn CredentialProvider>,
    ) -> Result<Option<Arc<Credentials>>, Arc<IssueError>> {
        let Some(before) = &grant.after else { return Ok(None) };
        let broker = Broker(Arc::clone(this));
        // boxed, as it may come here again
        let asked: BoxFuture<'_, Outcome> = Box::pin(broker.credentials(before, holder, provider));
        asked.await.map(Some)
    }
}

/// Keys must not outlive the longest-living holder, as STS can't recall them; but STS gives none for less than 15
/// minutes. Without a duration the service's own default counts, as long as it can't be longer than the holder lives:
/// an hour for AWS, the token's own end for others.
fn clamped(wanted: Option<Duration>, remaining: Duration) -> Option<Duration> {
    match wanted {
        None if remaining >= STS_DEFAULT => None,
        wanted => Some(wanted.unwrap_or(STS_DEFAULT).min(Duration::from_secs(remaining.as_secs())).max(STS_LEAST)),
    }
}

fn too_slow() -> IssueError {
    IssueError::Unavailable { retry_after: None, source: "no answer in time".into() }
}

fn lost() -> Outcome {
    Err(Arc::new(IssueError::Unavailable { retry_after: None, source: "the request for them was lost".into() }))
}

/// For a place in the queue and all attempts of one request together.
const PATIENCE: Duration = Duration::from_secs(30);
/// One person's logins: more are not tried for one set of credentials.
const MOST_PROOFS: usize = 3;
/// `DurationSeconds` where none is sent (STS API reference).
const STS_DEFAULT: Duration = Duration::from_secs(3600);
/// The least `DurationSeconds` that STS takes.
const STS_LEAST: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_end_with_the_holder_as_far_as_sts_allows() {
        let seconds = Duration::from_secs;
        for (wanted, remaining, asked) in [
            (None, 7200, None),
            (None, 3600, None),
            (None, 3599, Some(3599)),
            (None, 60, Some(900)),
            (Some(3600), 7200, Some(3600)),
            (Some(3600), 1800, Some(1800)),
            (Some(43_200), 50_000, Some(43_200)),
            (Some(900), 10, Some(900)),
        ] {
            assert_eq!(clamped(wanted.map(seconds), seconds(remaining)), asked.map(seconds));
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_never_longer_than_wanted_nor_less_than_sts_takes(wanted in 900u64..43_200, left in 0u64..90_000) {
            let asked = clamped(Some(Duration::from_secs(wanted)), Duration::from_secs(left)).unwrap();
            prop_assert!(asked >= STS_LEAST && asked <= Duration::from_secs(wanted.max(900)));
            prop_assert!(asked <= Duration::from_secs(left.max(900)));
        }
    }
}

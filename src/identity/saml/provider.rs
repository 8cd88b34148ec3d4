//! What a provider says of itself: whose signatures count, and where people are sent.
//!
//! From a file it is read once, as a change of the file is a change of the config. From an address it is fetched when it
//! is first needed and kept fresh. Metadata that is bad never takes the place of good: without a certificate, expired, of
//! somebody else, not signed as pinned. The last good one stays, and the log and `/readyz` say so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use url::Url;

use crate::clock::Clock;
use crate::fetch::{Fetch, Reach};
use crate::saml::{Certificate, Metadata, MetadataError, Pinned, Provider, Workers};
use crate::web::{BoxError, chain};

/// A provider's metadata, kept.
#[derive(Debug)]
pub(super) struct ProviderMetadata {
    /// Absent: a file, which the config is read again for.
    place: Option<Place>,
    pin: Arc<Pin>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by the one who fetches.
    flight: tokio::sync::Mutex<()>,
    /// For the background task, which must not keep a dropped source alive.
    this: Weak<Self>,
}

/// Whose metadata it must be, and by whom signed, where anyone is pinned.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) entity_id: String,
    pub(super) certificates: Vec<Certificate>,
}

/// Good metadata.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) provider: Provider,
    until: Option<SystemTime>,
    read: SystemTime,
}

#[derive(Debug)]
struct Place {
    url: Url,
    refresh: Duration,
    fetch: Arc<Fetch>,
    workers: Workers,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Arc<Known>>,
    trouble: Option<Trouble>,
    /// When a signature that did not verify last had it fetched anew.
    forced: Option<SystemTime>,
}

#[derive(Clone, Debug)]
struct Trouble {
    reason: String,
    failures: u32,
    again_at: SystemTime,
}

/// Why there is no metadata to go by.
#[derive(Debug, thiserror::Error)]
#[error("the provider's metadata can't be had: {0}")]
pub(super) struct Unknown(String);

impl ProviderMetadata {
    /// That of a file.
    ///
    /// # Errors
    /// Why it can't be gone by.
    pub(super) fn of(bytes: &[u8], pin: Pin, clock: Arc<dyn Clock>) -> Result<Arc<Self>, BoxError> {
        let known = pin.read(bytes, clock.now())?;
        let kept = Self::kept(None, pin, clock);
        kept.state().known = Some(Arc::new(known));
        Ok(kept)
    }

    /// That at an address; nothing is fetched yet.
    pub(super) fn at(
        url: Url,
        pin: Pin,
        refresh: Duration,
        fetch: Arc<Fetch>,
        workers: Workers,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Self::kept(Some(Place { url, refresh, fetch, workers }), pin, clock)
    }

    fn kept(place: Option<Place>, pin: Pin, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            place,
            pin: Arc::new(pin),
            clock,
            state: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
            this: Weak::clone(this),
        })
    }

    /// The last good one, without waiting.
    pub(super) fn at_hand(&self) -> Option<Arc<Known>> {
        self.state().known.clone()
    }

    /// The last good one: fetched where there is none or it has aged, renewed in the background ahead of that.
    ///
    /// # Errors
    /// [`Unknown`]: there never was a good one.
    pub(super) async fn current(&self) -> Result<Arc<Known>, Unknown> {
        let Some(place) = &self.place else { return self.at_hand().ok_or_else(|| self.unknown()) };
        match self.age(place) {
            Age::Fresh(known) => return Ok(known),
            Age::Ageing(known) => {
                self.renew_in_background();
                return Ok(known);
            }
            Age::Resting(known) => return known.ok_or_else(|| self.unknown()),
            Age::Wanting => {}
        }
        let _flight = self.flight.lock().await;
        // someone else may have been there while we waited
        match self.age(place) {
            Age::Fresh(known) | Age::Ageing(known) => Ok(known),
            Age::Resting(known) => known.ok_or_else(|| self.unknown()),
            Age::Wanting => {
                self.renew(place).await;
                self.at_hand().ok_or_else(|| self.unknown())
            }
        }
    }

    /// The one after a fetch for a signature that did not verify by `before`: the provider may have a new key. At most one
    /// in a cool-down, as such signatures are free for attackers (A19). `None` where nothing is new.
    pub(super) async fn newer_than(&self, before: &Arc<Known>) -> Option<Arc<Known>> {
        let place = self.place.as_ref()?;
        let _flight = self.flight.lock().await;
        let is_news = |known: &Arc<Known>| known.provider.certificates != before.provider.certificates;
        {
            let mut state = self.state();
            if let Some(known) = state.known.clone().filter(is_news) {
                return Some(known);
            }
            let now = self.clock.now();
            if state.forced.is_some_and(|at| since(at, now) < COOL_DOWN) {
                return None;
            }
            state.forced = Some(now);
        }
        self.renew(place).await;
        self.at_hand().filter(is_news)
    }

    /// Why the last good one is old, or why there is none.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        let has_expired = |known: &Arc<Known>| known.until.is_some_and(|until| self.clock.now() >= until);
        match (&state.trouble, &state.known) {
            (Some(trouble), Some(_)) => Some(format!(
                "the provider's metadata can't be refreshed; the last good one is used: {}",
                trouble.reason
            )),
            (Some(trouble), None) => Some(format!("off, without the provider's metadata: {}", trouble.reason)),
            (None, Some(known)) if has_expired(known) => {
                Some("the provider's metadata has expired; it is used until there is newer".into())
            }
            _ => None,
        }
    }

    fn age(&self, place: &Place) -> Age {
        let (state, now) = (self.state(), self.clock.now());
        if let Some(known) = &state.known {
            let age = since(known.read, now);
            let has_expired = known.until.is_some_and(|until| now >= until);
            if age < place.refresh.mul_f64(RENEW_AT) && !has_expired {
                return Age::Fresh(Arc::clone(known));
            }
            if age < place.refresh && !has_expired {
                return Age::Ageing(Arc::clone(known));
            }
        }
        match &state.trouble {
            Some(trouble) if now < trouble.again_at => Age::Resting(state.known.clone()),
            _ => Age::Wanting,
        }
    }

    fn renew_in_background(&self) {
        let now = self.clock.now();
        if self.state().trouble.as_ref().is_some_and(|trouble| now < trouble.again_at) {
            return;
        }
        let this = Weak::clone(&self.this);
        tokio::spawn(async move {
            let Some(this) = this.upgrade() else { return };
            let Some(place) = &this.place else { return };
            let Ok(_flight) = this.flight.try_lock() else { return };
            if matches!(this.age(place), Age::Ageing(_) | Age::Wanting) {
                this.renew(place).await;
            }
        });
    }

    /// Fetches it; what is bad stays where it is.
    async fn renew(&self, place: &Place) {
        match self.fetched(place).await {
            Ok(known) => {
                let mut state = self.state();
                let has_changed = |before: &Arc<Known>| before.provider.certificates != known.provider.certificates;
                if state.known.as_ref().is_some_and(has_changed) {
                    tracing::info!(url = %place.url, "the identity provider's certificates have changed");
                }
                if state.trouble.take().is_some() {
                    tracing::info!(url = %place.url, "the identity provider's metadata is good again");
                }
                state.known = Some(Arc::new(known));
            }
            Err(error) => {
                let reason = chain(&*error);
                let mut state = self.state();
                let keeps = state.known.is_some();
                tracing::error!(
                    url = %place.url,
                    reason,
                    "the identity provider's metadata is not taken over; {}",
                    if keeps { "the last good one stays" } else { "nobody can log in there" }
                );
                let failures = state.trouble.as_ref().map_or(0, |trouble| trouble.failures).saturating_add(1);
                let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_PAUSE);
                // jitter, so that many instances don't come back to a recovering provider at once (A35)
                let again_at = self.clock.now() + pause.mul_f64(0.75 + fastrand::f64() / 4.0);
                state.trouble = Some(Trouble { reason, failures, again_at });
            }
        }
    }

    async fn fetched(&self, place: &Place) -> Result<Known, BoxError> {
        let request = Request::get(place.url.as_str()).body(Bytes::new())?;
        let (head, body) = place.fetch.send(request, &Reach::Configured).await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(format!("`{}` answered {}", place.url, head.status).into());
        }
        let (pin, now) = (Arc::clone(&self.pin), self.clock.now());
        place.workers.run(move || Ok(pin.read(&body, now))).await?
    }

    fn unknown(&self) -> Unknown {
        Unknown(self.state().trouble.as_ref().map_or_else(String::new, |trouble| trouble.reason.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// Blocks where a signature is verified.
    fn read(&self, bytes: &[u8], now: SystemTime) -> Result<Known, BoxError> {
        let pinned = Pinned { entity_id: Some(&self.entity_id), certificates: &self.certificates };
        let metadata = Metadata::read(bytes, pinned, now)?;
        let until = metadata.valid_until;
        let provider = metadata.provider.ok_or("the entity is no identity provider of SAML 2.0")?;
        if provider.certificates.is_empty() {
            return Err(MetadataError::NoCertificate.into());
        }
        Ok(Known { provider, until, read: now })
    }
}

/// What we have, by our own clock.
enum Age {
    Fresh(Arc<Known>),
    /// Good, but due to be renewed.
    Ageing(Arc<Known>),
    /// Old, and the provider failed so lately that it is not asked again.
    Resting(Option<Arc<Known>>),
    /// To be fetched.
    Wanting,
}

/// A clock that was set back makes anything old at once.
fn since(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or(Duration::MAX)
}

/// The part of `refresh` after which it is renewed in the background.
const RENEW_AT: f64 = 0.7;
const COOL_DOWN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

//! Renewing tokens and claims: once, however many ask, and in a task of its own.
//!
//! A provider may give a new refresh token with every renewal and end the login when an old one comes again. So a
//! renewal is never begun twice, and never dropped half way because the request that began it went away.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::keeper::lock;
use super::record::WordPart;
use super::{Changed, Session, SessionStore, Why};
use crate::identity::{Claims, Evidence, EvidenceError, RenewError, SignedIn, Tokens};
use crate::web::chain;

/// What the provider said last, and when to ask it again.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) claims: Claims,
    pub(super) tokens: Tokens,
    received: SystemTime,
    /// How often it was renewed.
    pub(super) revision: u64,
    /// When the renewal begins in the background, and when it is waited for. Absent where nothing can be renewed.
    renewal: Option<(SystemTime, SystemTime)>,
}

/// The renewal under way, and what became of those before.
#[derive(Debug)]
pub(super) struct Flight {
    running: Option<watch::Receiver<Option<Outcome>>>,
    failures: u32,
    not_before: SystemTime,
    last: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    Renewed,
    Ended,
    Unavailable(Arc<RenewError>),
}

impl Word {
    pub(super) fn of(part: WordPart) -> Self {
        let WordPart { claims, tokens, received, revision } = part;
        let renewal = tokens.refresh.is_some().then(|| {
            // an ID token that a renewal did not replace lies behind us; it says nothing about the next one
            let ends = [&tokens.id, &tokens.access].into_iter().flatten().map(|token| token.ends);
            let life = ends
                .filter_map(|end| end.duration_since(received).ok())
                .filter(|life| !life.is_zero())
                .min()
                .unwrap_or(WITHOUT_END);
            (received + life.mul_f64(USED), received + life)
        });
        Self { claims, tokens, received, revision, renewal }
    }

    /// The word that follows on this one.
    fn next(&self, claims: Claims, tokens: Tokens, received: SystemTime) -> Self {
        Self::of(WordPart { claims, tokens, received, revision: self.revision + 1 })
    }

    /// As it is kept.
    pub(super) fn part(&self) -> WordPart {
        let (claims, tokens) = (self.claims.clone(), self.tokens.clone());
        WordPart { claims, tokens, received: self.received, revision: self.revision }
    }

    /// The ID token or the SAML response, if it is valid until `until`.
    pub(super) fn evidence(&self, until: SystemTime) -> Option<Evidence> {
        let token = self.tokens.id.as_ref().filter(|token| token.ends > until);
        let response = self.tokens.saml.as_ref().filter(|response| response.taken_until > until);
        let token = token.map(|token| Evidence::OidcToken(token.text.clone()));
        token.or_else(|| response.cloned().map(Evidence::SamlResponse))
    }

    /// Whether it has just come, so that asking again would bring nothing fresher.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        now < self.received + FRESH
    }
}

impl Default for Flight {
    fn default() -> Self {
        Self { running: None, failures: 0, not_before: SystemTime::UNIX_EPOCH, last: Outcome::Renewed }
    }
}

impl Session {
    /// Whether it is time for a renewal.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.word.load().renewal.is_some_and(|(due, _)| now >= due)
    }

    /// Lets go of a SAML response that STS takes no more: it is the largest thing that a session has, and another's login to
    /// whoever could still use it.
    pub(super) fn let_go(&self, now: SystemTime) {
        let is_spent = |word: &Word| word.tokens.saml.as_ref().is_some_and(|response| response.taken_until <= now);
        if is_spent(&self.word.load()) {
            self.word.rcu(|word| {
                let mut part = word.part();
                part.tokens.saml = None;
                Word::of(part)
            });
        }
    }

    /// Begins a renewal where it is time for one, and waits for it where the tokens have ended.
    pub(super) async fn refresh(&self, now: SystemTime) {
        let Some((due, ended)) = self.word.load().renewal else { return };
        if now >= due {
            let flight = self.fly(now);
            if now >= ended
                && let Ok(flight) = flight
            {
                let _ = outcome(flight).await;
            }
        }
    }

    /// A renewal, now, unless one has just failed.
    pub(super) async fn renewed(&self) -> Result<(), EvidenceError> {
        if self.word.load().renewal.is_none() {
            return Err(EvidenceError::Expired);
        }
        let outcome = match self.fly(self.upkeep.clock.now()) {
            Ok(flight) => outcome(flight).await,
            Err(resting) => resting,
        };
        match outcome {
            Outcome::Renewed => Ok(()),
            Outcome::Ended => Err(EvidenceError::Expired),
            Outcome::Unavailable(error) => Err(EvidenceError::Unavailable(error)),
        }
    }

    /// The renewal under way, or a new one; while resting after a failure, what that failure was.
    fn fly(&self, now: SystemTime) -> Result<watch::Receiver<Option<Outcome>>, Outcome> {
        let mut flight = lock(&self.flight);
        if let Some(running) = &flight.running
            && running.has_changed().is_ok()
        {
            return Ok(running.clone());
        }
        if now < flight.not_before {
            return Err(flight.last.clone());
        }
        let Some(me) = self.me.upgrade() else { return Err(Outcome::Ended) };
        let (tell, told) = watch::channel(None);
        flight.running = Some(told.clone());
        drop(flight);
        tokio::spawn(async move {
            let outcome = me.ask_in_turn().await;
            me.land(&outcome);
            let _ = tell.send(Some(outcome));
        });
        Ok(told)
    }

    /// Asks the provider when no other instance does, as a refresh token may be good once only; takes over what another
    /// has brought meanwhile.
    async fn ask_in_turn(self: &Arc<Self>) -> Outcome {
        let unavailable = |source| Outcome::Unavailable(Arc::new(RenewError::Unavailable(source)));
        let (Some(store), Some(commons)) = (self.upkeep.store(), self.upkeep.commons()) else {
            return self.ask().await;
        };
        if !commons.is_shared() {
            let outcome = self.ask().await;
            self.keep_word(&*store, &outcome).await;
            return outcome;
        }
        let (turn, before) = (format!("renewal-{}", self.id), self.word.load().revision);
        for _ in 0..LOOKS {
            let is_ours = match commons.claim(&turn, TURN).await {
                Ok(is_ours) => is_ours,
                Err(error) => return unavailable(error.into()),
            };
            let reread = store.reread(self).await;
            let outcome = match reread {
                Err(error) => Some(unavailable(error.into())),
                Ok(()) if self.is_over() => Some(Outcome::Ended),
                Ok(()) if self.word.load().revision > before => Some(Outcome::Renewed),
                Ok(()) if is_ours => {
                    let outcome = self.ask().await;
                    self.keep_word(&*store, &outcome).await;
                    Some(outcome)
                }
                Ok(()) => None,
            };
            if is_ours && let Err(error) = commons.release(&turn).await {
                tracing::debug!(session.id = %self.id, reason = chain(&error), "the turn to renew ends by itself");
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
            tokio::time::sleep(LOOK).await;
        }
        unavailable("another instance renews the tokens, and does not come to an end".into())
    }

    /// Asks the provider.
    async fn ask(&self) -> Outcome {
        let word = self.word.load_full();
        let Some(source) = self.upkeep.source_of(self) else {
            self.end(Why::SourceGone);
            return Outcome::Ended;
        };
        let answer = match source.login() {
            Some(login) => login.renew(&self.subject, &word.tokens).await,
            None => Err(RenewError::Ended("its source has no login any more".into())),
        };
        match answer {
            // A21: whatever the source let through, a session never becomes someone else's
            Ok(SignedIn { subject, .. }) if subject != *self.subject => {
                self.refused("the renewal names another subject");
                Outcome::Ended
            }
            Ok(SignedIn { claims, tokens, .. }) => {
                // the new claims decide from here on: a group taken away denies (CVE-2021-41230)
                self.word.store(Arc::new(word.next(claims, tokens, self.upkeep.clock.now())));
                Outcome::Renewed
            }
            Err(RenewError::Ended(reason)) => {
                self.refused(&reason);
                Outcome::Ended
            }
            Err(error) => {
                if let RenewError::Incomplete { tokens, .. } = &error {
                    let word = word.next(word.claims.clone(), (**tokens).clone(), self.upkeep.clock.now());
                    self.word.store(Arc::new(word));
                }
                Outcome::Unavailable(Arc::new(error))
            }
        }
    }

    /// Has the store take down what may have come: a rotated refresh token must outlive this process.
    async fn keep_word(&self, store: &dyn SessionStore, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Ended)
            && let Err(error) = store.update(self, Changed::Word).await
        {
            tracing::warn!(session.id = %self.id, reason = chain(&error), "renewed tokens could not be kept yet");
        }
    }

    /// Takes down how it went.
    fn land(&self, outcome: &Outcome) {
        let mut flight = lock(&self.flight);
        flight.running = None;
        flight.last = outcome.clone();
        let (name, failures) = match outcome {
            Outcome::Renewed => ("renewed", 0),
            Outcome::Ended => ("ended", 0),
            Outcome::Unavailable(_) => ("unavailable", flight.failures.saturating_add(1)),
        };
        flight.failures = failures;
        let rest = match failures {
            0 => Duration::ZERO,
            n => REST.saturating_mul(1 << (n - 1).min(6)).min(LONGEST_REST),
        };
        flight.not_before = self.upkeep.clock.now() + rest;
        drop(flight);
        self.upkeep.renewals(name).increment(1);
        match outcome {
            Outcome::Unavailable(error) => tracing::warn!(
                session.id = %self.id,
                subject.source = &*self.subject.source,
                reason = chain(&**error),
                failures,
                "a session's tokens could not be renewed; it goes on with what it has"
            ),
            _ => tracing::debug!(session.id = %self.id, outcome = name, "a session's tokens were renewed"),
        }
    }

    fn refused(&self, reason: &str) {
        tracing::info!(session.id = %self.id, reason, "the identity provider ended a login");
        self.end(Why::Provider);
    }
}

/// How a renewal went. One that was cut off, as at the end of the process, told us nothing.
async fn outcome(mut flight: watch::Receiver<Option<Outcome>>) -> Outcome {
    let cut_off = || Outcome::Unavailable(Arc::new(RenewError::Unavailable("the renewal was cut off".into())));
    match flight.wait_for(Option::is_some).await {
        Ok(told) => told.clone().unwrap_or_else(cut_off),
        Err(_) => cut_off(),
    }
}

/// How much of a token's life may be used before the next is asked for.
const USED: f64 = 0.7;
/// How often claims are looked up anew where no token has an end that we know.
const WITHOUT_END: Duration = Duration::from_secs(300);
/// A provider is not asked twice within so long, even if its tokens live shorter than what is wanted.
const FRESH: Duration = Duration::from_secs(5);
/// After the first failure; doubled with each, up to [`LONGEST_REST`].
const REST: Duration = Duration::from_secs(1);
/// How long one instance has the turn: longer than a provider is waited for.
const TURN: Duration = Duration::from_secs(40);
/// How often one looks whether another instance's renewal has come; for 15 s in all.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 150;
const LONGEST_REST: Duration = Duration::from_secs(60);

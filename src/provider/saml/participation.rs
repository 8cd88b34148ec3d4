//! Which parties a sign-in has served, and the logouts that are on their way through a browser.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::provider::expiring::Expiring;
use crate::saml::NameId;

/// What was said of a session to a party: its logout messages speak of it so.
#[derive(Clone, Debug)]
pub(super) struct Participation {
    /// The provider's own session.
    pub(super) sid: Arc<str>,
    /// The party's entity ID.
    pub(super) party: Arc<str>,
    pub(super) name_id: NameId,
    pub(super) session_index: String,
}

/// A logout that goes from party to party.
#[derive(Debug)]
pub(super) struct Round {
    /// Who is still to be told.
    pub(super) rest: Vec<Participation>,
    /// Whether all who were told have ended theirs.
    pub(super) all_ended: bool,
    pub(super) end: End,
}

/// Where a logout ends.
#[derive(Debug)]
pub(super) enum End {
    /// Here, or at an address that is registered for a client.
    Here(Option<String>),
    /// At the party that began it.
    Answer { party: Arc<str>, in_response_to: String, relay_state: Option<String> },
}

/// All of both.
#[derive(Debug)]
pub(super) struct Participations {
    /// By session index, which is ours to make and is made once.
    of_sessions: Mutex<Expiring<String, Participation>>,
    /// By the ID of our LogoutRequest, with the party it went to.
    rounds: Mutex<Expiring<String, (Arc<str>, Round)>>,
    /// Parties' own LogoutRequests that have come, while they could come again.
    heard: Mutex<Expiring<(Arc<str>, String), ()>>,
}

impl Default for Participations {
    fn default() -> Self {
        Self {
            of_sessions: Mutex::new(Expiring::new(CAPACITY)),
            rounds: Mutex::new(Expiring::new(ROUNDS)),
            heard: Mutex::new(Expiring::new(ROUNDS)),
        }
    }
}

impl Participations {
    pub(super) fn add(&self, participation: Participation, ends: SystemTime, now: SystemTime) {
        lock(&self.of_sessions).insert(participation.session_index.clone(), ends, participation, now);
    }

    /// The sessions that a party speaks of: by these indexes, or all of that name.
    pub(super) fn sessions(
        &self,
        party: &str,
        name_id: &NameId,
        indexes: &[String],
        now: SystemTime,
    ) -> BTreeSet<Arc<str>> {
        let of_sessions = lock(&self.of_sessions);
        // another's session is none of theirs, whatever its index (SAML-Profiles §4.4.3.3)
        let theirs = of_sessions.values(now).filter(|p| *p.party == *party && p.name_id.value == name_id.value);
        theirs
            .filter(|p| indexes.is_empty() || indexes.contains(&p.session_index))
            .map(|p| Arc::clone(&p.sid))
            .collect()
    }

    /// Whether a party's LogoutRequest has not come before: kept by somebody, it would end a login that came after it (A17).
    pub(super) fn is_new(&self, party: &Arc<str>, request: &str, until: SystemTime, now: SystemTime) -> bool {
        let (mut heard, key) = (lock(&self.heard), (Arc::clone(party), request.to_owned()));
        let is_new = heard.find(&key, now).is_none();
        heard.insert(key, until, (), now);
        is_new
    }

    /// Takes out all that a session has served.
    pub(super) fn take(&self, sid: &str, now: SystemTime) -> Vec<Participation> {
        let mut of_sessions = lock(&self.of_sessions);
        let taken: Vec<_> = of_sessions.values(now).filter(|p| *p.sid == *sid).cloned().collect();
        of_sessions.remove_where(|p| *p.sid == *sid);
        taken
    }

    /// Keeps a round until a party answers this request.
    pub(super) fn wait(&self, request: &str, party: Arc<str>, round: Round, now: SystemTime) {
        lock(&self.rounds).insert(request.to_owned(), now + ROUND_LIVES, (party, round), now);
    }

    /// The round that waits for this party's answer to this request.
    pub(super) fn go_on(&self, request: &str, party: &str, now: SystemTime) -> Option<Round> {
        let mut rounds = lock(&self.rounds);
        let _ = rounds.find(request, now).filter(|(waited_for, _)| **waited_for == *party)?;
        rounds.remove(request).map(|(_, round)| round)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As many as there may be sessions.
const CAPACITY: usize = 100_000;
/// Each is a browser that is between two parties at this moment.
const ROUNDS: usize = 10_000;
/// A browser comes back at once, or when its person presses a button.
const ROUND_LIVES: Duration = Duration::from_secs(300);

//! Who is signed in at the provider itself, by a cookie of its own: what makes one login serve several clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::expiring::Expiring;
use super::grants::{SignedIn, TokenHash};
use crate::secret::{Secret, random_token};

/// The sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    live: Duration,
    sessions: Mutex<Expiring<TokenHash, Session>>,
}

#[derive(Debug)]
struct Session {
    person: SignedIn,
    /// Device codes that nobody has, typed in this session (RFC 8628 §5.1).
    wrong_codes: u32,
}

impl Sessions {
    pub(super) fn new(live: Duration) -> Self {
        Self { live, sessions: Mutex::new(Expiring::new(CAPACITY)) }
    }

    /// A new session of this user, and the value of its cookie. It is never one that was there before (A10).
    pub(super) fn begin(&self, sub: Arc<str>, now: SystemTime) -> (Secret, SignedIn) {
        let cookie = Secret::random(32);
        let person = SignedIn { sub, sid: random_token(16).into(), at: now };
        let session = Session { person: person.clone(), wrong_codes: 0 };
        self.lock().insert(TokenHash::of(cookie.expose()), now + self.live, session, now);
        (cookie, person)
    }

    /// Whose session a cookie is.
    pub(super) fn find(&self, cookie: &str, now: SystemTime) -> Option<SignedIn> {
        self.lock().find(&TokenHash::of(cookie), now).map(|session| session.person.clone())
    }

    /// Whether device codes may still be tried in this session.
    pub(super) fn may_try_codes(&self, cookie: &str, now: SystemTime) -> bool {
        self.lock().find(&TokenHash::of(cookie), now).is_some_and(|session| session.wrong_codes < WRONG_CODES)
    }

    /// Counts a device code that nobody has.
    pub(super) fn count_wrong_code(&self, cookie: &str, now: SystemTime) {
        if let Some(session) = self.lock().find(&TokenHash::of(cookie), now) {
            session.wrong_codes = session.wrong_codes.saturating_add(1);
        }
    }

    pub(super) fn end(&self, sid: &str) {
        self.lock().remove_where(|session| *session.person.sid == *sid);
    }

    fn lock(&self) -> MutexGuard<'_, Expiring<TokenHash, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each costs its owner a password hash; some 20 MB.
const CAPACITY: usize = 100_000;
/// Of 20⁸ device codes. The session itself goes on, or a page elsewhere could end it by links to wrong codes.
const WRONG_CODES: u32 = 10;

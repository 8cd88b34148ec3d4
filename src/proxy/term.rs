//! How long what was let in may go on: no longer than whoever let it in is vouched for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::Clock;
use crate::policy::Permit;
use crate::session::Session;

/// The term of a stream or an upgraded connection.
#[derive(Clone, Debug)]
pub(super) enum Term {
    /// As long as the session.
    Session(Arc<Session>),
    /// Until the token or the certificate that was shown ends.
    Until(SystemTime, Arc<dyn Clock>),
}

impl Term {
    /// The term of what this permit lets in; `session` is the one that it is for, if there is one. None where nobody is
    /// vouched for, so that nobody's end ends it.
    pub(super) fn of(permit: &Permit, session: Option<&Arc<Session>>, clock: &Arc<dyn Clock>) -> Option<Self> {
        let identity = permit.identity()?;
        Some(match session {
            Some(session) => Self::Session(Arc::clone(session)),
            None => Self::Until(identity.ends_at, Arc::clone(clock)),
        })
    }

    /// Whether it is over: cheap enough to ask at every piece of a body.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Session(session) => session.is_over(),
            Self::Until(end, clock) => clock.now() >= *end,
        }
    }

    /// Waits for its end.
    pub(super) async fn ended(self) {
        match &self {
            Self::Session(session) => session.ended().await,
            Self::Until(end, clock) => {
                // our clock decides: the timer's stands still while a machine sleeps, and knows of no step
                while let Ok(left) = end.duration_since(clock.now()) {
                    tokio::time::sleep(left.clamp(SHORTEST, LONGEST)).await;
                    if self.is_over() {
                        break;
                    }
                }
            }
        }
    }
}

/// A step of the clock is seen so late at the most.
const LONGEST: Duration = Duration::from_secs(5);
/// The timer's own step.
const SHORTEST: Duration = Duration::from_millis(1);

//! Handing a login over from `public_url` to another host.
//!
//! A code is 128 random bits, good once, for half a minute, for one host, and for the browser that has the binding
//! there: an address bar, a log or a referrer that shows it later gives nobody a session (A8).

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::begin::{NOWHERE, with_cookies};
use super::underway::{Step, hash};
use super::{SignIn, Site, Visit};
use crate::fault::Fault;
use crate::secret::random_token;
use crate::session::Session;
use crate::telemetry::AUDIT;
use crate::web::{self, Response};

/// Codes that wait to be shown.
#[derive(Default)]
pub(super) struct HandOvers(Mutex<HashMap<[u8; 32], HandOver>>);

struct HandOver {
    session: Arc<Session>,
    host: String,
    binding: [u8; 32],
    ends: SystemTime,
}

impl HandOvers {
    fn put(&self, code: &str, handover: HandOver, now: SystemTime) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.retain(|_, one| now < one.ends);
        }
        // only logged-in browsers get here; past the bound they have to try again
        if waiting.len() < MOST {
            waiting.insert(hash(code), handover);
        }
    }

    /// Whatever becomes of it, the code is used up.
    fn take(&self, code: &str, now: SystemTime) -> Option<HandOver> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&hash(code)).filter(|one| now < one.ends)
    }
}

impl SignIn {
    /// Sends the browser to `host` with a code for `session`.
    pub(super) fn hand_over(
        &self,
        site: &Site,
        host: &str,
        binding: [u8; 32],
        session: &Arc<Session>,
    ) -> Result<Response, Fault> {
        let (code, now) = (random_token(16), self.clock.now());
        let mut url = site.url(host, "/.claviger/enter").filter(|_| site.serves(host)).ok_or(NOWHERE)?;
        url.query_pairs_mut().append_pair("code", &code);
        let handover = HandOver { session: Arc::clone(session), host: host.to_owned(), binding, ends: now + LIFE };
        self.handovers.put(&code, handover, now);
        Ok(web::redirect(url.as_str()))
    }

    /// `/.claviger/enter?code=…`: this host's own ticket, and on to where the browser was going.
    pub(super) async fn enter(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let answer = self.come_in(site, visit).await;
        if let Err(fault) = &answer {
            self.count("refused");
            tracing::warn!(target: AUDIT, { request.id = visit.request_id, reason = %fault }, "a login was refused");
        }
        answer
    }

    async fn come_in(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let code = visit.parameter("code").ok_or_else(|| bad("there is no code, or more than one"))?;
        let handover =
            self.handovers.take(&code, self.clock.now()).ok_or_else(|| bad("the code is not good any more"))?;
        if handover.host != visit.host {
            return Err(bad("the code is for another host"));
        }
        let (cookie, to, anew) = self
            .logins(site, visit)
            .find_map(|(cookie, login)| match login.step {
                Step::Enter { binding, to, anew } if hash(&binding) == handover.binding => {
                    Some((cookie.to_owned(), to, anew))
                }
                _ => None,
            })
            .ok_or_else(|| bad("the code is for another browser"))?;
        let session = handover.session;
        if session.is_over() {
            return Err(bad("the session has ended"));
        }

        let cleared = site.names.clear(&cookie);
        let rounds = self.rounds(site, visit, anew).await?;
        if rounds.are_too_many() {
            return self.explain(site, visit, visit.host).map(|page| with_cookies(page, cleared));
        }
        let ticket = self.sessions.admit(&session, visit.host).await?;
        self.retire_tickets(site, visit).await?;
        let ticket = site.names.set(site.names.ticket(), ticket.expose(), None);
        let rounds = self.keep_rounds(site, visit, rounds);
        Ok(with_cookies(web::redirect(&to.url(site)), ticket.into_iter().chain(cleared).chain(rounds)))
    }
}

impl Debug for HandOvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandOvers").finish_non_exhaustive()
    }
}

fn bad(what: &str) -> Fault {
    Fault::BadLogin(what.to_owned())
}

/// A redirect takes less.
const LIFE: Duration = Duration::from_secs(30);
const MOST: usize = 10_000;

//! Handing a login over from `public_url` to another host.
//!
//! A code is 128 random bits, good once, for half a minute, for one host, and for the browser that has the binding
//! there: an address bar, a log or a referrer that shows it later gives nobody a session (A8).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::begin::{NOWHERE, with_cookies};
use super::underway::{Step, hash, hash_text};
use super::{SignIn, Site, Visit};
use crate::fault::Fault;
use crate::identity::HolderId;
use crate::secret::random_token;
use crate::session::Session;
use crate::telemetry::AUDIT;
use crate::web::{self, Response};

/// What a code stands for, on whichever instance it is shown.
#[derive(Deserialize, Serialize)]
struct HandOver {
    session: HolderId,
    host: String,
    binding: [u8; 32],
}

impl SignIn {
    /// Sends the browser to `host` with a code for `session`.
    pub(super) async fn hand_over(
        &self,
        site: &Site,
        host: &str,
        binding: [u8; 32],
        session: &Arc<Session>,
    ) -> Result<Response, Fault> {
        let code = random_token(16);
        let mut url = site.url(host, "/.claviger/enter").filter(|_| site.serves(host)).ok_or(NOWHERE)?;
        url.query_pairs_mut().append_pair("code", &code);
        let handover = HandOver { session: session.id(), host: host.to_owned(), binding };
        // a struct of texts and numbers is always JSON
        let note = serde_json::to_vec(&handover).unwrap_or_default();
        self.sessions.commons().put(&name(&code), &note, LIFE).await?;
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
        // whatever becomes of it, the code is used up
        let note = self.sessions.commons().take(&name(&code)).await?;
        let handover = note.and_then(|note| serde_json::from_slice::<HandOver>(&note).ok());
        let handover = handover.ok_or_else(|| bad("the code is not good any more"))?;
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
        let session = self.sessions.by_id(handover.session).await?.filter(|session| !session.is_over());
        let session = session.ok_or_else(|| bad("the session has ended"))?;

        let cleared = self.clear(site, &cookie);
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

fn bad(what: &str) -> Fault {
    Fault::BadLogin(what.to_owned())
}

/// A code as it is known where it is kept: by its hash.
fn name(code: &str) -> String {
    format!("code-{}", hash_text(code))
}

/// A redirect takes less.
const LIFE: Duration = Duration::from_secs(30);

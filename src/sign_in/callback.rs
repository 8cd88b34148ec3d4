//! The provider's answer: state, code, and a session in the end.

use std::sync::Arc;
use std::time::Duration;

use super::begin::{Ask, NOWHERE, Then, with_cookies};
use super::underway::{LIFE, Step, hash_text};
use super::{SignIn, Site, Visit};
use crate::fault::Fault;
use crate::identity::{LoginError, Once, Returned, SignedIn, SourceName};
use crate::session::{Session, Why};
use crate::telemetry::AUDIT;
use crate::web::{self, Response, chain, cookies};

impl SignIn {
    /// `/.claviger/callback`: only at `public_url`, as that is what providers know.
    pub(super) async fn callback(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let answer = self.come_back(site, visit).await;
        self.take_down(visit, answer)
    }

    /// Counts a login that failed, and says why in the audit log: once.
    pub(super) fn take_down(&self, visit: &Visit<'_>, answer: Result<Response, Fault>) -> Result<Response, Fault> {
        if let Err(fault) = &answer {
            self.count(match fault {
                Fault::Login(LoginError::Declined(_)) => "declined",
                Fault::Login(LoginError::Unavailable(_)) => "unavailable",
                _ => "refused",
            });
            tracing::warn!(
                target: AUDIT,
                {
                    request.id = visit.request_id,
                    reason = chain(fault),
                },
                "a login was refused"
            );
        }
        answer
    }

    async fn come_back(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let returned = Returned(visit.parameters().collect());
        let state = returned.only("state").ok_or_else(|| bad("there is no state, or more than one"))?;
        // a posted answer in a query would be in logs and histories
        let Some((cookie, Step::Provider { source, memory, ask, posted: false, .. })) =
            self.underway(site, visit, state)
        else {
            return Err(bad("no login with this state was begun in this browser of late"));
        };
        let signed_in = self.finish(site, &source, state, &returned, &memory).await?;
        self.let_in(site, visit, signed_in, ask, &cookie).await
    }

    /// Begins the session of a login that is over, whose cookie goes.
    pub(super) async fn let_in(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        signed_in: SignedIn,
        ask: Ask,
        cookie: &str,
    ) -> Result<Response, Fault> {
        let cleared = self.clear(site, cookie);
        let rounds = self.rounds(site, visit, ask.anew).await?;
        if rounds.are_too_many() {
            // nobody comes back with this session's ticket: it is not even begun
            return self.explain_loop(site, visit, &ask).map(|page| with_cookies(page, cleared));
        }
        let (session, response) = self.admit(site, visit, signed_in, ask).await?;
        let rounds = self.keep_rounds(site, visit, rounds);
        self.count("done");
        tracing::info!(
            target: AUDIT,
            {
                subject.source = &*session.subject().source,
                subject.id = &*session.subject().id,
                session.id = %session.id(),
                request.id = visit.request_id,
            },
            "a person logged in"
        );
        Ok(with_cookies(response, cleared.into_iter().chain(rounds)))
    }

    pub(super) async fn finish(
        &self,
        site: &Site,
        source: &SourceName,
        state: &str,
        returned: &Returned,
        memory: &crate::identity::LoginMemory,
    ) -> Result<SignedIn, Fault> {
        let login = site.source(source).and_then(|source| source.login());
        let login = login.ok_or_else(|| bad("it was begun at a source that is gone"))?;
        // states that came back: none does twice, on no instance (A8)
        let (commons, name) = (self.sessions.commons(), format!("state-{}", hash_text(state)));
        if !commons.claim(&name, LIFE).await? {
            return Err(bad("its state has come back before"));
        }
        match login.finish(returned, memory).await {
            // A21: a source vouches in its own name only
            Ok(signed_in) if signed_in.subject.source != *source => Err(bad("it names another source")),
            Ok(signed_in) => self.only_once(signed_in).await,
            Err(error) => {
                // the code may still be good, and loading the page again may help; what a form brought that was refused
                // used nothing up, and may be tried without end: it must not crowd out what did
                if matches!(error, LoginError::Unavailable(_)) || login.party().is_some() {
                    commons.release(&name).await?;
                }
                Err(Fault::Login(error))
            }
        }
    }

    /// What says who it is counts once among all instances (A17); where that can't be known it does not count.
    pub(super) async fn only_once(&self, signed_in: SignedIn) -> Result<SignedIn, Fault> {
        let Some(once) = &signed_in.once else { return Ok(signed_in) };
        if !self.spend(once).await? {
            return Err(bad("the assertion has come before"));
        }
        Ok(signed_in)
    }

    /// Whether it has not come before.
    pub(super) async fn spend(&self, once: &Once) -> Result<bool, Fault> {
        // an instance whose clock is behind ours takes it for a little longer than we do
        let life = once.until.duration_since(self.clock.now()).unwrap_or_default() + APART;
        Ok(self.sessions.commons().spend(&once_name(once), life).await?)
    }

    /// Begins the session. Its tickets are new, and those the browser came with are forgotten (A10).
    async fn admit(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        signed_in: SignedIn,
        ask: Ask,
    ) -> Result<(Arc<Session>, Response), Fault> {
        let (session, ticket) = self.sessions.start(signed_in, visit.host).await?;
        if let Err(fault) = self.retire_tickets(site, visit).await {
            // nobody gets its ticket
            let _ = self.sessions.end(&session, Why::Unkept).await;
            return Err(fault);
        }
        let response = match ask.then {
            Then::Here(to) => web::redirect(&to.url(site)),
            Then::HandOver { host, binding } => self.hand_over(site, &host, binding, &session).await?,
        };
        let cookie = site.names.set(site.names.ticket(), ticket.expose(), None).ok_or(NOWHERE)?;
        Ok((session, with_cookies(response, [cookie])))
    }

    /// Forgets the tickets that came with the request.
    pub(super) async fn retire_tickets(&self, site: &Site, visit: &Visit<'_>) -> Result<(), Fault> {
        for ticket in cookies(&visit.head.headers, site.names.ticket()) {
            self.sessions.retire(ticket, visit.host).await?;
        }
        Ok(())
    }
}

fn bad(what: &str) -> Fault {
    Fault::BadLogin(what.to_owned())
}

/// What has come is remembered under.
pub(super) fn once_name(once: &Once) -> String {
    format!("once-{}", hash_text(&once.name))
}

/// As far as the clocks of two instances may be apart: as far as a provider's and ours.
const APART: Duration = Duration::from_secs(60);

//! The provider's answer: state, code, and a session in the end.

use std::sync::Arc;

use super::begin::{Ask, NOWHERE, Then, with_cookies};
use super::underway::{LIFE, Step, hash_text};
use super::{SignIn, Site, Visit};
use crate::fault::Fault;
use crate::identity::{LoginError, Returned, SignedIn, SourceName};
use crate::session::Session;
use crate::telemetry::AUDIT;
use crate::web::{self, Response, chain, cookies};

impl SignIn {
    /// `/.claviger/callback`: only at `public_url`, as that is what providers know.
    pub(super) async fn callback(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let answer = self.come_back(site, visit).await;
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
        let Some((cookie, Step::Provider { source, memory, ask, .. })) = self.underway(site, visit, state) else {
            return Err(bad("no login with this state was begun in this browser of late"));
        };
        let signed_in = self.finish(site, &source, state, &returned, &memory).await?;

        let cleared = site.names.clear(&cookie);
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

    async fn finish(
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
            Ok(signed_in) => Ok(signed_in),
            Err(error) => {
                if matches!(error, LoginError::Unavailable(_)) {
                    // the code may still be good: loading the page again may help
                    commons.release(&name).await?;
                }
                Err(Fault::Login(error))
            }
        }
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
        self.retire_tickets(site, visit).await?;
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

//! A SAML provider's logout messages: requests that end logins here, and answers to ours.
//!
//! What they say is signed, and whose login it is stands in them. A request that was forged, came before or mixes up two
//! people's logins ends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use super::acs::posted;
use super::begin::{NOWHERE, with_cookies};
use super::onward::send_onward;
use super::underway::{LIFE, hash_text};
use super::{SignIn, Site, Visit, leave};
use crate::fault::Fault;
use crate::identity::{Heard, LeaveRequest, LoginError, Message, Party, SourceName};
use crate::session::{Session, Why};
use crate::telemetry::AUDIT;
use crate::web::{Body, Response, chain};

impl SignIn {
    /// `GET` and `POST /.claviger/saml/<name>/logout`.
    pub(super) async fn heed_logout(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        source: (&SourceName, &dyn Party),
        body: Body,
    ) -> Result<Response, Fault> {
        let answer = self.heed(site, visit, source, body).await.map_err(|fault| match fault {
            Fault::Login(LoginError::Refused(reason)) => Fault::BadLogout(reason),
            fault => fault,
        });
        if let Err(fault) = &answer {
            let (request, reason) = (visit.request_id, chain(fault));
            tracing::warn!(target: AUDIT, { request.id = request, reason }, "a logout was refused");
        }
        answer
    }

    async fn heed(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        (name, party): (&SourceName, &dyn Party),
        body: Body,
    ) -> Result<Response, Fault> {
        let message = if visit.head.method == Method::POST {
            Message::Form(posted(&visit.head.headers, body).await.map_err(Fault::BadLogout)?)
        } else {
            Message::Query(visit.head.uri.query().unwrap_or_default().to_owned())
        };
        match party.hear(message, &site.callback().ok_or(NOWHERE)?).await? {
            Heard::Left { asked, everywhere } => {
                let note = self.sessions.commons().take(&note_name(&asked)).await?;
                note.ok_or_else(|| bad("it answers no request of ours"))?;
                if !everywhere {
                    tracing::info!(request.id = visit.request_id, source = &**name, "a logout did not reach everybody");
                }
                Ok(leave::signed_out())
            }
            Heard::Leave(request) => {
                if !self.spend(&request.once).await? {
                    return Err(bad("it has come before"));
                }
                let ended = self.end_at_provider(name, &request).await?;
                tracing::info!(
                    target: AUDIT,
                    { subject.source = &**name, request.id = visit.request_id, sessions = ended },
                    "an identity provider logged a person out"
                );
                let answer = match party.answer(&request).await {
                    Some(onward) => send_onward(onward, name)?,
                    None => leave::signed_out(),
                };
                Ok(with_cookies(answer, site.names.clear(site.names.ticket())))
            }
        }
    }

    /// Ends the logins that a request means, all or none; says how many there were. None is well: they may have ended
    /// here before.
    async fn end_at_provider(&self, source: &SourceName, request: &LeaveRequest) -> Result<usize, Fault> {
        let mut found: BTreeMap<String, Arc<Session>> = BTreeMap::new();
        let mut meant = Vec::new();
        for index in &request.sessions {
            meant.extend(self.sessions.of_provider_session(source, index).await?);
        }
        if request.sessions.is_empty() {
            let subject = request.subject.as_ref().ok_or_else(|| bad("it names no login, and nobody we know"))?;
            meant.extend(self.sessions.of_subject(subject).await?);
        }
        for session in meant {
            found.insert(session.id().to_string(), session);
        }
        for session in found.values() {
            let login = session.tokens().saml_login;
            if !login.is_some_and(|login| login.is_the_same_person(&request.name)) {
                return Err(bad("the login that it names is somebody else's"));
            }
        }
        for session in found.values() {
            self.sessions.end(session, Why::Provider).await?;
        }
        Ok(found.len())
    }

    /// Remembers a request to log out, whose answer will come.
    pub(super) async fn await_answer(&self, asked: &str) {
        // what it is good for is over already: without it only the last page is another
        let _ = self.sessions.commons().put(&note_name(asked), b"asked", LIFE).await;
    }
}

fn bad(what: &str) -> Fault {
    Fault::BadLogout(what.to_owned())
}

fn note_name(asked: &str) -> String {
    format!("leaving-{}", hash_text(asked))
}

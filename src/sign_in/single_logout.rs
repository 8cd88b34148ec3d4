//! A SAML provider's logout messages: requests that end logins here, and answers to ours.
//!
//! What they say is signed, and whose login it is stands in them. A request that was forged, came before or is about nobody's
//! login but another's ends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;

use super::acs::posted;
use super::begin::NOWHERE;
use super::callback::once_name;
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
                let ended = self.end_at_provider(name, &request).await;
                if matches!(ended, Err(Fault::Store(_))) {
                    // nothing is done yet, or not all: it may come again
                    let _ = self.sessions.commons().release(&once_name(&request.once)).await;
                }
                let ended = ended?;
                tracing::info!(
                    target: AUDIT,
                    { subject.source = &**name, request.id = visit.request_id, sessions = ended },
                    "an identity provider logged a person out"
                );
                // whoever's browser brought it may be somebody else's: its ticket stays, which opens nothing any more where
                // the login was theirs (A12)
                match party.answer(&request).await {
                    Some(onward) => send_onward(onward, name),
                    None => Ok(leave::signed_out()),
                }
            }
        }
    }

    /// Ends the logins that a request means, and says how many there were. None is well: they may have ended here before.
    ///
    /// A provider may give several people's logins the same index, so that nobody learns from it who is who (SAML-Core
    /// §2.7.2): of those that bear it only the named person's are meant.
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
        let is_theirs = |session: &Arc<Session>| {
            session.tokens().saml_login.is_some_and(|login| login.is_the_same_person(&request.name))
        };
        let theirs: Vec<_> = found.values().filter(|session| is_theirs(session)).collect();
        if theirs.is_empty() && !found.is_empty() {
            return Err(bad("the login that it names is somebody else's"));
        }
        for session in &theirs {
            self.sessions.end(session, Why::Provider).await?;
        }
        Ok(theirs.len())
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

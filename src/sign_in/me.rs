//! Who is logged in.

use http::StatusCode;
use serde_json::json;

use super::{SignIn, Site, Visit};
use crate::clock::rfc3339;
use crate::fault::{Fault, LoggedIn};
use crate::identity::Claims;
use crate::session::Session;
use crate::web::{self, Response};

impl SignIn {
    /// `/.claviger/me`: who this browser is logged in as, until when, and with which roles where there is a
    /// choice; no token (CVE-2024-39315).
    pub(super) async fn me(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let session = self.session(site, visit).await?.ok_or(Fault::Anonymous)?;
        let claims = session.claims();
        let choices = site.generation().map(|generation| self.choices(generation, visit, &session));
        let who = json!({
            "source": &*session.subject().source,
            "subject": &*session.subject().id,
            "name": name(&claims),
            "email": claims.text("email"),
            "groups": claims.texts("groups").collect::<Vec<_>>(),
            "since": rfc3339(session.created()),
            "until": rfc3339(session.ends()),
            "roles": choices.unwrap_or_default(),
        });
        Ok(web::json(StatusCode::OK, &who))
    }
}

impl Site {
    /// Whose session it is, as pages put it.
    pub fn logged_in(&self, session: &Session) -> LoggedIn {
        let subject = session.subject();
        let name = name(&session.claims()).unwrap_or_else(|| subject.id.to_string());
        let label =
            self.source(&subject.source).and_then(|source| source.login()).map(|login| login.label().to_owned());
        LoggedIn { name, source: label.unwrap_or_else(|| subject.source.to_string()) }
    }
}

/// What to call someone.
fn name(claims: &Claims) -> Option<String> {
    let named = ["name", "preferred_username", "email"].into_iter().filter_map(|name| claims.text(name));
    named.map(|name| name.trim().to_owned()).find(|name| !name.is_empty())
}

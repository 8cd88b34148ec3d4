//! Logging out: here, on every host, and at the provider.

use askama::Template;
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::begin::{NOWHERE, page, with_cookies};
use super::navigation::is_from_our_page;
use super::onward::send_onward;
use super::{SignIn, Site, Visit};
use crate::fault::{Fault, LoggedIn};
use crate::identity::Leave;
use crate::session::Why;
use crate::telemetry::AUDIT;
use crate::web::{self, Response};

#[derive(Template)]
#[template(path = "sign_in/logout.html", config = ".askama.toml")]
struct Confirm {
    who: LoggedIn,
}

#[derive(Template)]
#[template(path = "sign_in/signed_out.html", config = ".askama.toml")]
struct SignedOut;

impl SignIn {
    /// `GET /.claviger/logout`: a page with a button. A link, a picture or a prefetch must not log anyone out (A12).
    pub(super) async fn confirm_leaving(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let Some(session) = self.session(site, visit).await? else { return Ok(signed_out()) };
        let mut response = page(&Confirm { who: site.logged_in(&session) })?;
        // without a referrer at all, older browsers would say `Origin: null` of this very form
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        Ok(response)
    }

    /// `POST /.claviger/logout`: ends the session, with all its tickets, and goes on to the provider's own logout.
    pub(super) async fn leave(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let origin = site.url(visit.host, "/").ok_or(NOWHERE)?.origin().ascii_serialization();
        if !is_from_our_page(&visit.head.headers, &origin) {
            return Err(Fault::Malformed("a logout must come from our own page".into()));
        }
        let back = site.public_host().and_then(|host| site.url(host, "/.claviger/signed-out")).ok_or(NOWHERE)?;
        let mut answer = None;
        if let Some(session) = self.session(site, visit).await? {
            self.sessions.end(&session, Why::Logout).await?;
            tracing::info!(
                target: AUDIT,
                {
                    subject.source = &*session.subject().source,
                    subject.id = &*session.subject().id,
                    session.id = %session.id(),
                    request.id = visit.request_id,
                },
                "a person logged out"
            );
            if let Some(login) = site.source(&session.subject().source).and_then(|source| source.login())
                && let Some(Leave { to, asked }) = login.leave(&session.tokens(), &back).await
            {
                if let Some(asked) = asked {
                    self.await_answer(&asked).await;
                }
                answer = Some(send_onward(to, login.label())?);
            }
        }
        let answer = answer.unwrap_or_else(|| web::redirect(back.as_str()));
        Ok(with_cookies(answer, site.names.clear(site.names.ticket())))
    }
}

/// `/.claviger/signed-out`: where a logout ends.
pub(super) fn signed_out() -> Response {
    page(&SignedOut)
        .unwrap_or_else(|_| web::answer(StatusCode::OK, "text/plain; charset=utf-8", "You are signed out.\n"))
}

//! Logins on devices without a browser (RFC 8628): where they begin, and the pages where a person confirms them.

use http::{Method, StatusCode};
use serde_json::json;
use tracing::info;

use super::OpenIdProvider;
use super::asked::Asked;
use super::devices::UserCode;
use super::grants::SignedIn;
use super::pages::{DeviceCodePage, DeviceConfirmPage, MessagePage, refusal, show};
use super::token::TokenError;
use crate::secret::random_token;
use crate::telemetry::AUDIT;
use crate::web::{self, Response};

/// What the sign-in page calls a client that is not known before its code is.
pub(super) const SOMETHING: &str = "a device or program";

impl OpenIdProvider {
    /// RFC 8628 §3.1, §3.2.
    pub(super) fn device_authorization(&self, asked: &Asked) -> Response {
        let client = match self.client(asked) {
            Ok(client) if client.device_flow => client,
            Ok(_) => return TokenError::UnauthorizedClient.answer(asked),
            Err(e) => return e.answer(asked),
        };
        let scope = asked.form.value("scope").unwrap_or("openid").to_owned();
        let Some(begun) = self.devices.begin(client.id.clone(), scope, asked.now) else {
            return TokenError::InvalidRequest("no code can be made now").answer(asked);
        };
        let (verification_uri, user_code) = (self.at("/device"), begun.user_code.shown());
        let answer = json!({
            "device_code": begun.device_code.expose(),
            "user_code": user_code,
            "verification_uri": verification_uri,
            "verification_uri_complete": format!("{verification_uri}?user_code={user_code}"),
            "expires_in": begun.lives.as_secs(),
            "interval": begun.interval.as_secs(),
        });
        web::json(StatusCode::OK, &answer)
    }

    /// The pages. A link may bring the code along, but never the confirmation (RFC 8628 §5.4, CVE-2026-33757).
    pub(super) fn device(&self, asked: &Asked) -> Response {
        let typed = asked.form.value("user_code").unwrap_or_default();
        let code = UserCode::read(typed);
        let Some((person, cookie)) = self.session(asked) else {
            let shown = code.as_ref().map(UserCode::shown).unwrap_or_default();
            return self.ask_to_sign_in(asked, &format!("device?user_code={shown}"), SOMETHING, "");
        };
        if let (&Method::POST, Some(decision), Some(code)) = (&asked.head.method, asked.form.value("decision"), &code) {
            return self.decide(asked, &person, code, decision == "allow");
        }
        if typed.is_empty() {
            return self.ask_for_code(None);
        }
        if !self.sessions.may_try_codes(&cookie, asked.now) {
            return refusal("Too many codes that nobody has. Sign out and in again to try others.");
        }
        match code.and_then(|code| Some((self.devices.waiting(&code, asked.now)?, code))) {
            Some((client, code)) => self.ask_to_confirm(asked, &person, &client, &code),
            None => {
                self.sessions.count_wrong_code(&cookie, asked.now);
                self.ask_for_code(Some("No login waits for this code. Look at the device again: codes end soon."))
            }
        }
    }

    fn decide(&self, asked: &Asked, person: &SignedIn, code: &UserCode, allowed: bool) -> Response {
        if !self.is_sealed(asked, &confirmation(person, code)) {
            return refusal("This form is out of date, or your browser did not keep its cookie.");
        }
        // the device's login is one of its own: signing out in this browser does not end it
        let login = SignedIn { sid: random_token(16).into(), ..person.clone() };
        if !self.devices.decide(code, allowed.then_some(login), asked.now) {
            return self.ask_for_code(Some("This code has ended meanwhile. Start again on the device."));
        }
        info!(target: AUDIT, { subject.id = &*person.sub, allowed }, "device login decided");
        let (title, text, advice) = if allowed {
            ("Signed in on the device", "The device goes on by itself in a few seconds.", "You can close this page.")
        } else {
            ("Refused", "The device was not signed in.", "If someone sent you that code, tell those who run this site.")
        };
        show(StatusCode::OK, &MessagePage { title, text, advice })
    }

    /// This form needs no seal: it only leads to the page that does.
    fn ask_for_code(&self, problem: Option<&str>) -> Response {
        let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        show(status, &DeviceCodePage { action: &self.at("/device"), problem })
    }

    fn ask_to_confirm(&self, asked: &Asked, person: &SignedIn, client: &str, code: &UserCode) -> Response {
        let (seal, browser) = self.seal(asked, &confirmation(person, code));
        let user = self.users.active(&person.sub);
        let client = self.clients.get(client);
        let page = DeviceConfirmPage {
            action: &self.at("/device"),
            client: client.map_or("", |client| client.name.as_str()),
            user: user.as_ref().map_or("", |user| user.name.as_str()),
            code: &code.shown(),
            seal: &seal,
        };
        let mut response = show(StatusCode::OK, &page);
        self.name_browser(&mut response, browser);
        response
    }
}

fn confirmation(person: &SignedIn, code: &UserCode) -> String {
    format!("device {} {}", person.sid, code.shown())
}

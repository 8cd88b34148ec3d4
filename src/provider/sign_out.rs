//! Logout that a client asks for (OpenID Connect RP-Initiated Logout 1.0).

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tracing::info;

use super::asked::Asked;
use super::client::Client;
use super::pages::{MessagePage, SignOutPage, refusal, show};
use super::{OpenIdProvider, form::Form};
use crate::jose::{self, Expected, KeySet};
use crate::telemetry::AUDIT;
use crate::web::{Response, redirect};

impl OpenIdProvider {
    /// Ends the browser's session. Someone without an ID token of that very session could be any page on the web:
    /// then the person is asked first.
    pub(super) fn sign_out(&self, asked: &Asked) -> Response {
        if asked.head.method == Method::POST && asked.form.value("seal").is_some() {
            return self.sign_out_confirmed(asked);
        }
        let leave = match Leave::read(self, asked, &asked.form) {
            Ok(leave) => leave,
            Err(text) => return refusal(text),
        };
        match (self.session(asked), &leave.sid) {
            (Some((person, _)), hinted) if hinted.as_deref() != Some(&*person.sid) => {
                let user = self.users.active(&person.sub);
                let name = user.as_ref().map_or("", |user| user.display_name.as_deref().unwrap_or(user.name.as_str()));
                let (seal, browser) = self.seal(asked, &format!("sign-out {} {}", person.sid, asked.text));
                let action = self.at("/sign-out");
                let page = SignOutPage { action: &action, user: name, next: &asked.text, seal: &seal };
                let mut response = show(StatusCode::OK, &page);
                self.name_browser(&mut response, browser);
                response
            }
            (_, hinted) => self.end(hinted.as_deref(), &leave),
        }
    }

    fn sign_out_confirmed(&self, asked: &Asked) -> Response {
        let next = asked.form.value("next").unwrap_or_default();
        let Some((person, _)) = self.session(asked) else {
            return signed_out();
        };
        if !self.is_sealed(asked, &format!("sign-out {} {next}", person.sid)) {
            return refusal("This form is out of date, or your browser did not keep its cookie.");
        }
        let leave = Form::parse(next.as_bytes()).ok().and_then(|form| Leave::read(self, asked, &form).ok());
        self.end(Some(&person.sid), &leave.unwrap_or_default())
    }

    fn end(&self, sid: Option<&str>, leave: &Leave) -> Response {
        if let Some(sid) = sid {
            self.sessions.end(sid);
            self.grants.end_session(sid);
            info!(target: AUDIT, { session.id = sid }, "signed out at the provider");
        }
        #[cfg(feature = "saml")]
        let told = sid.and_then(|sid| self.leave_parties(sid, leave.to.as_deref()));
        #[cfg(not(feature = "saml"))]
        let told = None;
        let mut response = told.unwrap_or_else(|| leave.to.as_deref().map_or_else(signed_out, redirect));
        self.cookies.clear_session(&mut response);
        response
    }

    /// What an ID token of ours says, however old it is: it is a hint, and only its session counts.
    fn hinted(&self, asked: &Asked, token: &str) -> Option<Map<String, Value>> {
        let keys = self.keys.load();
        let jwks: Vec<_> = [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten().collect();
        let jwks = json!({ "keys": jwks.iter().map(|signer| signer.public_jwk()).collect::<Vec<_>>() });
        let clients: Vec<&str> = self.clients.keys().map(|id| &**id).collect();
        let leeway = Duration::MAX;
        let expected = Expected { issuer: &self.issuer, audiences: &clients, now: asked.now, leeway };
        jose::verify(token, &KeySet::parse(jwks.to_string().as_bytes()).ok()?, &expected).ok()
    }
}

/// Where a logout leads, and which session's it is.
#[derive(Debug, Default)]
struct Leave {
    sid: Option<String>,
    to: Option<String>,
}

impl Leave {
    fn read(provider: &OpenIdProvider, asked: &Asked, form: &Form) -> Result<Self, &'static str> {
        let hint = form.value("id_token_hint").and_then(|token| provider.hinted(asked, token)).unwrap_or_default();
        let text = |name: &str| hint.get(name).and_then(Value::as_str);
        let client_id = match (text("aud"), form.value("client_id")) {
            (Some(audience), Some(id)) if audience != id => {
                return Err("The application that sent you here is not the one you signed in for.");
            }
            (audience, id) => audience.or(id),
        };
        let client: Option<&Arc<Client>> = client_id.and_then(|id| provider.clients.get(id));
        let to = match form.value("post_logout_redirect_uri") {
            // A7: to the letter, and only for a client that is known
            Some(uri) if client.is_some_and(|client| client.may_leave_to(uri)) => {
                let mut to = uri.to_owned();
                if let Some(state) = form.value("state") {
                    let query = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
                    to.push(if uri.contains('?') { '&' } else { '?' });
                    to.push_str(&query);
                }
                Some(to)
            }
            Some(_) => {
                return Err("The application that sent you here wants you back at an address that is not registered \
                    for it.");
            }
            None => None,
        };
        Ok(Self { sid: text("sid").map(str::to_owned), to })
    }
}

pub(super) fn signed_out() -> Response {
    let text = "You are signed out here.";
    let advice = "Applications may keep their own sign-in for a while. You can close this page.";
    show(StatusCode::OK, &MessagePage { title: "Signed out", text, advice })
}

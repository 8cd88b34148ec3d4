//! The login form: name and password make a session.

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use tracing::{info, warn};

use super::asked::Asked;
use super::authorize::AuthorizationRequest;
use super::form::Form;
use super::pages::{SignInPage, refusal, show};
#[cfg(feature = "saml")]
use super::saml;
use super::{OpenIdProvider, device};
use crate::secret::Secret;
use crate::telemetry::AUDIT;
use crate::users::{SignInError, UserName};
use crate::web::{Response, redirect};

impl OpenIdProvider {
    /// The form that leads on to `next`, one of our own pages with its parameters.
    pub(super) fn ask_to_sign_in(&self, asked: &Asked, next: &str, client: &str, name: &str) -> Response {
        self.sign_in_form(asked, next, client, name, StatusCode::OK, None)
    }

    /// Takes the form. It carries the whole request, so that nothing is kept for people who never come back, and it is
    /// read anew: nothing in it is believed for having been checked before.
    pub(super) async fn sign_in(&self, asked: &Asked) -> Response {
        let next = asked.form.value("next").unwrap_or_default();
        if !self.is_sealed(asked, next) {
            return refusal("This form is out of date, or your browser did not keep its cookie.");
        }
        let goal = match Goal::read(self, next) {
            Ok(goal) => goal,
            Err(response) => return *response,
        };
        let name = asked.form.value("username").unwrap_or_default();
        let password = Secret::new(asked.form.value("password").unwrap_or_default());
        let user = match self.users.sign_in(name, password, asked.from).await {
            Ok(user) => user,
            Err(e) => {
                // a name that nobody has may be a password in the wrong field (A36)
                let known = self.users.known(name);
                let known = known.as_ref().map(UserName::as_str);
                warn!(
                    target: AUDIT,
                    { user.name = known, client.address = %asked.from, reason = %e },
                    "sign-in refused at the provider"
                );
                return self.sign_in_again(asked, next, goal.client(), name, &e);
            }
        };
        if let Some((before, _)) = self.session(asked) {
            self.sessions.end(&before.sid);
        }
        let (cookie, person) = self.sessions.begin(user.sub.clone(), asked.now);
        info!(
            target: AUDIT,
            { user.name = user.name.as_str(), subject.id = &*user.sub, client.address = %asked.from },
            "signed in at the provider"
        );
        let mut response = match goal {
            Goal::Client(request) => self.grant(*request, person, asked.now),
            Goal::Device(next) => redirect(&self.at(&format!("/{next}"))),
            #[cfg(feature = "saml")]
            Goal::Party(request) => self.saml_signed_in(&request, &person, asked.now),
        };
        self.cookies.set_session(&mut response, cookie.expose());
        response
    }

    fn sign_in_again(&self, asked: &Asked, next: &str, client: &str, name: &str, why: &SignInError) -> Response {
        let (status, problem, wait) = match why {
            SignInError::Wrong => (StatusCode::FORBIDDEN, "User name or password is wrong.".to_owned(), None),
            SignInError::TooMany { wait } => {
                let seconds = wait.as_secs() + 1;
                let text = format!("Too many failed attempts. Wait {seconds} seconds, then try again.");
                (StatusCode::TOO_MANY_REQUESTS, text, Some(seconds))
            }
            SignInError::Busy => {
                let text = "Too many people are signing in just now. Try again in a few seconds.".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, text, Some(2))
            }
        };
        let mut response = self.sign_in_form(asked, next, client, name, status, Some(problem));
        if let Some(seconds) = wait {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn sign_in_form(
        &self,
        asked: &Asked,
        next: &str,
        client: &str,
        name: &str,
        status: StatusCode,
        problem: Option<String>,
    ) -> Response {
        let (seal, browser) = self.seal(asked, next);
        let action = self.at("/sign-in");
        let mut response = show(status, &SignInPage { action: &action, client, name, problem, next, seal: &seal });
        self.name_browser(&mut response, browser);
        response
    }
}

/// Where a sign-in leads.
enum Goal {
    Client(Box<AuthorizationRequest>),
    /// `device?…`
    Device(String),
    #[cfg(feature = "saml")]
    Party(Box<saml::Request>),
}

impl Goal {
    fn read(provider: &OpenIdProvider, next: &str) -> Result<Self, Box<Response>> {
        match next.split_once('?') {
            Some(("authorize", text)) => {
                let form = Form::parse(text.as_bytes()).map_err(|e| refusal(&format!("The address is wrong: {e}.")))?;
                let request = AuthorizationRequest::read(&form, &provider.clients).map_err(|e| provider.refuse(e))?;
                Ok(Self::Client(Box::new(request)))
            }
            #[cfg(feature = "saml")]
            Some((saml::ANSWER, text)) => {
                let Some(saml) = &provider.saml else { return Err(Box::new(refusal("This form leads nowhere."))) };
                let form = Form::parse(text.as_bytes()).map_err(|_| saml::Unanswerable::NoMessage);
                let request = form.and_then(|form| saml::Request::read(&form, saml));
                let request = request.map_err(|refused| Box::new(refusal(refused.shown())))?;
                Ok(Self::Party(Box::new(request)))
            }
            Some(("device", _)) => Ok(Self::Device(next.to_owned())),
            _ => Err(Box::new(refusal("This form leads nowhere."))),
        }
    }

    fn client(&self) -> &str {
        match self {
            Self::Client(request) => &request.client.name,
            Self::Device(_) => device::SOMETHING,
            #[cfg(feature = "saml")]
            Self::Party(request) => &request.party.name,
        }
    }
}

//! The authorization endpoint: a client asks for someone to sign in (OpenID Connect Core §3.1.2).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::asked::Asked;
use super::client::Client;
use super::form::Form;
use super::grants::{Bound, Granted, SignedIn};
use super::{OpenIdProvider, pages};
use crate::web::{Response, redirect};

/// A request whose client and redirect URI are known good, and that can be answered.
#[derive(Debug)]
pub(super) struct AuthorizationRequest {
    pub(super) client: Arc<Client>,
    back: Back,
    scope: String,
    nonce: Option<String>,
    challenge: Option<String>,
    prompt: Prompt,
    max_age: Option<Duration>,
    pub(super) login_hint: Option<String>,
}

/// Where the answer goes. Only a registered redirect URI becomes one.
#[derive(Debug)]
struct Back {
    redirect_uri: String,
    state: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Prompt {
    AsNeeded,
    Never,
    Always,
}

/// Why a request is not one to answer with a login.
#[derive(Debug)]
pub(super) enum Refused {
    /// Client or redirect URI is wrong: said on a page here, never by a redirect (RFC 6749 §4.1.2.1, A7).
    Here(&'static str),
    /// Told to the client.
    There(Box<ToldBack>),
}

/// An error for the client: RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6.
#[derive(Debug)]
pub(super) struct ToldBack {
    back: Back,
    error: &'static str,
    description: &'static str,
}

impl OpenIdProvider {
    pub(super) fn authorize(&self, asked: &Asked) -> Response {
        let request = match AuthorizationRequest::read(&asked.form, &self.clients) {
            Ok(request) => request,
            Err(refused) => return self.refuse(refused),
        };
        match self.session(asked) {
            Some((person, _)) if request.is_content_with(&person, asked.now) => self.grant(request, person, asked.now),
            _ if request.prompt == Prompt::Never => {
                let description = "nobody is signed in, or not as lately as asked for";
                request.back.tell(&self.issuer, &[("error", "login_required"), ("error_description", description)])
            }
            _ => self.ask_to_sign_in(
                asked,
                &format!("authorize?{}", asked.text),
                &request.client.name,
                request.login_hint(),
            ),
        }
    }

    /// Answers a request with a code for someone who has signed in.
    pub(super) fn grant(&self, request: AuthorizationRequest, person: SignedIn, now: SystemTime) -> Response {
        let AuthorizationRequest { client, back, scope, nonce, challenge, .. } = request;
        let granted = Granted { client: Arc::clone(&client.id), scope, nonce, person };
        let bound = Bound { redirect_uri: back.redirect_uri.clone(), challenge };
        let code = self.grants.issue_code(granted, bound, now);
        back.tell(&self.issuer, &[("code", &code)])
    }

    pub(super) fn refuse(&self, refused: Refused) -> Response {
        match refused {
            Refused::Here(text) => pages::refusal(text),
            Refused::There(told) => {
                told.back.tell(&self.issuer, &[("error", told.error), ("error_description", told.description)])
            }
        }
    }
}

impl AuthorizationRequest {
    pub(super) fn read(form: &Form, clients: &HashMap<Arc<str>, Arc<Client>>) -> Result<Self, Refused> {
        let client = form.value("client_id").and_then(|id| clients.get(id));
        let client = Arc::clone(client.ok_or(Refused::Here("The application that sent you here is not known."))?);
        let redirect_uri =
            form.value("redirect_uri").filter(|uri| client.may_redirect_to(uri)).ok_or(Refused::Here(
                "The application that sent you here wants the answer at an address that is not registered for it.",
            ))?;
        let back = Back { redirect_uri: redirect_uri.to_owned(), state: form.value("state").map(str::to_owned) };
        match Asking::read(form, &client) {
            Ok(Asking { scope, nonce, challenge, prompt, max_age }) => {
                let login_hint = form.value("login_hint").map(str::to_owned);
                Ok(Self { client, back, scope, nonce, challenge, prompt, max_age, login_hint })
            }
            Err((error, description)) => Err(Refused::There(Box::new(ToldBack { back, error, description }))),
        }
    }

    fn is_content_with(&self, person: &SignedIn, now: SystemTime) -> bool {
        let age = now.duration_since(person.at).unwrap_or_default();
        self.prompt != Prompt::Always && self.max_age.is_none_or(|most| age <= most && !most.is_zero())
    }

    /// A name to start with; the person may change it.
    fn login_hint(&self) -> &str {
        self.login_hint.as_deref().filter(|hint| hint.len() <= 64).unwrap_or_default()
    }
}

/// The part of a request that the client can be told the faults of.
struct Asking {
    scope: String,
    nonce: Option<String>,
    challenge: Option<String>,
    prompt: Prompt,
    max_age: Option<Duration>,
}

impl Asking {
    fn read(form: &Form, client: &Client) -> Result<Self, (&'static str, &'static str)> {
        if form.value("request").is_some() {
            return Err(("request_not_supported", "request objects are not supported"));
        }
        if form.value("request_uri").is_some() {
            return Err(("request_uri_not_supported", "request objects are not supported"));
        }
        if form.value("response_type") != Some("code") {
            return Err(("unsupported_response_type", "response_type must be code"));
        }
        if form.value("response_mode").is_some_and(|mode| mode != "query") {
            return Err(("invalid_request", "response_mode must be query"));
        }
        let scope = form.value("scope").unwrap_or_default();
        if !scope.split(' ').any(|scope| scope == "openid") {
            return Err(("invalid_scope", "scope must contain openid"));
        }
        let max_age = match form.value("max_age").map(str::parse) {
            Some(Ok(seconds)) => Some(Duration::from_secs(seconds)),
            Some(Err(_)) => return Err(("invalid_request", "max_age must be a number of seconds")),
            None => None,
        };
        Ok(Self {
            scope: scope.to_owned(),
            nonce: form.value("nonce").map(str::to_owned),
            challenge: challenge(form, client)?,
            prompt: prompt(form)?,
            max_age,
        })
    }
}

/// RFC 7636 §4.3; RFC 9700 §2.1.1: S256 only, and required of those who have no secret.
fn challenge(form: &Form, client: &Client) -> Result<Option<String>, (&'static str, &'static str)> {
    match (form.value("code_challenge"), form.value("code_challenge_method")) {
        (Some(challenge), Some("S256")) if challenge.len() == 43 => Ok(Some(challenge.to_owned())),
        (Some(_), Some("S256")) => Err(("invalid_request", "code_challenge must be a SHA-256 hash in base64url")),
        (None, None) if client.secret.is_some() => Ok(None),
        (None, None) => Err(("invalid_request", "code_challenge is required of public clients")),
        _ => Err(("invalid_request", "code_challenge_method must be S256")),
    }
}

fn prompt(form: &Form) -> Result<Prompt, (&'static str, &'static str)> {
    let mut prompt = Prompt::AsNeeded;
    let words: Vec<_> = form.value("prompt").unwrap_or_default().split(' ').filter(|word| !word.is_empty()).collect();
    for word in &words {
        prompt = match *word {
            "none" if words.len() == 1 => Prompt::Never,
            "login" | "select_account" => Prompt::Always,
            "consent" => prompt, // there is nothing to consent to: clients are registered by who runs the provider
            _ => return Err(("invalid_request", "prompt must be none, or some of login, select_account, consent")),
        };
    }
    Ok(prompt)
}

impl Back {
    /// Sends the browser back with these parameters, the state and who answers (RFC 9207).
    fn tell(&self, issuer: &str, parameters: &[(&str, &str)]) -> Response {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        let query = query.append_pair("iss", issuer).finish();
        let joint = if self.redirect_uri.contains('?') { '&' } else { '?' };
        redirect(&format!("{}{joint}{query}", self.redirect_uri))
    }
}

//! A SAML provider's answer: the assertion consumer service, and the step after it.
//!
//! The form is posted by the provider's page. With a cross-site POST a browser sends cookies of `SameSite=None` alone,
//! which is the login's own and not the ticket; so neither a ticket that is to be retired (A10) nor the count of rounds
//! would be seen. Whom the Response signs in is kept for a moment under a code, and the browser comes for it by a
//! redirect, which carries `Lax` cookies. The code is good once, and in the browser that began the login.

use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::begin::{Ask, NOWHERE, with_cookies};
use super::target::Target;
use super::underway::{Step, hash_text};
use super::{SignIn, Site, Visit};
use crate::fault::Fault;
use crate::identity::{LoginError, LoginMemory, Party, Returned, SignedIn, SourceName};
use crate::secret::random_token;
use crate::web::{self, Body, Response};

/// Somebody whose Response was good, on the way to their session.
#[derive(Deserialize, Serialize)]
struct Arrival {
    /// The login under way that it is of.
    state: String,
    signed_in: SignedIn,
}

impl SignIn {
    /// `POST /.claviger/saml/<name>/acs`.
    pub(super) async fn acs(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        source: (&SourceName, &dyn Party),
        body: Body,
    ) -> Result<Response, Fault> {
        let answer = self.consume(site, visit, source, body).await;
        self.take_down(visit, answer)
    }

    async fn consume(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        (name, party): (&SourceName, &dyn Party),
        body: Body,
    ) -> Result<Response, Fault> {
        let returned = posted(&visit.head.headers, body).await.map_err(Fault::BadLogin)?;
        let state = returned.only("RelayState").unwrap_or_default();
        match self.underway(site, visit, state) {
            Some((cookie, Step::Provider { source, memory, posted: true, ask, .. })) if source == *name => {
                match self.finish(site, name, state, &returned, &memory).await {
                    Ok(signed_in) => self.send_to_arrive(site, name, state, signed_in).await,
                    // the provider can't do without them: then they are asked
                    Err(Fault::Login(LoginError::WouldAsk)) => {
                        let onward = self.go(site, visit, source, ask.aloud()).await?;
                        Ok(with_cookies(onward, self.clear(site, &cookie)))
                    }
                    Err(fault) => Err(fault),
                }
            }
            _ => {
                let signed_in = party.unsolicited(&returned, &site.callback().ok_or(NOWHERE)?).await?;
                let signed_in = self.only_once(signed_in).await?;
                // where the provider wants them to go counts where it is one of ours (A7)
                let ask = Ask::unasked(Target::read(state, site, visit.host), self.clock.now());
                let state = random_token(16);
                let memory = LoginMemory(serde_json::Value::Null);
                let source = SourceName::clone(name);
                let step = Step::Provider { source, state: state.clone(), memory, posted: true, ask };
                let onward = self.send_to_arrive(site, name, &state, signed_in).await?;
                Ok(with_cookies(onward, self.keep(site, visit, step)))
            }
        }
    }

    async fn send_to_arrive(
        &self,
        site: &Site,
        source: &SourceName,
        state: &str,
        signed_in: SignedIn,
    ) -> Result<Response, Fault> {
        let code = random_token(16);
        let arrival = Arrival { state: state.to_owned(), signed_in };
        // a struct of texts and times is always JSON
        let note = zeroize::Zeroizing::new(serde_json::to_vec(&arrival).unwrap_or_default());
        self.sessions.commons().put(&note_name(&code), &note, LIFE).await?;
        let path = format!("/.claviger/saml/{source}/arrive");
        let mut url = site.public_host().and_then(|host| site.url(host, &path)).ok_or(NOWHERE)?;
        url.query_pairs_mut().append_pair("code", &code);
        Ok(web::redirect(url.as_str()))
    }

    /// `GET /.claviger/saml/<name>/arrive?code=…`: the session.
    pub(super) async fn arrive(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let answer = self.come_for_it(site, visit).await;
        self.take_down(visit, answer)
    }

    async fn come_for_it(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let bad = |what: &str| Fault::BadLogin(what.to_owned());
        let code = visit.parameter("code").ok_or_else(|| bad("there is no code, or more than one"))?;
        // whatever becomes of it, the code is used up
        let note = self.sessions.commons().take(&note_name(&code)).await?;
        let arrival = note.and_then(|note| serde_json::from_slice::<Arrival>(&note).ok());
        let Arrival { state, signed_in } = arrival.ok_or_else(|| bad("the code is not good any more"))?;
        let Some((cookie, Step::Provider { ask, .. })) = self.underway(site, visit, &state) else {
            return Err(bad("the code is for another browser"));
        };
        self.let_in(site, visit, signed_in, ask, &cookie).await
    }
}

/// `GET /.claviger/saml/<name>/metadata`: what is to be registered at the provider.
pub(super) fn metadata(site: &Site, party: &dyn Party) -> Result<Response, Fault> {
    let document = site.callback().and_then(|home| party.metadata(&home)).ok_or(NOWHERE)?;
    let mut response = web::answer(StatusCode::OK, "application/samlmetadata+xml", document);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// The fields of a posted form, or what is wrong with it.
pub(super) async fn posted(headers: &HeaderMap, body: Body) -> Result<Returned, String> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err("what was posted is no form".into());
    }
    let body = body.collect(LONGEST_FORM).await.map_err(|error| error.to_string())?;
    let mut fields = form_urlencoded::parse(&body).into_owned();
    let few = fields.by_ref().take(MOST_FIELDS).collect();
    // a form of nothing but ampersands and letters would have a hundred thousand of them
    if fields.next().is_some() { Err("the form has too many fields".into()) } else { Ok(Returned(few)) }
}

fn note_name(code: &str) -> String {
    format!("arrival-{}", hash_text(code))
}

/// A redirect takes less.
const LIFE: Duration = Duration::from_secs(30);
/// The largest message that is read, in base64 and as a form writes it, with room for what stands beside it. Whoever posts
/// may be anybody, and has us hold so much.
const LONGEST_FORM: usize = 256 * 1024;
/// A message has up to four (SAML-Bindings §3.5.3); pages may put the name of their button beside them.
const MOST_FIELDS: usize = 16;

//! Beginning a login: where, and for which host.

use std::time::SystemTime;

use askama::Template;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};

use super::navigation::is_navigation;
use super::onward::send_onward;
use super::target::Target;
use super::underway::{LIFE, Step, hash};
use super::{SignIn, Site, Visit, Wish};
use crate::clock::{epoch_seconds, from_epoch_seconds};
use crate::fault::Fault;
use crate::identity::{Begun, SourceName};
use crate::secret::random_token;
use crate::session::Session;
use crate::web::{self, Response};

/// What a login is for. It travels sealed, from a route host to `public_url`, and through the chooser page.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Ask {
    pub(super) then: Then,
    sources: Vec<SourceName>,
    pub(super) anew: bool,
    /// Whether the person is to be asked nothing, where that is possible.
    #[serde(default)]
    pub(super) quietly: bool,
    /// Seconds since the epoch.
    begun: u64,
}

/// Where it goes on.
#[derive(Clone, Deserialize, Serialize)]
pub(super) enum Then {
    /// At `public_url`.
    Here(Target),
    /// On another host, for the browser that has the binding of this hash there.
    HandOver { host: String, binding: [u8; 32] },
}

#[derive(Template)]
#[template(path = "sign_in/chooser.html", config = ".askama.toml")]
struct Chooser<'a> {
    sources: Vec<(&'a str, String)>,
    host: &'a str,
}

impl SignIn {
    /// Sends a browser that asked for something else to log in, and back afterwards.
    ///
    /// # Errors
    /// [`Fault::Anonymous`] for anything but a navigation: nobody would follow (A8). [`Fault::Elsewhere`] on a host
    /// that no route names: a login handed over there would be whoever's who points that name at us (A7, A8).
    pub async fn begin_login(&self, site: &Site, visit: &Visit<'_>, wish: &Wish<'_>) -> Result<Response, Fault> {
        if !site.serves(visit.host) {
            return Err(Fault::Elsewhere(site.public_url.clone()));
        }
        let asked_for = visit.head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let to = Target::read(asked_for, site, visit.host);
        self.begin_for(site, visit, wish, to).await
    }

    /// `/.claviger/login?to=…`, or with a sealed ask, and then perhaps with the source that was chosen.
    pub(super) async fn login(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let Some(sealed) = visit.parameter("ask") else {
            let to = Target::read(&visit.parameter("to").unwrap_or_default(), site, visit.host);
            // who comes here without being sent wants to log in, whoever they are by now
            return self.begin_for(site, visit, &Wish { anew: true, ..Wish::default() }, to).await;
        };
        only_navigations(visit)?;
        let ask = self.opened(site, visit, &sealed)?;
        if !ask.anew
            && let Some(session) = self.session(site, visit).await?
            && ask.takes(session.subject().source.as_ref())
        {
            return self.already(site, ask, &session).await;
        }
        self.choose(site, visit, ask).await
    }

    async fn begin_for(&self, site: &Site, visit: &Visit<'_>, wish: &Wish<'_>, to: Target) -> Result<Response, Fault> {
        only_navigations(visit)?;
        let ask = |then| Ask {
            then,
            sources: wish.sources.to_vec(),
            anew: wish.anew,
            quietly: wish.quietly,
            begun: epoch_seconds(self.clock.now()),
        };
        if site.is_public(visit.host) || site.logins(wish.sources).next().is_none() {
            return self.choose(site, visit, ask(Then::Here(to))).await;
        }
        // the binding ties the code that comes back to this browser and this host (A8)
        let binding = random_token(16);
        let ask = ask(Then::HandOver { host: visit.host.to_owned(), binding: hash(&binding) });
        let public = site.public_host().ok_or(NOWHERE)?;
        let to_public = self.login_url(site, public, &ask, None)?;
        let step = Step::Enter { binding, to, anew: wish.anew };
        Ok(with_cookies(web::redirect(&to_public), self.keep(site, visit, step)))
    }

    /// Goes on at the only source, at the one that was chosen, or at the chooser.
    async fn choose(&self, site: &Site, visit: &Visit<'_>, ask: Ask) -> Result<Response, Fault> {
        let sources: Vec<(&SourceName, &str)> = site.logins(&ask.sources).collect();
        let chosen = visit.parameter("source").filter(|_| visit.parameter("ask").is_some());
        let chosen = match (chosen, sources.as_slice()) {
            // tokens only: there is nothing that a browser could do
            (_, []) => return Err(Fault::Anonymous),
            (_, [(only, _)]) => Some(*only),
            (Some(name), _) => sources.iter().map(|(source, _)| *source).find(|source| ***source == *name),
            (None, _) => None,
        };
        if let Some(source) = chosen {
            let source = SourceName::clone(source);
            return self.go(site, visit, source, ask).await;
        }
        if visit.parameter("ask").is_none() {
            // the chooser has an address of its own: what was asked for is not what is shown
            return Ok(web::redirect(&self.login_url(site, visit.host, &ask, None)?));
        }
        let host = match &ask.then {
            Then::Here(_) => visit.host,
            Then::HandOver { host, .. } => host,
        };
        let sources = sources
            .into_iter()
            .map(|(name, label)| Ok((label, self.login_url(site, visit.host, &ask, Some(name))?)))
            .collect::<Result<_, Fault>>()?;
        page(&Chooser { sources, host })
    }

    /// To the provider.
    pub(super) async fn go(
        &self,
        site: &Site,
        visit: &Visit<'_>,
        source: SourceName,
        ask: Ask,
    ) -> Result<Response, Fault> {
        let login = site.source(&source).and_then(|source| source.login()).ok_or(NOWHERE)?;
        let begun = login.begin(&site.callback().ok_or(NOWHERE)?, ask.quietly).await?;
        let Begun { to, state, memory, is_posted_back: posted } = begun;
        let onward = send_onward(to, login.label())?;
        let step = Step::Provider { source, state, memory, posted, ask };
        Ok(with_cookies(onward, self.keep(site, visit, step)))
    }

    /// Who is logged in at `public_url` already need not be asked again.
    async fn already(&self, site: &Site, ask: Ask, session: &std::sync::Arc<Session>) -> Result<Response, Fault> {
        match ask.then {
            Then::Here(to) => Ok(web::redirect(&to.url(site))),
            Then::HandOver { host, binding } => self.hand_over(site, &host, binding, session).await,
        }
    }

    fn login_url(&self, site: &Site, host: &str, ask: &Ask, source: Option<&SourceName>) -> Result<String, Fault> {
        let plain = serde_json::to_vec(ask).unwrap_or_default();
        let sealed = self.sealer.load().seal(&[PURPOSE], &plain);
        let mut url = site.url(host, "/.claviger/login").ok_or(NOWHERE)?;
        url.query_pairs_mut().append_pair("ask", &sealed);
        if let Some(source) = source {
            url.query_pairs_mut().append_pair("source", source);
        }
        Ok(url.into())
    }

    fn opened(&self, site: &Site, visit: &Visit<'_>, sealed: &str) -> Result<Ask, Fault> {
        let bad = |what: &str| Fault::BadLogin(what.to_owned());
        let plain = self.sealer.load().open(&[PURPOSE], sealed).ok_or_else(|| bad("the ask is not one of ours"))?;
        let ask: Ask = serde_json::from_slice(&plain).map_err(|_| bad("the ask is of another version"))?;
        if self.clock.now() >= from_epoch_seconds(ask.begun) + LIFE {
            return Err(bad("the ask is too old"));
        }
        match &ask.then {
            // a host may have gone from the config since
            Then::HandOver { host, .. } if !site.serves(host) => Err(bad("the ask is for a host that is not ours")),
            _ if !site.is_public(visit.host) => Err(bad("the ask is for another host")),
            _ => Ok(ask),
        }
    }
}

impl Ask {
    /// For a login that nobody here asked for.
    pub(super) fn unasked(to: Target, now: SystemTime) -> Self {
        let begun = epoch_seconds(now);
        Self { then: Then::Here(to), sources: Vec::new(), anew: true, quietly: false, begun }
    }

    /// The same, where the person may be asked.
    pub(super) fn aloud(self) -> Self {
        Self { quietly: false, ..self }
    }

    fn takes(&self, source: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|one| &**one == source)
    }
}

/// A login is begun by a person's own step only: a cookie for every picture and script of a page would be too many.
fn only_navigations(visit: &Visit<'_>) -> Result<(), Fault> {
    if is_navigation(visit.head) { Ok(()) } else { Err(Fault::Anonymous) }
}

/// A page of ours.
pub(super) fn page(template: &impl Template) -> Result<Response, Fault> {
    let html = template.render().map_err(|_| Fault::Internal("a page could not be made"))?;
    Ok(web::page(StatusCode::OK, html))
}

pub(super) fn with_cookies(mut response: Response, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

const PURPOSE: &str = "ask";
pub(super) const NOWHERE: Fault = Fault::Internal("a URL of ours could not be made");

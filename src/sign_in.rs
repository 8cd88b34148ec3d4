//! The door for logging in and out: everything under `/.claviger/`, on every host.
//!
//! Providers know one redirect URI, at `public_url`. A browser on another host goes there with a sealed ask, and
//! comes back to that host's `/.claviger/enter` with a code that is good once, for a few seconds, for that host and for
//! that browser. Every host has a ticket of its own; all tickets of a login point to one session.
//!
//! ```text
//! route host            public_url                 provider
//!   login ──── ask ───▶ login ─── begin ─────────▶ …
//!                       callback ◀──── code ────── …
//!   enter ◀─── code ─── (ticket here)
//!   (ticket here)
//! ```
//!
//! A SAML provider's answer is a form that its page posts, and a browser sends no `Lax` cookie with that. So it is verified
//! first (`saml/<name>/acs`, which sees that login's own cookie only), and the browser arrives by a step of our own, with
//! all its cookies (`saml/<name>/arrive`).
//!
//! Whatever is answered under `issuer/` is not this door's: the app looks there first.

use std::fmt::{self, Debug};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Method, request};
use url::Url;

use crate::clock::Clock;
use crate::fault::Fault;
use crate::generation::Generation;
use crate::identity::{IdentitySource, SourceName};
use crate::secret::Sealer;
use crate::session::{CookieNames, Session, Sessions};
use crate::telemetry::Metrics;
use crate::web::{self, Body, Response};

mod acs;
mod begin;
mod callback;
mod handover;
mod leave;
mod me;
mod navigation;
mod onward;
mod roles;
mod rounds;
mod single_logout;
pub mod target;
mod underway;

pub use navigation::{is_a_persons_post, is_navigation};

use begin::Ask;

/// Where the door is, on every host. Nothing else is reserved.
pub const PREFIX: &str = "/.claviger/";

/// The door. It outlives reloads, as logins under way do.
#[derive(Debug)]
pub struct SignIn {
    sessions: Arc<Sessions>,
    sealer: ArcSwap<Sealer>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// A listener as the config of this moment has it.
#[derive(Clone)]
pub struct Site {
    public_url: Url,
    names: CookieNames,
    is_ours: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    sources: Vec<(SourceName, Arc<dyn IdentitySource>)>,
    /// The routes with roles to choose among.
    generation: Option<Arc<Generation>>,
}

/// A request at the door.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Method, target, headers.
    pub head: &'a request::Parts,
    /// The host it was sent to, in lower case, without a port.
    pub host: &'a str,
    /// The client's address, as far as it can be believed.
    pub client: IpAddr,
    /// The request's id, for logs.
    pub request_id: &'a str,
}

/// What a login is wanted for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The sources that will do; empty: any.
    pub sources: &'a [SourceName],
    /// Whether a session that exists does not do, as when its proof of identity has expired.
    pub anew: bool,
    /// Whether the person is asked something only where the provider must: they did not ask to log in.
    pub quietly: bool,
}

impl Site {
    /// A listener whose `public_url` is where providers send browsers back to, and whose routes name the hosts that
    /// `is_ours` knows (in lower case, without port). A host that is merely not refused is not ours: it would be sent
    /// logins (A7, A8).
    pub fn new(
        public_url: Url,
        is_ours: impl Fn(&str) -> bool + Send + Sync + 'static,
        sources: Vec<(SourceName, Arc<dyn IdentitySource>)>,
    ) -> Self {
        let names = CookieNames::under(&public_url);
        Self { public_url, names, is_ours: Arc::new(is_ours), sources, generation: None }
    }

    /// The same with routes, on which people may have roles to choose among.
    pub fn with_routes(self, generation: Arc<Generation>) -> Self {
        Self { generation: Some(generation), ..self }
    }

    fn generation(&self) -> Option<&Arc<Generation>> {
        self.generation.as_ref()
    }

    /// What our cookies are called here.
    pub fn names(&self) -> &CookieNames {
        &self.names
    }

    /// Where providers send browsers back to: what is to be registered there.
    pub fn callback(&self) -> Option<Url> {
        self.url(self.public_host()?, "/.claviger/callback")
    }

    fn public_host(&self) -> Option<&str> {
        self.public_url.host_str()
    }

    fn is_public(&self, host: &str) -> bool {
        self.public_host() == Some(host)
    }

    /// Whether a browser may be sent to `host`.
    fn serves(&self, host: &str) -> bool {
        self.is_public(host) || (self.is_ours)(host)
    }

    /// A URL on one of our hosts: scheme and port are those of `public_url`, never those a request claims (A6).
    fn url(&self, host: &str, path: &str) -> Option<Url> {
        let mut url = self.public_url.clone();
        url.set_host(Some(host)).ok()?;
        url.join(path).ok().filter(|joined| joined.origin() == url.origin())
    }

    /// The sources among `wanted` that people can log in at; of all where none is named.
    fn logins<'s>(&'s self, wanted: &'s [SourceName]) -> impl Iterator<Item = (&'s SourceName, &'s str)> {
        self.sources
            .iter()
            .filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
            .filter_map(|(name, source)| Some((name, source.login()?.label())))
    }

    fn source(&self, name: &str) -> Option<&Arc<dyn IdentitySource>> {
        self.sources.iter().find(|(known, _)| &**known == name).map(|(_, source)| source)
    }
}

impl SignIn {
    /// A door to these sessions.
    pub fn new(sessions: Arc<Sessions>, sealer: Arc<Sealer>, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        metrics.describe("claviger_logins_total", None, "Logins that came back, by outcome.");
        Self { sessions, sealer: ArcSwap::new(sealer), clock, metrics }
    }

    /// Seals with this from now on. What was sealed before opens where it has that key too.
    pub fn use_sealer(&self, sealer: Arc<Sealer>) {
        self.sealer.store(sealer);
    }

    /// Answers a request under [`PREFIX`].
    pub async fn answer(&self, site: &Site, visit: &Visit<'_>, body: Body) -> Result<Response, Fault> {
        if !site.serves(visit.host) {
            return Err(Fault::NoRoute);
        }
        let place = visit.head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        if let Some(place) = place.strip_prefix("saml/") {
            return Box::pin(self.answer_party(site, visit, place, body)).await;
        }
        let reads = matches!(visit.head.method, Method::GET | Method::HEAD);
        match place {
            "login" if reads => self.login(site, visit).await,
            "callback" if reads && site.is_public(visit.host) => self.callback(site, visit).await,
            "enter" if reads => self.enter(site, visit).await,
            "logout" if reads => self.confirm_leaving(site, visit).await,
            "logout" if visit.head.method == Method::POST => self.leave(site, visit).await,
            "signed-out" if reads => Ok(leave::signed_out()),
            "me" if reads => self.me(site, visit).await,
            "roles" if reads => self.show_roles(site, visit).await,
            "roles" if visit.head.method == Method::POST => self.choose_role(site, visit).await,
            "callback" if !site.is_public(visit.host) => Err(Fault::NoRoute),
            "login" | "callback" | "enter" | "logout" | "signed-out" | "me" | "roles" => Err(Fault::Method),
            _ => Err(Fault::NoRoute),
        }
    }

    /// What lies under `saml/`, at `public_url` only, as that is what providers know.
    async fn answer_party(&self, site: &Site, visit: &Visit<'_>, place: &str, body: Body) -> Result<Response, Fault> {
        let (name, place) = place.split_once('/').filter(|_| site.is_public(visit.host)).ok_or(Fault::NoRoute)?;
        let login = site.sources.iter().find(|(source, _)| **source == *name);
        let party = login.and_then(|(source, found)| Some((source, found.login()?.party()?)));
        let (source, party) = party.ok_or(Fault::NoRoute)?;
        let reads = matches!(visit.head.method, Method::GET | Method::HEAD);
        let posts = visit.head.method == Method::POST;
        match place {
            // where "Try again" and a reload lead that give up what was posted
            "acs" if is_navigation(visit.head) && visit.head.uri.query().is_none() => {
                Ok(web::redirect("/.claviger/login"))
            }
            "acs" if posts => self.acs(site, visit, (source, party), body).await,
            "arrive" if reads => self.arrive(site, visit).await,
            "logout" if reads || posts => self.heed_logout(site, visit, (source, party), body).await,
            "metadata" if reads => acs::metadata(site, party),
            "acs" | "arrive" | "logout" | "metadata" => Err(Fault::Method),
            _ => Err(Fault::NoRoute),
        }
    }

    /// The session of the browser that asks, on this host.
    async fn session(&self, site: &Site, visit: &Visit<'_>) -> Result<Option<Arc<Session>>, Fault> {
        let now = self.clock.now();
        Ok(self.sessions.recognize(&visit.head.headers, &site.names, visit.host, now).await?)
    }

    fn count(&self, outcome: &str) {
        self.metrics.counter("claviger_logins_total", &[("outcome", outcome)]).increment(1);
    }
}

impl Visit<'_> {
    /// The only value of a query parameter.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut values = self.parameters().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value).filter(|_| values.next().is_none())
    }

    fn parameters(&self) -> impl Iterator<Item = (String, String)> {
        let query = self.head.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).into_owned()
    }
}

impl Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("public_url", &self.public_url.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! Choosing a role, where a route offers several to one person.

use std::sync::Arc;

use askama::Template;
use http::Method;
use http::header::{self, HeaderValue};

use super::begin::{NOWHERE, page};
use super::navigation::is_from_our_page;
use super::target::Target;
use super::{SignIn, Site, Visit};
use crate::fault::Fault;
use crate::generation::Generation;
use crate::policy::{Ask, Denied, NormalPath, Offered, Wanted};
use crate::route::{Host, Route};
use crate::session::Session;
use crate::telemetry::AUDIT;
use crate::web::{self, Response};

/// What somebody may choose among, and for which place.
struct Choice {
    session: Arc<Session>,
    route: Arc<Route>,
    to: Target,
    offers: Vec<Offered>,
}

#[derive(Template)]
#[template(path = "sign_in/roles.html", config = ".askama.toml")]
struct Roles<'a> {
    /// The host, and the path where the route is not for all of it.
    place: String,
    name: String,
    /// Says the place, as in this page's own address.
    query: String,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    offer: &'a Offered,
    is_chosen: bool,
    /// Where choosing it is sent to.
    action: String,
}

impl Site {
    /// Where a person chooses a role for what they asked for on `host`.
    pub fn role_page(&self, host: &str, asked_for: &str) -> Option<String> {
        let mut url = self.url(host, "/.claviger/roles").filter(|_| self.serves(host))?;
        url.query_pairs_mut().append_pair("to", asked_for);
        Some(url.into())
    }
}

impl SignIn {
    /// `GET /.claviger/roles?to=…`: the roles that are theirs at that place.
    pub(super) async fn show_roles(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let choice = self.choice(site, visit).await?;
        let mut response = page(&Roles {
            place: format!("{}{}", choice.to.host(), choice.route.path.as_str()),
            name: site.logged_in(&choice.session).name,
            query: query(&[("to", &choice.to.url(site))]),
            rows: choice.rows(site),
        })?;
        // without a referrer at all, older browsers would say `Origin: null` of this very form
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        Ok(response)
    }

    /// `POST /.claviger/roles?to=…&role=…`: that one from now on, and back to the place.
    pub(super) async fn choose_role(&self, site: &Site, visit: &Visit<'_>) -> Result<Response, Fault> {
        let origin = site.url(visit.host, "/").ok_or(NOWHERE)?.origin().ascii_serialization();
        if !is_from_our_page(&visit.head.headers, &origin) {
            return Err(Fault::Malformed("a role must be chosen on our own page".into()));
        }
        let choice = self.choice(site, visit).await?;
        let name = visit.parameter("role").unwrap_or_default();
        // one that does not exist is answered like one that is others'
        let Some(chosen) = choice.offers.iter().find(|offer| *offer.name == *name) else {
            let theirs = choice.offers.iter().map(|offer| Arc::clone(&offer.name)).collect();
            return Err(Fault::Denied(Denied::NotTheirRole(theirs)));
        };
        self.sessions.choose(&choice.session, &choice.route.name, &chosen.name).await?;
        tracing::info!(
            target: AUDIT,
            {
                subject.source = &*choice.session.subject().source,
                subject.id = &*choice.session.subject().id,
                session.id = %choice.session.id(),
                request.id = visit.request_id,
                route.name = &*choice.route.name,
                role.name = &*chosen.name,
                role.arn = %chosen.role,
            },
            "a person chose a role"
        );
        Ok(web::redirect(&choice.to.url(site)))
    }

    /// By the place, which says the route: nobody is shown roles of one that they could not open.
    async fn choice(&self, site: &Site, visit: &Visit<'_>) -> Result<Choice, Fault> {
        let session = self.session(site, visit).await?.ok_or(Fault::Anonymous)?;
        let generation = site.generation().ok_or(Fault::NoRoute)?;
        let to = Target::read(&visit.parameter("to").unwrap_or_default(), site, visit.host);
        let (host, path) = (Host::parse(to.host()).map_err(|_| Fault::NoRoute)?, to.path().to_owned());
        let path = path.split('?').next().unwrap_or_default();
        let path = NormalPath::parse(path)?;
        let route = generation.routes.find(&host, &path).filter(|route| route.policy.offers_roles());
        let route = Arc::clone(route.ok_or(Fault::NoRoute)?);
        let offers = self.offers(visit, &route, &session, &path)?;
        Ok(Choice { session, route, to, offers })
    }

    /// What is theirs on a route, as if they asked for `path`.
    fn offers(
        &self,
        visit: &Visit<'_>,
        route: &Route,
        session: &Arc<Session>,
        path: &NormalPath<'_>,
    ) -> Result<Vec<Offered>, Fault> {
        let identity = route.counts(&session.subject().source).then(|| session.identity());
        let ask = Ask {
            identity: identity.as_ref(),
            method: &Method::GET,
            path,
            peer: visit.client,
            role: Wanted::Any,
            now: self.clock.now(),
        };
        Ok(route.policy.offers(ask)?)
    }

    /// Every route of this host where there is a choice: its name, what is theirs, what they chose, and where to change
    /// it.
    pub(super) fn choices(
        &self,
        generation: &Generation,
        visit: &Visit<'_>,
        session: &Arc<Session>,
    ) -> serde_json::Map<String, serde_json::Value> {
        let Ok(host) = Host::parse(visit.host) else { return serde_json::Map::new() };
        let of_route = |route: &Arc<Route>| {
            let path = route.path.to_string();
            let path = NormalPath::parse(&path).ok()?;
            let offers = self.offers(visit, route, session, &path).ok().filter(|offers| offers.len() > 1)?;
            let choice = serde_json::json!({
                "roles": offers.iter().map(|offer| &offer.name).collect::<Vec<_>>(),
                "chosen": session.choice(&route.name).filter(|name| offers.iter().any(|offer| offer.name == *name)),
                "change": format!("/.claviger/roles?{}", query(&[("to", path.as_str())])),
            });
            Some((route.name.to_string(), choice))
        };
        generation.routes.on(&host).iter().filter(|route| route.policy.offers_roles()).filter_map(of_route).collect()
    }
}

impl Choice {
    fn rows(&self, site: &Site) -> Vec<Row<'_>> {
        let (to, chosen) = (self.to.url(site), self.session.choice(&self.route.name));
        let rows = self.offers.iter().map(|offer| {
            let action = format!("/.claviger/roles?{}", query(&[("to", &to), ("role", &offer.name)]));
            Row { offer, is_chosen: chosen.as_ref() == Some(&offer.name), action }
        });
        rows.collect()
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

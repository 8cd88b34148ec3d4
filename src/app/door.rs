//! One listener's handler: what is ours goes to its door, the rest to the proxy; one access line for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{HeaderValue, Method, header, request};

use super::App;
use super::current::Current;
use crate::fault::{Fault, LoggedIn, Reader};
use crate::proxy::{Arrival, Client, Note};
use crate::route::{Host, is_ours};
use crate::server::{Handler, Refusal};
use crate::sign_in::{Site, Visit, Wish, is_a_persons_post, is_navigation};
use crate::telemetry::Access;
use crate::trace::Trace;
use crate::web::{self, Body, Connection, Request, Response};

/// The handler of a `[listen.<name>]`.
#[derive(Debug)]
pub(super) struct Door {
    app: Arc<App>,
    name: Arc<str>,
}

#[async_trait]
impl Handler for Door {
    async fn handle(&self, connection: &Connection, request: Request) -> Response {
        let (mut head, body) = request.into_parts(); // before anything borrows it: the request's state holds it once
        let started = Instant::now();
        let current = self.app.current.load_full();
        let entrance = current.generation.entrances.get(&self.name);
        let trusted = entrance.map_or(&[][..], |entrance| &entrance.trusted_proxies);
        let id = request_id();
        let host = head.headers.get(header::HOST).cloned().unwrap_or(HeaderValue::from_static(""));
        let client = Client::read(&head.headers, connection.peer, connection.tls, trusted);
        let is_believed = client.as_ref().is_ok_and(Client::is_believed);
        let now = self.app.clock.now();
        let trace = Trace::of(&head.headers, self.app.exporter.as_ref(), is_believed, now);
        let is_navigation = is_navigation(&head);
        let arrival = Arrival {
            id: &id,
            trace: &trace,
            now,
            connection,
            client: client.as_ref().map_or_else(|_| Client::at(connection.peer, connection.tls), |client| *client),
            host: &host,
            cookies: entrance.and_then(|entrance| entrance.cookies.as_ref()),
            may_log_in: is_navigation,
        };

        let mut note = Note::default();
        let for_a_person = is_navigation || is_a_persons_post(&head);
        let is_told = current.config.log_access || trace.is_recorded();
        let asked = is_told.then(|| (head.method.clone(), head.uri.clone()));
        // kept for a login, which comes back to where this request wanted to go
        let navigation = is_navigation.then(|| Box::new(remembered(&head)));
        let answered = match client {
            Ok(_) => self.answer(&current, &mut head, body, navigation, &arrival, &mut note).await,
            Err(fault) => Err(fault),
        };
        let (response, fault) = match answered {
            Ok(response) => (response, None),
            Err(fault) => {
                if let Fault::TooMany(too_many) = &fault {
                    self.app.requests.limited(too_many.limit);
                }
                let answer = match for_a_person {
                    true if fault.depends_on_the_account() => {
                        let who = Box::pin(self.logged_in(&current, &note)).await;
                        fault.answer(&id, Reader::Person(who.as_ref()))
                    }
                    true => fault.answer(&id, Reader::Person(None)),
                    false => fault.answer(&id, Reader::Program),
                };
                (answer, Some(fault.code()))
            }
        };

        self.app.requests.count(note.route, response.status(), started.elapsed());
        let Some((method, uri)) = asked else { return response };
        if current.config.log_access {
            let access = Access {
                at: arrival.now,
                request: &id,
                listener: &connection.listener,
                client: arrival.client.address,
                method: &method,
                host: host.to_str().unwrap_or_default(),
                path: uri.path(),
                status: response.status(),
                fault,
                route: note.route.map(|route| &*route.name),
                subject: note.asker.as_ref().map(|(subject, _)| (&*subject.source, &*subject.id)),
                session: note.asker.as_ref().map(|(_, holder)| holder.to_string()),
                trace: &trace.id(),
                took: started.elapsed(),
            };
            access.write(&self.app.lines, current.config.log_format);
        }
        let status = response.status();
        let (tls, address) = (arrival.client.tls, arrival.client.address);
        trace.finish(status.is_server_error(), || {
            let name = note.route.map_or("", |route| &*route.name);
            let mut attributes = vec![
                ("http.request.method", method.as_str().into()),
                ("url.scheme", if tls { "https" } else { "http" }.into()),
                ("url.path", uri.path().into()),
                ("server.address", host.to_str().unwrap_or_default().into()),
                ("client.address", address.to_string().into()),
                ("http.response.status_code", status.as_u16().into()),
                ("claviger.request.id", id.clone().into()),
                ("claviger.route", name.into()),
            ];
            attributes.extend(fault.map(|fault| ("error.type", fault.into())));
            (format!("{method} {name}").trim_end().to_owned(), attributes)
        });
        response
    }

    fn refused(&self, refusal: &Refusal<'_>) {
        let current = self.app.current.load();
        if !current.config.log_access {
            return;
        }
        let nothing = Method::from_bytes(b"-").unwrap_or_default();
        let (method, host, path) = refusal.asked.unwrap_or((&nothing, "", ""));
        let access = Access {
            at: self.app.clock.now(),
            request: "-",
            listener: &refusal.connection.listener,
            client: refusal.connection.peer.ip().to_canonical(),
            method,
            host,
            path,
            status: refusal.status,
            fault: Some(refusal.reason.as_str()),
            route: None,
            subject: None,
            session: None,
            trace: &"-",
            took: Duration::ZERO,
        };
        access.write(&self.app.lines, current.config.log_format);
    }
}

impl Door {
    /// The door of a listener.
    pub(super) fn new(app: &Arc<App>, name: &Arc<str>) -> Self {
        Self { app: Arc::clone(app), name: Arc::clone(name) }
    }

    /// What is not every request's way is boxed, as this is a part of every request's state.
    async fn answer<'c>(
        &self,
        current: &'c Arc<Current>,
        head: &mut request::Parts,
        body: Body,
        navigation: Option<Box<request::Parts>>,
        arrival: &Arrival<'_>,
        note: &mut Note<'c>,
    ) -> Result<Response, Fault> {
        current.generation.rates.take_address(arrival.client.address, arrival.now)?;
        if is_ours(head.uri.path()) {
            return Box::pin(self.ours(current, head, body, arrival)).await;
        }
        match self.app.proxy.answer(&current.generation, head, body, arrival, note).await {
            Err(fault) if fault.calls_for_a_login() => {
                Box::pin(self.begin_login(current, navigation, arrival, note, fault)).await
            }
            Err(fault) if fault.calls_for_a_role() => self.begin_choice(current, navigation, arrival, fault),
            other => other,
        }
    }

    /// Who is logged in; none where they asked without a login.
    async fn logged_in(&self, current: &Arc<Current>, note: &Note<'_>) -> Option<LoggedIn> {
        let (_, holder) = note.asker.as_ref()?;
        let session = self.app.sessions.by_id(*holder).await.ok()??;
        Some(self.site(current)?.logged_in(&session))
    }

    /// Sends a person to log in, who then comes back to where this request wanted to go. A program gets the fault.
    async fn begin_login(
        &self,
        current: &Arc<Current>,
        navigation: Option<Box<request::Parts>>,
        arrival: &Arrival<'_>,
        note: &Note<'_>,
        fault: Fault,
    ) -> Result<Response, Fault> {
        let (Some(head), Some(site)) = (navigation, self.site(current)) else { return Err(fault) };
        current.generation.rates.take_login(arrival.client.address, arrival.now)?;
        let host = arrival.host()?;
        let visit = Visit { head: &head, host: host.as_str(), client: arrival.client.address, request_id: arrival.id };
        let sources = note.route.and_then(|route| route.sources.as_deref()).unwrap_or_default();
        // they are logged in: what has ended is what only a login brings, and they need not know
        let anew = fault.calls_for_a_new_login();
        let wish = Wish { sources, anew, quietly: anew };
        self.app.sign_in.begin_login(&site, &visit, &wish).await
    }

    /// Sends a person to choose a role, who then comes back to where this request wanted to go. A program gets the
    /// fault, which names those it may choose.
    fn begin_choice(
        &self,
        current: &Arc<Current>,
        navigation: Option<Box<request::Parts>>,
        arrival: &Arrival<'_>,
        fault: Fault,
    ) -> Result<Response, Fault> {
        let (Some(head), Some(site)) = (navigation, self.site(current)) else { return Err(fault) };
        let asked_for = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let page = site.role_page(arrival.host()?.as_str(), asked_for).ok_or(fault)?;
        Ok(web::redirect(&page))
    }

    /// What lies under `/.claviger/`, on every host of ours.
    async fn ours(
        &self,
        current: &Arc<Current>,
        head: &request::Parts,
        body: Body,
        arrival: &Arrival<'_>,
    ) -> Result<Response, Fault> {
        if let Some(response) = current.keys.published(&head.method, head.uri.path()) {
            return Ok(response);
        }
        current.generation.rates.take_login(arrival.client.address, arrival.now)?;
        let site = self.site(current).ok_or(Fault::NoRoute)?;
        let host = arrival.host()?;
        let visit = Visit { head, host: host.as_str(), client: arrival.client.address, request_id: arrival.id };
        self.app.sign_in.answer(&site, &visit, body).await
    }

    /// This listener as the generation has it; none where nobody can log in.
    fn site(&self, current: &Arc<Current>) -> Option<Site> {
        let generation = &current.generation;
        let public_url = generation.entrances.get(&self.name)?.public_url.as_ref()?;
        let sources = generation.sources.iter().map(|(name, source)| (Arc::clone(name), Arc::clone(source))).collect();
        let (generation, routes) = (Arc::clone(generation), Arc::clone(generation));
        let is_ours = move |host: &str| Host::parse(host).is_ok_and(|host| generation.routes.names_host(&host));
        Some(Site::new(public_url.as_url().clone(), is_ours, sources).with_routes(routes))
    }
}

/// The parts of a head that a login needs.
fn remembered(head: &request::Parts) -> request::Parts {
    let mut copy = Request::new(Body::Empty);
    *copy.method_mut() = head.method.clone();
    *copy.uri_mut() = head.uri.clone();
    *copy.headers_mut() = head.headers.clone();
    copy.into_parts().0
}

/// 64 random bits: enough to find a line in a log by. Written by hand, as it is for every request.
fn request_id() -> String {
    let bits = fastrand::u64(..);
    let mut id = String::with_capacity(16);
    id.extend((0..16).filter_map(|digit| char::from_digit((bits >> (4 * digit) & 15) as u32, 16)));
    id
}

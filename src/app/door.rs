//! One listener's handler: what is ours goes to its door, the rest to the proxy; one access line for each.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use http::{HeaderValue, header};
use ipnet::IpNet;

use super::App;
use crate::fault::Fault;
use crate::generation::Generation;
use crate::proxy::{Arrival, Client, Note};
use crate::secret::Sealer;
use crate::server::Handler;
use crate::session::CookieNames;
use crate::sign_in::{self, SignIn};
use crate::telemetry::Access;
use crate::web::{Connection, Request, Response};

/// The handler of a `[listen.<name>]`.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) app: Arc<App>,
    /// The peers whose `X-Forwarded-*` are believed.
    pub(super) trusted: Vec<IpNet>,
    /// Absent, like `sign_in`, where there is no public URL to log in under.
    pub(super) cookies: Option<CookieNames>,
    /// Absent where nobody can log in, for want of a public URL.
    pub(super) sign_in: Option<SignIn>,
}

#[async_trait]
impl Handler for Door {
    async fn handle(&self, request: Request) -> Response {
        let started = Instant::now();
        let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
            return Fault::Internal("a request came without its connection").answer("-", false);
        };
        let id = request_id();
        let host = request.headers().get(header::HOST).cloned().unwrap_or(HeaderValue::from_static(""));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let client = Client::read(request.headers(), connection.peer, connection.tls, &self.trusted);
        let now = self.app.clock.now();
        let arrival =
            Arrival { id: &id, now, connection: &connection, client, host: &host, cookies: self.cookies.as_ref() };

        let mut note = Note::default();
        let person = sign_in::is_navigation(request.method(), request.headers());
        let generation = self.app.generation.load_full();
        let (response, fault) = match self.answer(&generation, request, &arrival, &mut note).await {
            Ok(response) => (response, None),
            Err(fault) => (fault.answer(&id, person), Some(fault.code())),
        };

        self.app.requests.count(note.route.as_deref(), response.status(), started.elapsed());
        if let Some(lines) = &self.app.access {
            let access = Access {
                at: now,
                request: &id,
                listener: &connection.listener,
                client: client.address,
                method: &method,
                host: host.to_str().unwrap_or_default(),
                path: uri.path(),
                status: response.status(),
                fault,
                route: note.route.as_deref().map(|route| &*route.name),
                subject: note.identity.as_ref().map(|who| (&*who.subject.source, &*who.subject.id)),
                session: note.identity.as_ref().map(|who| who.holder.id.to_string()),
                took: started.elapsed(),
            };
            access.write(lines);
        }
        response
    }
}

impl Door {
    /// The door of a listener.
    pub(super) fn new(app: &Arc<App>, name: &Arc<str>, sealer: &Arc<Sealer>) -> Self {
        let entrance = app.generation.load().entrances.get(name).cloned();
        let trusted = entrance.as_ref().map_or_else(Vec::new, |entrance| entrance.trusted_proxies.clone());
        let public_url = entrance.and_then(|entrance| entrance.public_url);
        let _ = sealer;
        let cookies = public_url.as_ref().map(|url| CookieNames::under(url.as_url()));
        Self { app: Arc::clone(app), trusted, cookies, sign_in: None }
    }

    async fn answer(
        &self,
        generation: &Generation,
        request: Request,
        arrival: &Arrival<'_>,
        note: &mut Note,
    ) -> Result<Response, Fault> {
        if let Some(path) = request.uri().path().strip_prefix("/.claviger")
            && (path.is_empty() || path.starts_with('/'))
        {
            return self.ours(generation, request, arrival).await;
        }
        // kept for a login, which comes back to where this one wanted to go
        let navigation = sign_in::is_navigation(request.method(), request.headers())
            .then(|| (request.uri().clone(), request.headers().clone()));
        let outcome = self.app.proxy.answer(generation, request, arrival, note).await;
        match (outcome, navigation, &self.sign_in) {
            (Err(fault), Some((uri, headers)), Some(sign_in)) if fault.calls_for_a_login() => {
                sign_in.begin(generation, &uri, &headers, arrival, fault).await
            }
            (outcome, _, _) => outcome,
        }
    }

    /// What lies under `/.claviger/`, on every host of ours.
    async fn ours(&self, generation: &Generation, request: Request, arrival: &Arrival<'_>) -> Result<Response, Fault> {
        if let Some(response) = self.app.published(request.method(), request.uri().path()) {
            return Ok(response);
        }
        match &self.sign_in {
            Some(sign_in) => sign_in.answer(generation, request, arrival).await,
            None => Err(Fault::NoRoute),
        }
    }
}

/// 64 random bits: enough to find a line in a log by.
fn request_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

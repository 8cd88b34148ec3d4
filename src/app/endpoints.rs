//! `[endpoint.<name>]`: each on a listener of its own. A new config opens some and closes others.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use http::StatusCode;
use metrics::Histogram;

use super::{App, StartError, listen};
use crate::config::{ConfigErrors, below};
use crate::endpoint::{Asked, Binding};
use crate::generation::Generation;
use crate::server::{Handler, Listener, Manner, Open, Workers};
use crate::telemetry::Metrics;
use crate::web::{self, Connection, Request, Response};

/// Those that are open.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<Arc<str>, Entry>);

#[derive(Debug)]
struct Entry {
    binding: Binding,
    open: Open,
}

/// Endpoints that are bound and not served yet, by their names.
pub(super) type Bound = BTreeMap<Arc<str>, (Binding, Listener)>;

/// An endpoint's handler: what answers is the generation's that is in use.
struct Port {
    app: Arc<App>,
    name: Arc<str>,
    at: Option<std::net::SocketAddr>,
    seconds: Histogram,
}

/// Binds them all.
pub(super) fn bind(generation: &Generation) -> Result<Bound, StartError> {
    let mut bound = Bound::new();
    for (name, endpoint) in &generation.endpoints {
        let binding = endpoint.binding();
        let listener = match &binding {
            Binding::Address { at, .. } => listen(&format!("endpoint.{name}.address"), *at)?,
            Binding::Socket { path, for_all } => {
                Listener::bind_socket(path, *for_all).map_err(|source| StartError::Address {
                    key: format!("endpoint.{name}.socket"),
                    address: path.display().to_string(),
                    hint: hint(path, &source),
                    source,
                })?
            }
        };
        limit(&binding, &listener).map_err(StartError::Workers)?;
        bound.insert(Arc::clone(name), (binding, listener));
    }
    Ok(bound)
}

/// Sees to it that what endpoints hand out is at hand. Never ends.
pub(super) async fn tend(app: Arc<App>) {
    let mut turns = tokio::time::interval(TEND);
    loop {
        turns.tick().await;
        let generation = Arc::clone(&app.current.load().generation);
        let now = app.clock.now();
        join_all(generation.endpoints.values().map(|endpoint| endpoint.tend(&app.broker, now))).await;
    }
}

impl Endpoints {
    /// Binds those of a new generation that are not open, or elsewhere. Nothing is accepted there yet.
    pub(super) fn bind(&self, next: &Generation, errors: &mut ConfigErrors) -> Bound {
        let mut bound = Bound::new();
        for (name, endpoint) in &next.endpoints {
            let (path, binding) = (below("endpoint", name), endpoint.binding());
            let there = self.0.get(name).map(|entry| &entry.binding);
            if there == Some(&binding) {
                continue;
            }
            let key = match binding {
                Binding::Address { .. } => "address",
                Binding::Socket { .. } => "socket",
            };
            match self.bind_one(&binding) {
                Ok(listener) => {
                    bound.insert(Arc::clone(name), (binding, listener));
                }
                Err(problem) => errors.add(below(&path, key), problem),
            }
        }
        bound
    }

    fn bind_one(&self, binding: &Binding) -> Result<Listener, String> {
        let place = binding.to_string();
        let ours = self.0.iter().find(|(_, entry)| entry.binding.to_string() == place);
        let bound = match binding {
            Binding::Address { at, .. } => Listener::bind(*at),
            Binding::Socket { path, for_all } => Listener::bind_socket(path, *for_all),
        };
        let bound = bound.and_then(|listener| limit(binding, &listener).map(|()| listener));
        bound.map_err(|error| match ours {
            Some((name, _)) => {
                format!("is `endpoint.{name}`'s until this config is in use; restart claviger to use it")
            }
            None => format!("{place} can't be listened on: {error}"),
        })
    }

    /// Serves one from now on; says where.
    ///
    /// # Errors
    /// The system does not say where it is.
    pub(super) fn open(
        &mut self,
        workers: &Workers,
        app: &Arc<App>,
        manner: Manner,
        name: Arc<str>,
        (binding, listener): (Binding, Listener),
    ) -> io::Result<String> {
        let at = match &binding {
            Binding::Address { .. } => Some(listener.local_addr()?),
            Binding::Socket { .. } => None,
        };
        let place = at.map_or_else(|| binding.to_string(), |at| at.to_string());
        let seconds = seconds(&manner.metrics, &name);
        let port = Port { app: Arc::clone(app), name: Arc::clone(&name), at, seconds };
        let open = workers.serve(listener, manner, Arc::new(port));
        self.0.insert(name, Entry { binding, open });
        Ok(place)
    }

    /// Closes those that are not in the next generation, or elsewhere by it.
    pub(super) fn close(&mut self, next: &Generation, moved: &Bound) {
        self.0.retain(|name, entry| {
            let stays = next.endpoints.contains_key(name) && !moved.contains_key(name);
            if !stays {
                tracing::info!(listener = listener_name(name), address = %entry.binding, "not listening any more");
                entry.open.close();
            }
            stays
        });
    }
}

/// What an endpoint's listener is called, in the log and in the metrics.
pub(super) fn listener_name(endpoint: &str) -> String {
    format!("endpoint.{endpoint}")
}

fn limit(binding: &Binding, listener: &Listener) -> io::Result<()> {
    match binding {
        Binding::Address { hop_limit: Some(hops), .. } => listener.set_hop_limit(*hops),
        _ => Ok(()),
    }
}

fn hint(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there".to_owned(),
        io::ErrorKind::NotFound => {
            format!("there is no folder `{}`, and claviger makes none", path.parent().unwrap_or(path).display())
        }
        _ => error.to_string(),
    }
}

fn seconds(metrics: &Metrics, endpoint: &str) -> Histogram {
    let name = "claviger_endpoint_request_seconds";
    metrics.describe(name, None, "From the head of a request at an endpoint for SDKs to its answer's head.");
    metrics.histogram(name, &[("endpoint", endpoint)])
}

#[async_trait]
impl Handler for Port {
    async fn handle(&self, connection: &Connection, request: Request) -> Response {
        let began = Instant::now();
        let (head, _) = request.into_parts();
        let generation = Arc::clone(&self.app.current.load().generation);
        let Some(endpoint) = generation.endpoints.get(&self.name) else {
            return web::answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "not in use any more\n");
        };
        let now = self.app.clock.now();
        let asked = Asked { head: &head, connection, at: self.at, broker: &self.app.broker, now };
        let answer = endpoint.answer(asked).await;
        self.seconds.record(began.elapsed().as_secs_f64());
        answer
    }
}

/// Credentials are there soon after what they need, and are renewed in time if they live for some seconds only.
const TEND: Duration = Duration::from_secs(1);

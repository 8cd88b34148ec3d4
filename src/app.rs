//! Wiring: a [`Config`] becomes a running claviger.
//!
//! [`App`] holds what outlives a generation: sessions, credentials, keys. A `Generation` is everything that is built
//! from the config, swapped as a whole; a request sees one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::admin::{Admin, Readiness};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::keys::KeepError;
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::generation::Parts;
use crate::proxy::Proxy;
use crate::server::{Handler, Listener, Manner, Workers, holder_of, mind_memory};
use crate::session::{OpenError, Sessions};
use crate::sign_in::SignIn;
use crate::telemetry::{Lines, LogLevel, Metrics};
use crate::tls::{Handshakes, Trust};
use crate::trace::Exporter;
use crate::upstream::Upstreams;

mod bounds;
mod changes;
mod current;
mod door;
mod endpoints;
mod keys;
mod listeners;
mod look;
mod other_side;
mod published;
mod reload;
mod requests;
mod sessions;

pub use look::look_at;

use current::Current;
use endpoints::Endpoints;
use listeners::Listeners;
use other_side::{OtherSide, Plan};
use reload::Reload;
use requests::Requests;

/// What outlives a generation.
#[derive(Debug)]
struct App {
    clock: Arc<dyn Clock>,
    current: ArcSwap<Current>,
    sessions: Arc<Sessions>,
    broker: Broker,
    proxy: Proxy,
    sign_in: SignIn,
    requests: Requests,
    lines: Lines,
    /// Where spans go; absent where nothing is recorded.
    exporter: Option<Exporter>,
    draining: AtomicBool,
    /// Why the last reload was none, if it was none.
    stale: ArcSwapOption<String>,
}

/// What comes from outside the config.
#[derive(Debug)]
pub struct Outside {
    /// The clock everything lives by.
    pub clock: Arc<dyn Clock>,
    /// Where log lines go.
    pub lines: Lines,
    /// From which level on.
    pub level: LogLevel,
    /// The config's file, to read it again from; absent: it never changes.
    pub file: Option<PathBuf>,
    /// Listeners that are bound already, by their names in the config.
    pub bound: BTreeMap<Arc<str>, Listener>,
}

/// A running claviger.
#[derive(Debug)]
pub struct Running {
    app: Arc<App>,
    workers: Workers,
    /// Serves health and metrics apart from all else, to the very end.
    admin: Option<Workers>,
    addresses: Vec<(Arc<str>, String)>,
    reload: Option<Reload>,
    upkeep: Vec<JoinHandle<()>>,
}

/// A listener that is bound, and who answers on it.
struct Serving {
    name: Arc<str>,
    listener: Listener,
    tls: Option<Arc<rustls::ServerConfig>>,
    handler: Arc<dyn Handler>,
}

/// Why claviger does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config can't be built.
    #[error("the config can't be used:\n{0}")]
    Config(ConfigErrors),
    /// An address can't be had.
    #[error("`{key}`: {address} can't be listened on; {hint}")]
    Address {
        /// The config's key.
        key: String,
        /// The address, or the socket's file.
        address: String,
        /// Who has it, or what to look for.
        hint: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key of ours can't be kept in `state_dir`.
    #[error("the state folder can't be used")]
    Key(#[from] KeepError),
    /// Kept sessions can't be used.
    #[error("sessions can't be kept")]
    Sessions(#[from] OpenError),
    /// The system gives no threads.
    #[error("workers can't be started")]
    Workers(#[source] io::Error),
}

impl StartError {
    /// 2 where the config is to be mended, 1 where the machine is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Address { .. } | Self::Key(_) | Self::Sessions(_) | Self::Workers(_) => 1,
        }
    }
}

impl Running {
    /// Binds, builds, and serves.
    ///
    /// Identity providers, STS and upstreams need not be there yet: what needs them answers 503 until they are.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(mut config: Config, outside: Outside) -> Result<Self, StartError> {
        let Outside { clock, lines, level, file, mut bound } = outside;
        let metrics = Metrics::new();
        let listeners = bind(&mut config, &mut bound)?;
        let trust = Trust::system();
        let fetch = Arc::new(Fetch::new(&trust).counted(&metrics));
        let upstreams = Arc::new(Upstreams::new(metrics.clone(), Handle::current()));
        let parts = Parts {
            clock: Arc::clone(&clock),
            fetch,
            trust,
            upstreams,
            mint: None,
            identity_issuer: None,
            metrics: metrics.clone(),
        };
        let plan = Plan::read(&config, &parts).map_err(StartError::Config)?;
        let current = Current::first(config, &parts)?;
        let (config, generation) = (&current.config, &current.generation);

        let place = sessions::place(config, &current.keys, &metrics)?;
        let sessions = Sessions::kept_in(&config.session, place, Arc::clone(&clock), &metrics)?;
        sessions.settled().await;
        let broker = Broker::new(Arc::clone(&clock), metrics.clone(), Handle::current(), GRANTS);
        broker.share(sessions.commons());
        sessions.use_sources(generation.sources.clone()).await;
        sessions.on_end({
            let broker = broker.clone();
            move |holder| broker.release(&holder)
        });
        broker.use_providers(generation.providers.clone(), |_| true);
        let sealer = Arc::clone(&current.keys.sealer);
        let tracing = config.tracing.clone();
        let exporter = tracing.map(|setup| Exporter::start(setup, Arc::clone(&parts.fetch), &metrics));
        let app = Arc::new(App {
            proxy: Proxy::new(Arc::clone(&sessions), broker.clone(), Arc::clone(&clock)),
            sign_in: SignIn::new(Arc::clone(&sessions), sealer, Arc::clone(&clock), metrics.clone()),
            sessions,
            broker,
            requests: Requests::new(metrics.clone()),
            lines,
            exporter,
            draining: AtomicBool::new(false),
            stale: ArcSwapOption::empty(),
            clock,
            current: ArcSwap::from_pointee(current),
        });
        let current = app.current.load_full();
        let config = &current.config;

        let (other_side, others) = OtherSide::start(plan, config, &parts, &metrics)?;
        let bound = endpoints::bind(&current.generation)?;
        let admin = match config.admin {
            Some(address) => Some(Serving::admin(address, &app, &metrics)?),
            None => None,
        };

        let workers = Workers::start(config.workers.unwrap_or_else(cores)).map_err(StartError::Workers)?;
        let (mut addresses, mut shaken) = (Vec::new(), BTreeMap::new());
        let mut open = Listeners::new(config, &metrics);
        for (name, listener) in listeners {
            let address = open.open(&workers, &app, &name, listener).map_err(StartError::Workers)?;
            addresses.push((name, address.to_string()));
        }
        for Serving { name, listener, tls, handler } in others {
            let address = listener.local_addr().map_err(StartError::Workers)?;
            addresses.push((Arc::clone(&name), address.to_string()));
            let tls = tls.map(Handshakes::new);
            shaken.extend(tls.clone().map(|tls| (Arc::clone(&name), tls)));
            workers.serve(listener, open.manner_of_others(name, tls), handler);
        }
        let mut endpoints = Endpoints::default();
        for (name, bound) in bound {
            let called: Arc<str> = endpoints::listener_name(&name).into();
            let manner = open.manner_of_others(Arc::clone(&called), None);
            let place = endpoints.open(&workers, &app, manner, name, bound).map_err(StartError::Workers)?;
            addresses.push((called, place));
        }
        let admin = match admin {
            Some(Serving { name, listener, handler, .. }) => {
                let workers = Workers::start(1).map_err(StartError::Workers)?;
                let address = listener.local_addr().map_err(StartError::Workers)?;
                addresses.push((Arc::clone(&name), address.to_string()));
                let manner = Manner { crowd: bounds::of_admin(), ..Manner::plain(&name, &metrics) };
                workers.serve(listener, manner, handler);
                Some(workers)
            }
            None => None,
        };
        let upkeep = vec![
            tokio::spawn(tend_sessions(Arc::clone(&app))),
            tokio::spawn(mind_memory(open.crowd(), metrics.clone())),
            tokio::spawn(tend_metrics(metrics.clone())),
            tokio::spawn(endpoints::tend(Arc::clone(&app))),
        ];
        let reload = file.map(|file| {
            let running = reload::Running { listeners: open, endpoints, shaken, other_side, level };
            Reload::new(Arc::clone(&app), file, parts, running, &metrics)
        });
        Ok(Self { app, workers, admin, addresses, reload, upkeep })
    }

    /// Keeps to the config's file: reads it again each time `asked` has an answer, and when what it is made of has
    /// changed. Never ends.
    pub async fn keep_to_the_file(&mut self, asked: impl AsyncFnMut()) {
        match &mut self.reload {
            Some(reload) => reload.again_and_again(&self.workers, asked).await,
            None => std::future::pending().await,
        }
    }

    /// How long requests under way may take to finish, by the config as it is now.
    pub fn grace(&self) -> Duration {
        self.app.current.load().config.drain
    }

    /// Each listener's name and the address or socket it had at the start.
    pub fn addresses(&self) -> impl Iterator<Item = &(Arc<str>, String)> {
        self.addresses.iter()
    }

    /// Stops accepting, lets requests under way finish for up to `grace`, then cuts. Meanwhile `/readyz` says so.
    pub async fn drain(self, grace: Duration) {
        self.app.draining.store(true, Ordering::Relaxed);
        self.workers.drain(grace).await;
        self.app.sessions.close().await;
        if let Some(exporter) = &self.app.exporter {
            // a collector that does not answer is not waited for
            let _ = tokio::time::timeout(FLUSH, exporter.flush()).await;
        }
        if let Some(admin) = self.admin {
            admin.drain(ADMIN_GRACE).await;
        }
        self.upkeep.iter().for_each(JoinHandle::abort);
    }
}

impl Serving {
    /// The admin listener.
    fn admin(address: SocketAddr, app: &Arc<App>, metrics: &Metrics) -> Result<Self, StartError> {
        let app = Arc::clone(app);
        let admin = Admin::new(metrics.clone(), move || app.readiness());
        let listener = listen("admin.address", address)?;
        Ok(Self { name: "admin".into(), listener, tls: None, handler: Arc::new(admin) })
    }
}

impl App {
    /// What `/readyz` says. A route without a login at hand still serves those who are logged in, so only a claviger
    /// on which no route can do anything is unusable: a sidecar without credentials yet is, as what waits for it would
    /// find none.
    fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Relaxed) {
            return Readiness::Draining;
        }
        let current = self.current.load();
        let generation = &current.generation;
        let trouble = |(name, source): (&Arc<str>, &Arc<dyn crate::identity::IdentitySource>)| {
            source.trouble().map(|trouble| format!("identity.{name}: {trouble}"))
        };
        let kept = self.sessions.trouble().map(|trouble| format!("session: {trouble}"));
        let stale = self.stale.load().as_deref().map(|reason| format!("config: the last reload was refused: {reason}"));
        let standing = generation.endpoints.iter().map(|(name, endpoint)| (name, endpoint.standing()));
        let standing: Vec<_> = standing.collect();
        let pending = standing.iter().flat_map(|(name, standing)| {
            standing.troubles.iter().map(move |trouble| format!("endpoint.{name}: {trouble}"))
        });
        let degraded = generation.sources.iter().filter_map(trouble).chain(pending).chain(kept).chain(stale);
        let degraded: Vec<String> = degraded.collect();
        if generation.routes.iter().next().is_none() && !standing.iter().any(|(_, standing)| standing.serves) {
            return Readiness::Unusable { degraded };
        }
        Readiness::Ready { degraded }
    }
}

/// Every listener of the config, bound.
fn bind(
    config: &mut Config,
    bound: &mut BTreeMap<Arc<str>, Listener>,
) -> Result<Vec<(Arc<str>, Listener)>, StartError> {
    let mut listeners = Vec::new();
    for (name, entry) in &mut config.listen {
        let key = format!("listen.{name}.address");
        let listener = match bound.remove(name) {
            Some(listener) => listener,
            None => listen(&key, entry.address)?,
        };
        if let Ok(address) = listener.local_addr() {
            entry.bound_at(address);
        }
        listeners.push((Arc::clone(name), listener));
    }
    Ok(listeners)
}

fn listen(key: &str, address: SocketAddr) -> Result<Listener, StartError> {
    Listener::bind(address).map_err(|source| {
        let hint = match (source.kind(), holder_of(address)) {
            (io::ErrorKind::AddrInUse, Some(holder)) => format!("{holder} is there already"),
            (io::ErrorKind::AddrNotAvailable, _) => "no interface has it, and claviger adds none".to_owned(),
            _ => "is another process there already?".to_owned(),
        };
        StartError::Address { key: key.to_owned(), address: address.to_string(), hint, source }
    })
}

async fn tend_sessions(app: Arc<App>) {
    app.sessions.tend().await;
}

/// Samples of histograms wait in memory until somebody reads or gathers them.
async fn tend_metrics(metrics: Metrics) {
    let mut turns = tokio::time::interval(GATHER);
    loop {
        turns.tick().await;
        metrics.gather();
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// How many grants' credentials are kept: at some 2 KiB each, a few hundred MiB at the most.
const GRANTS: u64 = 100_000;

/// For the last answers of health and metrics, which are short.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// For the last spans.
const FLUSH: Duration = Duration::from_secs(2);

/// Often enough that no burst of requests piles up more than a few MiB of samples.
const GATHER: Duration = Duration::from_secs(5);

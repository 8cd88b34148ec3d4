//! Wiring: a [`Config`] becomes a running claviger.
//!
//! [`App`] holds what outlives a generation: sessions, credentials, keys. A [`Generation`] is everything that is built
//! from the config, swapped as a whole; a request sees one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::admin::{Admin, Readiness};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::keys::KeepError;
use crate::config::{Config, ConfigErrors};
use crate::credentials::Mint;
use crate::fetch::Fetch;
use crate::generation::{Generation, Parts};
use crate::proxy::Proxy;
use crate::server::{Handler, Listener, Manner, Timeouts, Workers};
use crate::session::Sessions;
use crate::sign_in::SignIn;
use crate::telemetry::{Lines, Metrics};
use crate::tls::Trust;
use crate::upstream::Upstreams;

mod door;
mod keys;
mod other_side;
mod published;
mod requests;

use door::Door;
use requests::Requests;

/// What outlives a generation.
#[derive(Debug)]
struct App {
    clock: Arc<dyn Clock>,
    generation: ArcSwap<Generation>,
    sessions: Arc<Sessions>,
    proxy: Proxy,
    sign_in: SignIn,
    mint: Option<Arc<Mint>>,
    requests: Requests,
    /// Absent where access lines are off.
    access: Option<Lines>,
    draining: AtomicBool,
}

/// What comes from outside the config.
#[derive(Debug)]
pub struct Outside {
    /// The clock everything lives by.
    pub clock: Arc<dyn Clock>,
    /// Where log lines go.
    pub lines: Lines,
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
    addresses: Vec<(Arc<str>, SocketAddr)>,
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
    #[error("`{key}`: {address} can't be listened on; is another process there already?")]
    Address {
        /// The config's key.
        key: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key of ours can't be kept in `state_dir`.
    #[error("the state folder can't be used")]
    Key(#[from] KeepError),
    /// The system gives no threads.
    #[error("workers can't be started")]
    Workers(#[source] io::Error),
}

impl StartError {
    /// 2 where the config is to be mended, 1 where the machine is.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Address { .. } | Self::Key(_) | Self::Workers(_) => 1,
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
        let Outside { clock, lines, mut bound } = outside;
        let metrics = Metrics::new();
        let listeners = bind(&mut config, &mut bound)?;
        let sealer = Arc::new(keys::sealer(&config)?);
        let mint = keys::mint(&config)?;
        let trust = Trust::system();
        let fetch = Arc::new(Fetch::new(&trust));
        let upstreams = Arc::new(Upstreams::new(metrics.clone(), Handle::current()));
        let parts = Parts {
            clock: Arc::clone(&clock),
            fetch: Arc::clone(&fetch),
            trust,
            upstreams,
            mint: mint.clone(),
            metrics: metrics.clone(),
        };
        let generation = Generation::build(&config, &parts).map_err(StartError::Config)?;

        let sessions = Sessions::new(&config.session, Arc::clone(&clock), &metrics);
        let broker = Broker::new(Arc::clone(&clock), metrics.clone(), Handle::current(), GRANTS);
        let sources = generation.sources.iter().map(|(name, source)| (Arc::clone(name), Arc::clone(source)));
        sessions.use_sources(sources).await;
        sessions.on_end({
            let broker = broker.clone();
            move |holder| broker.release(&holder)
        });
        let app = Arc::new(App {
            proxy: Proxy::new(Arc::clone(&sessions), broker),
            sign_in: SignIn::new(Arc::clone(&sessions), sealer, Arc::clone(&clock), metrics.clone()),
            sessions,
            generation: ArcSwap::from_pointee(generation),
            requests: Requests::new(metrics.clone()),
            access: config.log_access.then(|| lines.clone()),
            draining: AtomicBool::new(false),
            clock,
            mint,
        });

        let mut serving: Vec<Serving> = Vec::new();
        for (name, listener) in listeners {
            let entrance = app.generation.load().entrances.get(&name).cloned();
            let door = Door::new(&app, &name, entrance.as_ref().and_then(|entrance| entrance.public_url.as_ref()));
            let identity = entrance.and_then(|entrance| entrance.tls);
            let tls = identity.map(|identity| identity.server_config(HTTP));
            serving.push(Serving { name, listener, tls, handler: Arc::new(door) });
        }
        serving.extend(other_side::build(&config, &fetch, &app.clock, &metrics)?);
        let admin = match config.admin {
            Some(address) => Some(Serving::admin(address, &app, &metrics)?),
            None => None,
        };

        let mut addresses = Vec::new();
        let mut serve = |workers: &Workers, Serving { name, listener, tls, handler }| {
            addresses.push((Arc::clone(&name), listener.local_addr().map_err(StartError::Workers)?));
            let manner = Manner { name, tls, timeouts: Timeouts::default(), metrics: metrics.clone() };
            workers.serve(listener, manner, handler);
            Ok::<_, StartError>(())
        };
        let workers = Workers::start(config.workers.unwrap_or_else(cores)).map_err(StartError::Workers)?;
        serving.into_iter().try_for_each(|serving| serve(&workers, serving))?;
        let admin = match admin {
            Some(serving) => {
                let workers = Workers::start(1).map_err(StartError::Workers)?;
                serve(&workers, serving)?;
                Some(workers)
            }
            None => None,
        };
        let upkeep = vec![tokio::spawn(tend_sessions(Arc::clone(&app))), tokio::spawn(tend_metrics(metrics))];
        Ok(Self { app, workers, admin, addresses, upkeep })
    }

    /// Each listener's name and the address it has.
    pub fn addresses(&self) -> impl Iterator<Item = &(Arc<str>, SocketAddr)> {
        self.addresses.iter()
    }

    /// Stops accepting, lets requests under way finish for up to `grace`, then cuts. Meanwhile `/readyz` says so.
    pub async fn drain(self, grace: Duration) {
        self.app.draining.store(true, Ordering::Relaxed);
        self.workers.drain(grace).await;
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
    /// on which no route can do anything is unusable.
    fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Relaxed) {
            return Readiness::Draining;
        }
        let generation = self.generation.load();
        let trouble = |(name, source): (&Arc<str>, &Arc<dyn crate::identity::IdentitySource>)| {
            source.trouble().map(|trouble| format!("identity.{name}: {trouble}"))
        };
        let degraded: Vec<String> = generation.sources.iter().filter_map(trouble).collect();
        if generation.routes.iter().next().is_none() {
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
    Listener::bind(address).map_err(|source| StartError::Address { key: key.to_owned(), address, source })
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

/// What we speak inside of TLS, the preferred first (RFC 7301).
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// For the last answers of health and metrics, which are short.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// Often enough that no burst of requests piles up more than a few MiB of samples.
const GATHER: Duration = Duration::from_secs(5);

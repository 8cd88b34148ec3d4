//! Wiring: a [`Config`] becomes a running claviger.
//!
//! [`App`] holds what outlives a generation: sessions, credentials, keys. A [`Generation`] is everything that is built
//! from the config, swapped as a whole; a request sees one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, StatusCode};
use tokio::task::JoinHandle;

use crate::admin::{Admin, Readiness};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::credentials::Mint;
use crate::fetch::Fetch;
use crate::generation::{Generation, Parts};
use crate::proxy::Proxy;
use crate::secret::Sealer;
use crate::server::{Handler, Listener, Manner, Timeouts, Workers};
use crate::session::{CookieNames, Sessions};
use crate::sign_in::SignIn;
use crate::telemetry::{Lines, Metrics};
use crate::tls::{ServerIdentity, Trust};
use crate::web::{self, Response};

mod door;
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
    mint: Option<Arc<Mint>>,
    requests: Requests,
    /// Absent where access lines are off.
    access: Option<Lines>,
    phase: AtomicU8,
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
    addresses: Vec<(Arc<str>, SocketAddr)>,
    upkeep: Vec<JoinHandle<()>>,
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
    /// Providers and upstreams need not be there yet: what needs them answers 503 until they are.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(mut config: Config, outside: Outside) -> Result<Self, StartError> {
        let Outside { clock, lines, mut bound } = outside;
        let metrics = Metrics::new();
        let listeners = bind(&mut config, &mut bound)?;
        let sealer = Arc::new(keys::sealer(&config)?);
        let mint = keys::mint(&config, &clock)?;
        let trust = Trust::system();
        let fetch = Arc::new(Fetch::new(&trust));
        let parts = Parts { clock: Arc::clone(&clock), fetch: Arc::clone(&fetch), trust, mint: mint.clone() };
        let generation = Generation::build(&config, &parts).map_err(StartError::Config)?;

        let sessions = Sessions::new(&config.session, Arc::clone(&clock), &metrics);
        let broker = Broker::new(Arc::clone(&clock), metrics.clone(), Handle::current(), config.session.max_sessions);
        sessions.use_sources(generation.sources.iter().map(|(name, source)| (Arc::clone(name), Arc::clone(source)))).await;
        sessions.on_end({
            let broker = broker.clone();
            move |holder| broker.release(&holder)
        });
        let app = Arc::new(App {
            proxy: Proxy::new(Arc::clone(&sessions), broker),
            generation: ArcSwap::from_pointee(generation),
            requests: Requests::new(metrics.clone()),
            access: config.log_access.then(|| lines.clone()),
            phase: AtomicU8::new(Phase::Serving as u8),
            clock,
            mint,
        });
        let side = other_side::start(&config, &fetch, &app.clock, &metrics)?;
        let workers = Workers::start(config.workers.unwrap_or_else(cores)).map_err(StartError::Workers)?;
        let mut addresses = Vec::new();
        for (name, listener, address) in listeners {
            let door = Door::new(&app, &name, &sessions, &sealer);
            let tls = app.generation.load().entrances.get(&name).and_then(|entrance| entrance.tls.clone());
            let manner = Manner {
                name: Arc::clone(&name),
                tls: tls.map(|identity| identity.server_config(&[b"h2", b"http/1.1"])),
                timeouts: Timeouts::default(),
                metrics: metrics.clone(),
            };
            workers.serve(listener, manner, Arc::new(door));
            addresses.push((name, address));
        }
        Ok(Self { app, workers, addresses, upkeep: Vec::new() })
    }
}

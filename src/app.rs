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

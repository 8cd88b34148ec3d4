//! Doors for unmodified SDKs: each answers as one of the services does that SDKs ask for credentials.
//!
//! An endpoint has a listener of its own, never the proxy's. What it hands out it takes from the broker, for the
//! workload that claviger runs beside. It never waits for a person, and where anything is amiss it hands out nothing:
//! never another role, never the node's.
//!
//! The kinds are listed in [`BUILT_INS`]; a new one is a new file and a line there.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::request;

use crate::broker::Broker;
use crate::built_in::BuiltIn;
use crate::credentials::CredentialProvider;
use crate::identity::{IdentitySource, IssuedKeys, SourceName};
use crate::policy::{Ask, Explanation};
use crate::telemetry::Metrics;
use crate::web::{Connection, Response};

mod container;
mod counts;
mod guard;
mod imds;
mod ledger;
mod own;
mod place;
mod pod_identity;
mod shelf;

pub use guard::objection;

/// Every kind of `[endpoint.<name>]`.
pub const BUILT_INS: &[BuiltIn<dyn Endpoint, Materials>] =
    &[container::BUILT_IN, imds::BUILT_IN, pod_identity::BUILT_IN];

/// What an endpoint may use.
#[derive(Clone, Debug)]
pub struct Materials {
    /// `[identity.<name>]`.
    pub sources: BTreeMap<SourceName, Arc<dyn IdentitySource>>,
    /// `[credentials.<name>]`.
    pub providers: BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    /// Where answers are counted.
    pub metrics: Metrics,
    /// Keys of our own, where an endpoint hands out these.
    pub keys: IssuedKeys,
}

/// A request that came in at an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Method, target, headers.
    pub head: &'a request::Parts,
    /// The connection.
    pub connection: &'a Connection,
    /// Where the endpoint is bound; none where that is a Unix socket.
    pub at: Option<SocketAddr>,
    /// Who keeps credentials.
    pub broker: &'a Broker,
    /// Now.
    pub now: SystemTime,
}

/// Who asks: who is at the other end of a Unix socket, or an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Client {
    User(u32),
    Address(IpAddr),
}

/// Where an endpoint is bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Binding {
    /// At an address that nobody else reaches.
    Address {
        /// The address.
        at: SocketAddr,
        /// How many routers an answer may pass; absent: as many as the system lets it.
        hop_limit: Option<u8>,
    },
    /// At a Unix socket.
    Socket {
        /// Its file.
        path: PathBuf,
        /// Whether others than this user may connect, as the endpoint looks at who they are.
        for_all: bool,
    },
}

/// How an endpoint stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Whether it has anything to hand out.
    pub serves: bool,
    /// What does not work now, one entry each.
    pub troubles: Vec<String>,
}

/// A kind of endpoint.
#[async_trait]
pub trait Endpoint: Debug + Send + Sync {
    /// Where it is to be bound.
    fn binding(&self) -> Binding;

    /// The answer, in the shape that this kind's clients show to their users.
    async fn answer(&self, asked: Asked<'_>) -> Response;

    /// What its policy makes of a question, where one workload asks here; none where callers say who they are.
    fn explain(&self, _ask: Ask<'_>) -> Option<Explanation> {
        None
    }

    /// What it needs and is not there now, such as a file.
    fn lacks(&self) -> Option<String> {
        None
    }

    /// How it stands since it was last tended.
    fn standing(&self) -> Standing {
        Standing { serves: true, troubles: Vec::new() }
    }

    /// Sees to it that credentials are at hand before anybody asks. It is called again and again.
    async fn tend(&self, _broker: &Broker, _now: SystemTime) {}
}

impl Asked<'_> {
    fn client(&self) -> Client {
        self.connection.user.map_or_else(|| Client::Address(self.connection.peer.ip()), Client::User)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "uid {user}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Binding {
    /// At an address, as far as the system lets it.
    pub fn at(address: SocketAddr) -> Self {
        Self::Address { at: address, hop_limit: None }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { at, .. } => write!(f, "{at}"),
            Self::Socket { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

//! Doors for unmodified SDKs: each answers as one of the services does that SDKs ask for credentials.
//!
//! An endpoint has a listener of its own, never the proxy's. What it hands out it takes from the broker, for the
//! workload that claviger runs beside. It never waits for a person, and where anything is amiss it hands out nothing:
//! never another role, never the node's.
//!
//! The kinds are listed in [`BUILT_INS`]; a new one is a new file and a line there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::request;

use crate::broker::Broker;
use crate::built_in::BuiltIn;
use crate::credentials::CredentialProvider;
use crate::identity::{IdentitySource, SourceName};
use crate::telemetry::Metrics;
use crate::web::{Connection, Response};

mod container;
mod counts;
mod guard;
mod own;
mod place;

pub use guard::objection;

/// Every kind of `[endpoint.<name>]`.
pub const BUILT_INS: &[BuiltIn<dyn Endpoint, Materials>] = &[container::BUILT_IN];

/// What an endpoint may use.
#[derive(Clone, Debug)]
pub struct Materials {
    /// `[identity.<name>]`.
    pub sources: BTreeMap<SourceName, Arc<dyn IdentitySource>>,
    /// `[credentials.<name>]`.
    pub providers: BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    /// Where answers are counted.
    pub metrics: Metrics,
}

/// A request that came in at an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Method, target, headers.
    pub head: &'a request::Parts,
    /// The connection.
    pub connection: &'a Connection,
    /// Where the endpoint is bound.
    pub at: SocketAddr,
    /// Who keeps credentials.
    pub broker: &'a Broker,
    /// Now.
    pub now: SystemTime,
}

/// A kind of endpoint.
#[async_trait]
pub trait Endpoint: Debug + Send + Sync {
    /// Where it is to be bound.
    fn address(&self) -> SocketAddr;

    /// The answer, in the shape that this kind's clients show to their users.
    async fn answer(&self, asked: Asked<'_>) -> Response;
}

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

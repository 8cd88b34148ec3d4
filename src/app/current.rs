//! What a config became: a request sees one from its start to its end, whatever is reloaded meanwhile (A33).

use std::sync::Arc;

use super::StartError;
use super::keys::{Missing, OurKeys};
use crate::config::{Config, ConfigErrors};
use crate::generation::{Entrance, Generation, Parts};

/// All that changes with a reload, as one.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) config: Config,
    pub(super) generation: Arc<Generation>,
    pub(super) keys: OurKeys,
}

impl Current {
    /// The config at the start. `parts` lack what our keys make.
    pub(super) fn first(config: Config, parts: &Parts) -> Result<Self, StartError> {
        let mut errors = ConfigErrors::default();
        let keys = OurKeys::read(&config, Missing::Kept, &mut errors)?;
        errors.or(()).map_err(StartError::Config)?;
        let generation = Generation::build(&config, &keys.given(parts)).map_err(StartError::Config)?;
        Ok(Self { config, generation: Arc::new(generation), keys })
    }
}

/// How people's connections to a listener begin; none where it speaks plain HTTP.
pub(super) fn handshakes(entrance: &Entrance) -> Option<Arc<rustls::ServerConfig>> {
    entrance.tls.as_ref().map(|identity| identity.server_config(HTTP))
}

/// What we speak inside of TLS, the preferred first (RFC 7301).
pub(super) const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

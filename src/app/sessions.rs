//! Where sessions are kept, as the config says.

use std::sync::Arc;

use super::{StartError, keys};
use crate::config::keys::Purpose;
use crate::config::{Config, ConfigErrors};
use crate::redis::Redis;
use crate::session::{Place, StoreKind};
use crate::telemetry::Metrics;

/// The place that `[session]` names.
pub(super) fn place(config: &Config, metrics: &Metrics) -> Result<Place, StartError> {
    if let Some(address) = config.redis().map_err(StartError::Config)? {
        let redis = Redis::new(&address, metrics).map_err(|error| {
            let mut errors = ConfigErrors::default();
            errors.add("session.url", error);
            StartError::Config(errors)
        })?;
        return Ok(Place::Redis { redis, sealer: Arc::new(keys::sealer(config, Purpose::Session)?) });
    }
    if config.session.kind == StoreKind::Memory {
        return Ok(Place::Memory);
    }
    let folder = config.session.folder.as_deref().map(|folder| config.surroundings.path(folder));
    let folder = folder.unwrap_or_else(|| config.state_dir.join("sessions"));
    Ok(Place::File { folder, sealer: Arc::new(keys::sealer(config, Purpose::Session)?) })
}

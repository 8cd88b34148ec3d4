//! Where sessions are kept, as the config says.

use std::sync::Arc;

use super::StartError;
use super::keys::OurKeys;
use crate::config::{Config, ConfigErrors};
use crate::redis::Redis;
use crate::secret::Sealer;
use crate::session::{Place, StoreKind};
use crate::telemetry::Metrics;

/// The place that `[session]` names, and what seals there.
pub(super) fn place(config: &Config, keys: &OurKeys, metrics: &Metrics) -> Result<Place, StartError> {
    let sealer = Arc::new(Sealer::new(&keys.sessions).unwrap_or_else(Sealer::random));
    if let Some(address) = config.redis().map_err(StartError::Config)? {
        let redis = Redis::new(&address, metrics).map_err(|error| {
            let mut errors = ConfigErrors::default();
            errors.add("session.url", error);
            StartError::Config(errors)
        })?;
        return Ok(Place::Redis { redis, sealer });
    }
    if config.session.kind == StoreKind::Memory {
        return Ok(Place::Memory);
    }
    // not among the files that a change of reloads the config
    let folder = config.session.folder.as_deref().map(|folder| config.surroundings.folder.join(folder));
    Ok(Place::File { folder: folder.unwrap_or_else(|| config.state_dir.join("sessions")), sealer })
}

//! Where sessions are kept, as the config says.

use std::path::Path;
use std::sync::Arc;

use super::{StartError, keys};
use crate::config::Config;
use crate::config::keys::Purpose;
use crate::session::{Place, StoreKind};

/// The place that `[session]` names.
pub(super) fn place(config: &Config) -> Result<Place, StartError> {
    let settings = &config.session;
    match settings.kind {
        StoreKind::Memory => Ok(Place::Memory),
        StoreKind::File => {
            let folder = settings.folder.as_deref().map(|folder| config.surroundings.path(folder));
            let folder = folder.unwrap_or_else(|| config.state_dir.join(Path::new("sessions")));
            Ok(Place::File { folder, sealer: Arc::new(keys::sealer(config, Purpose::Session)?) })
        }
        StoreKind::Redis => Ok(Place::Memory),
    }
}

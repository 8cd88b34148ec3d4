//! A config that is looked at and never served.

use std::path::Path;
use std::sync::Arc;

use super::keys::{Missing, OurKeys};
use crate::built_in::Environment;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::generation::{Generation, Parts};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::upstream::Upstreams;
use crate::web::chain;

/// Builds all that a file says, as [`Running::start`](super::Running::start) would; binds nothing, and keeps nothing in
/// `state_dir`.
///
/// # Errors
/// Everything that is wrong.
pub fn look_at(file: &Path, environment: &Environment) -> Result<(Config, Generation), ConfigErrors> {
    Generation::load(file, environment, |config, errors| {
        let trust = Trust::system();
        let parts = Parts {
            clock: Arc::new(SystemClock),
            fetch: Arc::new(Fetch::new(&trust)),
            trust,
            upstreams: Arc::new(Upstreams::unchecked()),
            mint: None,
            identity_issuer: None,
            metrics: Metrics::new(),
        };
        config.redis().map_err(|found| errors.append(found)).ok();
        match OurKeys::read(config, Missing::Passing, errors) {
            Ok(keys) => keys.given(&parts),
            Err(error) => {
                errors.add("keys", chain(&error));
                parts
            }
        }
    })
}

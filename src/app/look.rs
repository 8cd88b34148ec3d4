//! A config that is looked at and never served.

use std::path::Path;
use std::sync::Arc;

use super::keys::{Missing, OurKeys};
use super::other_side::Plan;
use crate::built_in::Environment;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::generation::{Generation, Parts};
use crate::identity::IssuedKeys;
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
            keys: IssuedKeys::passing(),
            metrics: Metrics::new(),
        };
        Plan::read(config, &parts).map_err(|found| errors.append(found)).ok();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs beside the routes is looked at too, and each fault of it is named once.
    #[test]
    fn what_is_wrong_with_the_other_side_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("claviger.toml");
        let text = "[listen.main]\naddress = '127.0.0.1:0'\n\
                    [route.x]\nhost = 'x.localhost'\nupstream = 'http://127.0.0.1:1'\nallow = 'nobody-we-know'\n\
                    [authority]\naddress = '127.0.0.1:1'\naccount = '123456789012'\nregion = 'eu-west-1'\n\
                    tls = { certificate = 'no.crt', key = 'no.key' }\n\
                    [provider]\naddress = '127.0.0.1:1'\nissuer = 'http://127.0.0.1:1'\nusers = 'no.toml'";
        std::fs::write(&file, text).unwrap();
        let errors = look_at(&file, &Environment::default()).unwrap_err();
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for key in ["authority.tls: ", "provider.users", "route.x.allow"] {
            assert_eq!(found.iter().filter(|error| error.contains(key)).count(), 1, "{key}: {found:#?}");
        }
    }
}

//! `[provider]` and `[authority]`: the OpenID provider and the STS that a small site can run in the same process.
//!
//! They are reached over HTTP like anybody else's, on addresses of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{StartError, listen};
use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::server::{Handler, Listener};
use crate::telemetry::Metrics;

/// A service's name, its listener and what answers there.
type Side = (&'static str, Listener, Arc<dyn Handler>);

/// The handlers that the config asks for, with their listeners.
pub(super) fn build(
    config: &Config,
    fetch: &Arc<Fetch>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Vec<Side>, StartError> {
    let mut errors = ConfigErrors::default();
    let mut built: Vec<(&'static str, SocketAddr, Arc<dyn Handler>)> = Vec::new();
    if let Some(provider) = &config.provider {
        match provider.settings.build(&config.surroundings, clock) {
            Ok(handler) => built.push(("provider", provider.address, handler)),
            Err(error) => errors.add_settings("provider", error),
        }
    }
    if let Some(authority) = &config.authority {
        match authority.settings.account(&config.surroundings) {
            Ok(account) => {
                let handler = Authority::new(account, fetch, Arc::clone(clock), metrics);
                built.push(("authority", authority.address, handler));
            }
            Err(problems) => problems.into_iter().for_each(|error| errors.add_settings("authority", error)),
        }
    }
    let built = errors.or(built).map_err(StartError::Config)?;
    let bind = |(name, address, handler): (&'static str, SocketAddr, _)| {
        Ok((name, listen(&format!("{name}.address"), address)?, handler))
    };
    built.into_iter().map(bind).collect()
}

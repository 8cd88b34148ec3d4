//! `[provider]` and `[authority]`: the OpenID provider and the STS that a small site can run in the same process.
//!
//! They are reached over HTTP like anybody else's, on addresses of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{HTTP, Serving, StartError, listen};
use crate::authority::Authority;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::server::Handler;
use crate::telemetry::Metrics;
use crate::tls::ServerIdentity;

/// A service that is to listen.
struct Side {
    name: &'static str,
    address: SocketAddr,
    tls: Option<ServerIdentity>,
    handler: Arc<dyn Handler>,
}

/// The handlers that the config asks for, with their listeners.
pub(super) fn build(
    config: &Config,
    fetch: &Arc<Fetch>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Vec<Serving>, StartError> {
    let mut errors = ConfigErrors::default();
    let mut built: Vec<Side> = Vec::new();
    if let Some(provider) = &config.provider {
        let (name, address, tls) = ("provider", provider.address, provider.identity("provider", &mut errors));
        match provider.settings.build(&config.surroundings, clock) {
            Ok(handler) => built.push(Side { name, address, tls, handler }),
            Err(error) => errors.add_settings("provider", error),
        }
    }
    if let Some(authority) = &config.authority {
        let (name, address, tls) = ("authority", authority.address, authority.identity("authority", &mut errors));
        match authority.settings.account(&config.surroundings) {
            Ok(account) => {
                let handler = Authority::new(account, fetch, Arc::clone(clock), metrics);
                built.push(Side { name, address, tls, handler });
            }
            Err(problems) => problems.into_iter().for_each(|error| errors.add_settings("authority", error)),
        }
    }
    let built = errors.or(built).map_err(StartError::Config)?;
    let bind = |Side { name, address, tls, handler }| {
        let listener = listen(&format!("{name}.address"), address)?;
        let tls = tls.map(|tls: ServerIdentity| tls.server_config(HTTP));
        Ok(Serving { name: name.into(), listener, tls, handler })
    };
    built.into_iter().map(bind).collect()
}

//! `[provider]` and `[authority]`: the OpenID provider and the STS that a small site can run in the same process.
//!
//! They are reached over HTTP like anybody else's, on addresses of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{StartError, listen};
use crate::authority::{Authority, AuthoritySettings};
use crate::built_in::{SettingsError, parse_table};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::provider::ProviderSettings;
use crate::server::{Handler, Listener};
use crate::telemetry::Metrics;

/// The handlers that the config asks for, with their listeners.
pub(super) fn build(
    config: &Config,
    fetch: &Arc<Fetch>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Vec<(&'static str, Listener, Arc<dyn Handler>)>, StartError> {
    let mut errors = ConfigErrors::default();
    let mut built: Vec<(&'static str, SocketAddr, Arc<dyn Handler>)> = Vec::new();
    if let Some(table) = &config.provider
        && let Some((address, settings)) = section::<ProviderSettings>("provider", table, &mut errors)
    {
        match settings.build(&config.surroundings, clock) {
            Ok(provider) => built.push(("provider", address, provider)),
            Err(error) => errors.add_settings("provider", error),
        }
    }
    if let Some(table) = &config.authority
        && let Some((address, settings)) = section::<AuthoritySettings>("authority", table, &mut errors)
    {
        match settings.account(&config.surroundings) {
            Ok(account) => {
                built.push(("authority", address, Authority::new(account, fetch, Arc::clone(clock), metrics)));
            }
            Err(problems) => problems.into_iter().for_each(|error| errors.add_settings("authority", error)),
        }
    }
    let built = errors.or(built).map_err(StartError::Config)?;
    built
        .into_iter()
        .map(|(name, address, handler)| Ok((name, listen(&format!("{name}.address"), address)?, handler)))
        .collect()
}

/// A section's `address`, and the rest of it.
fn section<S: DeserializeOwned>(name: &str, table: &Table, errors: &mut ConfigErrors) -> Option<(SocketAddr, S)> {
    let mut table = table.clone();
    let address = match table.remove("address") {
        Some(Value::String(text)) => text.parse().map_err(|_| format!("`{text}` is no address")),
        Some(_) => Err("is no text".to_owned()),
        None => Err("is missing".to_owned()),
    };
    let address = address.map_err(|problem| {
        SettingsError::at("address", format!("{problem}; expected an address and port such as 127.0.0.1:9400"))
    });
    let address = address.map_err(|error| errors.add_settings(name, error)).ok();
    let settings = parse_table(table).map_err(|error| errors.add_settings(name, error)).ok();
    address.zip(settings)
}

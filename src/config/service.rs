//! `[provider]` and `[authority]`: services of the other side that run in this process, on addresses of their own.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::error::{ConfigErrors, below};
use super::{listen, shape};

/// A service and where it listens.
#[derive(Clone, Debug)]
pub struct Service<S> {
    /// Where it binds.
    pub address: SocketAddr,
    /// The rest of its section.
    pub settings: S,
}

/// The section, where there is one that makes sense.
pub(super) fn read<S: DeserializeOwned>(
    table: Option<Table>,
    path: &str,
    errors: &mut ConfigErrors,
) -> Option<Service<S>> {
    let mut table = table?;
    let key = below(path, "address");
    let address = match table.remove("address") {
        Some(Value::String(text)) => listen::address(Some(&text), &key, errors),
        Some(_) => {
            errors.add(key, "is no text; expected an address and port such as 127.0.0.1:9400");
            None
        }
        None => listen::address(None, &key, errors),
    };
    let settings = shape::read(table, path, errors);
    Some(Service { address: address?, settings: settings? })
}

//! `[provider]` and `[authority]`: services of the other side that run in this process, on addresses of their own.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::error::{ConfigErrors, below};
use super::listen::{self, TlsFiles};
use super::{file, shape};
use crate::built_in::Surroundings;
use crate::tls::ServerIdentity;

/// A service and where it listens.
#[derive(Clone, Debug)]
pub struct Service<S> {
    /// Where it binds.
    pub address: SocketAddr,
    /// The files of its certificate chain and key; absent: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The rest of its section.
    pub settings: S,
}

impl<S> Service<S> {
    /// What it shows to those who connect, as `section` has it; none where it speaks plain HTTP.
    pub fn identity(&self, section: &str, errors: &mut ConfigErrors) -> Option<ServerIdentity> {
        let files = self.tls.as_ref()?;
        errors.keep(below(section, "tls"), ServerIdentity::load(&files.certificate, &files.key))
    }
}

/// The section, where there is one that makes sense.
pub(super) fn read<S: DeserializeOwned>(
    table: Option<Table>,
    path: &str,
    surroundings: &Surroundings,
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
    let key = below(path, "tls");
    let tls = match table.remove("tls") {
        Some(Value::Table(tls)) => shape::read::<file::Tls>(tls, &key, errors).and_then(|tls| {
            if tls.client_ca.is_some() || tls.client_crl.is_some() || tls.client_auth.is_some() {
                errors.add(key.clone(), "asks for client certificates, which only [listen.*] does");
            }
            listen::tls_files(tls, &key, surroundings, errors)
        }),
        Some(_) => {
            errors.add(key, "is no table; expected { certificate = \"tls.crt\", key = \"tls.key\" }");
            None
        }
        None => None,
    };
    let settings = shape::read(table, path, errors);
    Some(Service { address: address?, tls, settings: settings? })
}

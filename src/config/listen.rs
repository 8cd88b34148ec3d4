//! `[listen.<name>]`: where people come in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::error::{ConfigErrors, below};
use super::file;
use super::public_url::PublicUrl;
use super::section_name;
use crate::built_in::Surroundings;
use crate::tls::ClientAuth;
use crate::web::network;

/// One listener.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where it binds; port 0 takes a free one.
    pub address: SocketAddr,
    /// The origin people know it by, which may be a load balancer's. Without one nobody can log in here. Where none is
    /// written for any listener, those for plain HTTP on loopback are known by their addresses.
    pub public_url: Option<PublicUrl>,
    /// The files of its certificate chain and key; absent: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whose certificates clients are asked for; absent: they are not asked.
    pub clients: Option<ClientAuth>,
    /// The peers whose `X-Forwarded-For` and `-Proto` are believed (A6).
    pub trusted_proxies: Vec<IpNet>,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Listen {
    /// It is bound at `address` now. Only from here on is it known which free port was taken where any was asked for.
    pub fn bound_at(&mut self, address: SocketAddr) {
        if self.address.port() == 0 && self.public_url.is_some() && self.public_url == own_origin(self.address) {
            self.public_url = own_origin(address);
        }
    }
}

/// The listeners that make sense. Where nobody else is served at least one must be written: a sidecar has none.
pub(super) fn listeners(
    listen: BTreeMap<String, file::Listen>,
    is_needed: bool,
    surroundings: &Surroundings,
    errors: &mut ConfigErrors,
) -> BTreeMap<Arc<str>, Listen> {
    if is_needed && listen.is_empty() {
        errors.add_missing("listen", "at least one section like [listen.main], with an `address`");
    }
    let is_any_known = listen.values().any(|shape| shape.public_url.is_some());
    let read = listen.into_iter().filter_map(|(name, shape)| {
        let path = section_name("listen", &name, errors);
        Some((name.into(), listener(shape, &path, surroundings, errors)?))
    });
    let mut listeners: BTreeMap<Arc<str>, Listen> = read.collect();
    if !is_any_known {
        for listener in listeners.values_mut().filter(|listener| listener.tls.is_none()) {
            listener.public_url = own_origin(listener.address);
        }
    }
    listeners
}

/// Each address is for one listener of ours, whatever it serves; port 0 is a free one each time.
pub(super) fn each_its_own(addresses: impl IntoIterator<Item = (String, SocketAddr)>, errors: &mut ConfigErrors) {
    let mut taken: BTreeMap<SocketAddr, String> = BTreeMap::new();
    for (section, address) in addresses.into_iter().filter(|(_, address)| address.port() != 0) {
        match taken.get(&address) {
            Some(first) => {
                let problem = format!("is the address of `{first}` too; expected one of its own");
                errors.add(below(&section, "address"), problem);
            }
            None => {
                taken.insert(address, section);
            }
        }
    }
}

fn listener(shape: file::Listen, path: &str, surroundings: &Surroundings, errors: &mut ConfigErrors) -> Option<Listen> {
    let address = address(shape.address.as_deref(), &below(path, "address"), errors);
    let public_url =
        shape.public_url.and_then(|text| errors.keep(below(path, "public_url"), text.parse::<PublicUrl>()));
    let tls_path = below(path, "tls");
    let clients = shape.tls.as_ref().and_then(|tls| client_auth(tls, &tls_path, surroundings, errors));
    let tls = shape.tls.and_then(|tls| tls_files(tls, &tls_path, surroundings, errors));
    if tls.is_some() && public_url.as_ref().is_some_and(|url| !url.is_https()) {
        errors.add(below(path, "public_url"), "is http, but the listener speaks TLS; expected https, or no `tls`");
    }
    // tickets without `Secure` never leave this machine (A9)
    let plain = public_url.as_ref().filter(|url| !url.is_https());
    if let (Some(url), Some(address)) = (plain, address.filter(|address| !address.ip().is_loopback())) {
        let problem = format!(
            "is {address}, which others reach, but `public_url` is {url}: logins would cross the network in clear text; \
             expected a loopback address such as 127.0.0.1:{}, or an https `public_url`",
            address.port()
        );
        errors.add(below(path, "address"), problem);
    }
    let trusted_proxies = shape
        .trusted_proxies
        .iter()
        .enumerate()
        .filter_map(|(i, text)| errors.keep(below(path, &format!("trusted_proxies[{i}]")), network(text)))
        .collect();
    Some(Listen { address: address?, public_url, tls, clients, trusted_proxies })
}

/// What a browser on this machine calls a listener there.
fn own_origin(address: SocketAddr) -> Option<PublicUrl> {
    address.ip().is_loopback().then(|| format!("http://{address}").parse().ok()).flatten()
}

/// An address to bind: an IP address and a port, as names may mean several.
pub(super) fn address(text: Option<&str>, path: &str, errors: &mut ConfigErrors) -> Option<SocketAddr> {
    const EXPECTED: &str = "an IP address and a port, such as 127.0.0.1:8080 or [::]:443";
    let Some(text) = text else {
        errors.add_missing(path, EXPECTED);
        return None;
    };
    errors.keep(path, text.parse().map_err(|_| format!("`{text}` is not an address; expected {EXPECTED}")))
}

/// Whose certificates clients are asked for, if they are.
fn client_auth(
    shape: &file::Tls,
    path: &str,
    surroundings: &Surroundings,
    errors: &mut ConfigErrors,
) -> Option<ClientAuth> {
    let Some(ca) = &shape.client_ca else {
        let rest = [("client_crl", shape.client_crl.is_some()), ("client_auth", shape.client_auth.is_some())];
        for (key, _) in rest.into_iter().filter(|(_, is_set)| *is_set) {
            let problem = "is of no use without `client_ca`, the certificates that sign clients' own";
            errors.add(below(path, key), problem);
        }
        return None;
    };
    Some(ClientAuth {
        ca: surroundings.path(ca),
        crl: shape.client_crl.as_ref().map(|crl| surroundings.path(crl)),
        required: shape.client_auth == Some(file::Asked::Required),
    })
}

/// The server's own side, of any listener.
pub(super) fn tls_files(
    shape: file::Tls,
    path: &str,
    surroundings: &Surroundings,
    errors: &mut ConfigErrors,
) -> Option<TlsFiles> {
    let mut file = |key: &str, file: Option<PathBuf>| {
        if file.is_none() {
            errors.add_missing(&below(path, key), "a PEM file, relative to this config");
        }
        file.map(|file| surroundings.path(&file))
    };
    let (certificate, key) = (file("certificate", shape.certificate), file("key", shape.key));
    Some(TlsFiles { certificate: certificate?, key: key? })
}

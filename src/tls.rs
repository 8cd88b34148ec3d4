//! rustls configurations: what we show and what we believe.

use std::path::Path;
use std::sync::Arc;

/// A server's certificate and key.
#[derive(Clone, Debug)]
pub struct ServerIdentity {}

/// The roots we believe in, for connections to upstreams, providers and STS.
#[derive(Clone, Debug)]
pub struct Trust {}

/// Why a certificate, key or root can't be used. Never shows key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

impl ServerIdentity {
    /// Reads a PEM chain and its key.
    pub fn load(_certificate: &Path, _key: &Path) -> Result<Self, TlsError> {
        unimplemented!("in the making")
    }

    /// A configuration that offers these protocols by ALPN.
    pub fn server_config(&self, _alpn: &[&[u8]]) -> Arc<rustls::ServerConfig> {
        unimplemented!("in the making")
    }
}

impl Trust {
    /// The system's roots, read on first use.
    pub fn system() -> Self {
        unimplemented!("in the making")
    }

    /// The system's roots and those in a PEM file.
    pub fn with_file(_path: &Path) -> Result<Self, TlsError> {
        unimplemented!("in the making")
    }

    /// A configuration that offers these protocols by ALPN.
    pub fn client_config(&self, _alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        unimplemented!("in the making")
    }
}

//! rustls configurations: what we show and what we believe.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

mod certificate;
mod clients;

pub use certificate::{CertificateError, ClientCertificate};
pub use clients::ClientAuth;

/// A server's certificate and key, and whose certificates it asks clients for. What the files held is what counts; when
/// they change it is loaded anew, and [`Handshakes`] take it over.
#[derive(Clone)]
pub struct ServerIdentity {
    certificate: PathBuf,
    base: Arc<ServerConfig>,
    /// Judges the certificates of clients; absent where none are asked for.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// How a listener shakes hands. Its clones are one: a change counts for every handshake after it, and for no connection
/// that is there already.
#[derive(Clone)]
pub struct Handshakes(Arc<ArcSwap<ServerConfig>>);

/// The roots we believe in, for connections to upstreams, providers and STS.
///
/// The system's are read when the first configuration is asked for: parsing some 150 certificates would be a good part
/// of the time to start.
///
/// Two that believe in and show the same are equal.
#[derive(Clone)]
pub struct Trust {
    extra: Arc<[CertificateDer<'static>]>,
    shown: Option<ClientIdentity>,
    base: Arc<OnceLock<ClientConfig>>,
}

/// A certificate and key that we show to servers that ask for one. Two are equal that have the same certificate, as it
/// determines the key.
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

/// Why a certificate, key or root can't be used. Never shows key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file can't be read.
    #[error("`{}` can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else than was expected.
    #[error("`{}` is not {expected}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// What it should hold, in words.
        expected: &'static str,
    },
    /// The certificate and the key don't belong together, or are of a kind that TLS can't use.
    #[error("the certificate `{}` and the key `{}` can't be used together", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
}

impl ServerIdentity {
    /// Reads a PEM chain, the server's own certificate first, and its PEM key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// Says which file, and what was expected in it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::asking(certificate, key, None)
    }

    /// The same, of a server that asks its clients for certificates.
    ///
    /// # Errors
    /// Says which file, and what was expected in it.
    pub fn asking(certificate: &Path, key: &Path, clients: Option<&ClientAuth>) -> Result<Self, TlsError> {
        let shown = certified(certificate, key)?;
        let clients = clients.map(ClientAuth::verifier).transpose()?;
        let base = Arc::new(server_base(shown, clients.clone()));
        Ok(Self { certificate: certificate.to_owned(), base, clients })
    }

    /// Whether a client that showed this certificate would get in at `now`.
    pub fn believes(&self, certificate: &ClientCertificate, now: SystemTime) -> bool {
        let Some((leaf, more)) = certificate.chain().split_first() else { return false };
        let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        self.clients.as_ref().is_some_and(|clients| clients.verify_client_cert(leaf, more, now).is_ok())
    }

    /// A configuration for TLS 1.2 and 1.3 that offers these protocols by ALPN, the preferred one first.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.base);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

impl Handshakes {
    /// By this configuration.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(ArcSwap::new(config)))
    }

    /// The configuration for the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }

    /// By this configuration from now on. Tickets of the one before are worth nothing: who comes back is looked at anew.
    pub fn change(&self, config: Arc<ServerConfig>) {
        self.0.store(config);
    }
}

impl From<Arc<ServerConfig>> for Handshakes {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(config)
    }
}

impl Trust {
    /// The system's roots, read on first use.
    pub fn system() -> Self {
        Self { extra: Arc::new([]), shown: None, base: Arc::default() }
    }

    /// The system's roots and those in a PEM file.
    ///
    /// # Errors
    /// Says what was expected in the file.
    pub fn with_file(path: &Path) -> Result<Self, TlsError> {
        let extra = certificates(path, "a PEM file of root certificates")?;
        // what the store would silently leave out is refused here, where the operator sees it
        if RootCertStore::empty().add_parsable_certificates(extra.iter().cloned()).1 > 0 {
            return Err(TlsError::Unexpected { path: path.to_owned(), expected: "a PEM file of root certificates" });
        }
        Ok(Self { extra: extra.into(), shown: None, base: Arc::default() })
    }

    /// The system's roots and those in a PEM text.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn with_pem(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "is not a PEM file of root certificates";
        let extra: Vec<_> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| WRONG)?;
        if extra.is_empty() || RootCertStore::empty().add_parsable_certificates(extra.iter().cloned()).1 > 0 {
            return Err(WRONG);
        }
        Ok(Self { extra: extra.into(), shown: None, base: Arc::default() })
    }

    /// The same roots, and this certificate for servers that ask for one.
    pub fn showing(self, identity: ClientIdentity) -> Self {
        Self { shown: Some(identity), base: Arc::default(), ..self }
    }

    /// A configuration for TLS 1.2 and 1.3 that offers these protocols by ALPN, the preferred one first.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.base.get_or_init(|| client_base(&self.extra, self.shown.as_ref())).clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

impl ClientIdentity {
    /// Reads a PEM chain, the client's own certificate first, and its PEM key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// Says which file, and what was expected in it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        certified(certificate, key).map(Self)
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.extra == other.extra && self.shown == other.shown
    }
}

impl Eq for Trust {}

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.extra.hash(state);
        self.shown.hash(state);
    }
}

impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl Eq for ClientIdentity {}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.cert.hash(state);
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").finish_non_exhaustive()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("extra", &self.extra.len()).finish_non_exhaustive()
    }
}

/// A certificate chain and its key.
fn certified(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate, "a PEM chain of certificates")?;
    // rustls's own parse error is left out: it may quote the line it stumbled over, a line of the key
    let pem = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| TlsError::Unexpected { path: key.to_owned(), expected: "a PEM private key" })?;
    let made = CertifiedKey::from_der(chain, pem, &provider());
    made.map(Arc::new).map_err(|source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

#[expect(clippy::expect_used, reason = "the provider is compiled in, and has both versions")]
fn server_base(shown: Arc<CertifiedKey>, clients: Option<Arc<dyn ClientCertVerifier>>) -> ServerConfig {
    let shown = Arc::new(SingleCertAndKey::from(shown)); // to whoever asks, whatever name they ask for
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3");
    if let Some(clients) = clients {
        // A resumed session brings back its certificate without any look at the roots, the revocation lists or the time
        // (CVE-2025-23419), so where certificates count there is none.
        let mut config = builder.with_client_cert_verifier(clients).with_cert_resolver(shown);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return config;
    }
    let mut config = builder.with_no_client_auth().with_cert_resolver(shown);
    // Resumption by tickets, so that a client may come back to any worker and costs no memory here. The keys are made
    // at start, roll every six hours and are never stored.
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config
}

#[expect(clippy::expect_used, reason = "the provider is compiled in, and has both versions")]
fn client_base(extra: &[CertificateDer<'static>], shown: Option<&ClientIdentity>) -> ClientConfig {
    let mut roots = system_roots().clone();
    roots.add_parsable_certificates(extra.iter().cloned());
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    match shown {
        None => config.with_no_client_auth(),
        Some(identity) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.0)))),
    }
}

/// What the system believes. It is one fact of the machine, so it is read once for all [`Trust`]s.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!(
                errors = ?found.errors,
                "the system has no root certificates: no TLS server will be believed unless a file of roots is given"
            );
        } else {
            tracing::debug!(added, ignored, "read the system's root certificates");
        }
        roots
    })
}

/// Passed explicitly everywhere: rustls's process-wide default depends on who was first.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}

/// The certificates of a PEM file: at least one.
fn certificates(path: &Path, expected: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unexpected = || TlsError::Unexpected { path: path.to_owned(), expected };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(|_| unexpected())?;
    if found.is_empty() { Err(unexpected()) } else { Ok(found) }
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsError> {
    let content = std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    Ok(zeroize::Zeroizing::new(content))
}

/// Self-signed identities for the tests of this crate.
#[cfg(test)]
pub(crate) mod testing {
    use super::{ServerIdentity, Trust};

    /// A folder with `tls.crt` and `tls.key` for `localhost`, 127.0.0.1 and ::1.
    pub(crate) fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        folder
    }

    /// Puts a fresh certificate and key there.
    pub(crate) fn write(folder: &std::path::Path) {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    }

    /// A server's identity, and the trust that believes it.
    pub(crate) fn pair() -> (ServerIdentity, Trust) {
        let folder = folder();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        (ServerIdentity::load(&certificate, &key).unwrap(), Trust::with_file(&certificate).unwrap())
    }
}

#[cfg(test)]
mod tests;

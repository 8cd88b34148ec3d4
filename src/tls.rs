//! rustls configurations: what we show and what we believe.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A server's certificate and key. Its clones, and every configuration made from it, show the same one, also after
/// [`ServerIdentity::reload`].
#[derive(Clone)]
pub struct ServerIdentity {
    files: Arc<Files>,
    shown: Arc<Shown>,
    base: Arc<ServerConfig>,
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
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let shown = Arc::new(Shown(ArcSwap::from_pointee(files.read()?)));
        let base = Arc::new(server_base(Arc::clone(&shown)));
        Ok(Self { files: Arc::new(files), shown, base })
    }

    /// Reads the files again. Later handshakes show what they hold now; connections that exist keep what they were
    /// shown.
    ///
    /// # Errors
    /// As [`ServerIdentity::load`]; then the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.shown.0.store(Arc::new(self.files.read()?));
        Ok(())
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
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        files.read().map(|key| Self(Arc::new(key)))
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
        f.debug_struct("ServerIdentity").field("files", &self.files).finish_non_exhaustive()
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

/// Where a server's identity is read from.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(&self.certificate, "a PEM chain of certificates")?;
        // rustls's own parse error is left out: it may quote the line it stumbled over, a line of the key
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| TlsError::Unexpected { path: self.key.clone(), expected: "a PEM private key" })?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })
    }
}

/// The certificate that is shown to whoever asks, whatever name they ask for.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[expect(clippy::expect_used, reason = "the provider is compiled in, and has both versions")]
fn server_base(shown: Arc<Shown>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(shown);
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
mod tests {
    use std::fs;

    use rustls::pki_types::ServerName;
    use tokio::io::duplex;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// A handshake in memory: what ALPN chose, and the certificate that was shown.
    async fn shake(
        identity: &ServerIdentity,
        trust: &Trust,
        offers: [&[&[u8]]; 2],
    ) -> std::io::Result<(Option<Vec<u8>>, CertificateDer<'static>)> {
        let (near, far) = duplex(1 << 16);
        let server = TlsAcceptor::from(identity.server_config(offers[0])).accept(far);
        let client = TlsConnector::from(trust.client_config(offers[1]));
        let client = client.connect(ServerName::try_from("localhost").unwrap(), near);
        let (server, client) = tokio::join!(server, client);
        let (_server, client) = (server?, client?);
        let session = client.get_ref().1;
        let shown = session.peer_certificates().unwrap()[0].clone().into_owned();
        Ok((session.alpn_protocol().map(<[u8]>::to_vec), shown))
    }

    #[tokio::test]
    async fn the_servers_preference_decides_the_protocol() {
        let (identity, trust) = testing::pair();
        let (chosen, _) = shake(&identity, &trust, [&[b"h2", b"http/1.1"], &[b"http/1.1", b"h2"]]).await.unwrap();
        assert_eq!(chosen.unwrap(), b"h2");
        // RFC 7301 §3.2: no common protocol ends the handshake
        shake(&identity, &trust, [&[b"h2"], &[b"http/1.1"]]).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_server_outside_our_roots_is_not_believed() {
        let (identity, _) = testing::pair();
        let (_, other) = testing::pair();
        shake(&identity, &other, [&[], &[]]).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_reload_shows_the_new_certificate_and_a_failed_one_keeps_the_old() {
        let folder = testing::folder();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let identity = ServerIdentity::load(&certificate, &key).unwrap();
        let first = shake(&identity, &Trust::with_file(&certificate).unwrap(), [&[], &[]]).await.unwrap().1;

        testing::write(folder.path());
        identity.reload().unwrap();
        let trust = Trust::with_file(&certificate).unwrap();
        let second = shake(&identity, &trust, [&[], &[]]).await.unwrap().1;
        assert_ne!(first, second);

        fs::write(&key, "half a key").unwrap();
        identity.reload().unwrap_err();
        assert_eq!(shake(&identity, &trust, [&[], &[]]).await.unwrap().1, second);
    }

    #[test]
    fn errors_name_the_file_and_what_was_expected() {
        let folder = testing::folder();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
        fs::write(&empty, "").unwrap();
        let told = |certificate: &Path, key: &Path| ServerIdentity::load(certificate, key).unwrap_err().to_string();

        assert!(told(&missing, &key).ends_with("missing.pem` can't be read"));
        assert!(told(&certificate, &missing).ends_with("missing.pem` can't be read"));
        assert!(told(&empty, &key).ends_with("empty.pem` is not a PEM chain of certificates"));
        assert!(told(&certificate, &certificate).ends_with("tls.crt` is not a PEM private key"));
        assert!(Trust::with_file(&empty).unwrap_err().to_string().ends_with("is not a PEM file of root certificates"));

        let other = testing::folder();
        assert!(told(&certificate, &other.path().join("tls.key")).ends_with("can't be used together"));
    }

    #[test]
    fn a_broken_key_is_not_quoted() {
        let folder = testing::folder();
        let key = folder.path().join("tls.key");
        fs::write(&key, "-----BEGIN PRIVATE canary KEY\ncanary\n").unwrap();
        let error = ServerIdentity::load(&folder.path().join("tls.crt"), &key).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}

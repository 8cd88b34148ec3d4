//! Whose certificates a listener asks clients for, and believes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{TlsError, certificates, provider, read};

/// What a listener asks of its clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientAuth {
    /// The certificates that sign clients' own, PEM.
    pub ca: PathBuf,
    /// Lists of revoked certificates, PEM. Where there are any, every certificate of a chain must be on the books of
    /// one that has not run out.
    pub crl: Option<PathBuf>,
    /// Whether a client without a certificate is turned away.
    pub required: bool,
}

impl ClientAuth {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let unusable = || TlsError::Unexpected { path: self.ca.clone(), expected: ROOTS };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca, ROOTS)? {
            // what the store would silently leave out is refused here, where the operator sees it
            roots.add(certificate).map_err(|_| unusable())?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if let Some(path) = &self.crl {
            builder = builder.with_crls(revocations(path)?).enforce_revocation_expiration();
        }
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        // the roots are good, so it is the lists that can't be read
        let path = self.crl.as_ref().unwrap_or(&self.ca);
        builder.build().map_err(|_| TlsError::Unexpected { path: path.clone(), expected: LISTS })
    }
}

fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let unexpected = || TlsError::Unexpected { path: path.to_owned(), expected: LISTS };
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| unexpected())?;
    if found.is_empty() { Err(unexpected()) } else { Ok(found) }
}

/// The verifier of all handshakes, which can be exchanged while the server runs.
pub(super) struct Clients {
    auth: ClientAuth,
    now: ArcSwap<Arc<dyn ClientCertVerifier>>,
    /// Whom clients are told to bring certificates of, as of the start.
    hints: Vec<DistinguishedName>,
}

impl Clients {
    pub(super) fn load(auth: &ClientAuth) -> Result<Arc<Self>, TlsError> {
        let verifier = auth.verifier()?;
        let hints = verifier.root_hint_subjects().to_vec();
        Ok(Arc::new(Self { auth: auth.clone(), now: ArcSwap::from_pointee(verifier), hints }))
    }

    /// What the files hold now, to be [put in place](Self::replace) when all else could be read as well.
    pub(super) fn read(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        self.auth.verifier()
    }

    /// Later handshakes are judged by this one.
    pub(super) fn replace(&self, verifier: Arc<dyn ClientCertVerifier>) {
        self.now.store(Arc::new(verifier));
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.auth.required
    }

    /// None once the roots have changed: a client that goes by old hints would hold back the certificate that is wanted,
    /// and without any it brings what it has (RFC 8446 §4.2.4).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let now = self.now.load();
        let names = |hints: &[DistinguishedName]| hints.iter().map(|name| name.as_ref().to_vec()).collect::<Vec<_>>();
        if names(now.root_hint_subjects()) == names(&self.hints) { &self.hints } else { &[] }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.now.load().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now.load().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now.load().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now.load().supported_verify_schemes()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("auth", &self.auth).finish_non_exhaustive()
    }
}

const ROOTS: &str = "a PEM file of the certificates that sign clients' own";
const LISTS: &str = "a PEM file of lists of revoked certificates (`BEGIN X509 CRL`)";

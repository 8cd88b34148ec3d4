//! Whose certificates a listener asks clients for, and believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

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
    /// What judges the certificates of a handshake.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
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

const ROOTS: &str = "a PEM file of the certificates that sign clients' own";
const LISTS: &str = "a PEM file of lists of revoked certificates (`BEGIN X509 CRL`)";

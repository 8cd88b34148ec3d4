//! The one door to C: xmlsec1 over libxml2, by samael's binding, for what the guard let through.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use samael::crypto::{AllowedSignatureAlgorithm, CertificateDer, Crypto, CryptoProvider as _, ReduceMode};

use super::reason::Reason;

/// The bytes that the signature's digest was made of: canonical XML of the signed element without that signature. Where
/// both are signed, of the Response.
///
/// samael's other modes prune the document down to what was signed, with a second parser; these bytes are what was hashed,
/// and nothing is between the digest and us.
pub(super) fn digested(text: &str, certificates: &[Vec<u8>]) -> Result<String, Reason> {
    // without a certificate samael verifies nothing and believes everything (threats 0.1); this is the last of three
    // places that know it
    if certificates.is_empty() {
        return Err(Reason::NoCertificate);
    }
    let certificates: Vec<CertificateDer> = certificates.iter().cloned().map(CertificateDer::from).collect();
    let reduce = || {
        ready();
        Crypto::reduce_xml_to_signed_with_allowed_algorithms(text, &certificates, ReduceMode::PreDigest, Some(&SHA2))
    };
    // a panic costs this message; the C code behind holds no lock of ours
    let reduced = catch_unwind(AssertUnwindSafe(reduce)).map_err(|_| Reason::Panicked)?;
    reduced.map_err(|_| Reason::Signature)
}

/// Once, before the first message: xmlsec1 forgets how to open files and connections, and keeps its errors off standard
/// error, where a stranger could fill a disk with them. The guard lets no document through that would make it do either.
fn ready() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        xmlSecErrorsDefaultCallbackEnableOutput(0);
        // initialises the library, which registers what is then taken away; it fails, as there is no such certificate
        let _ = Crypto::verify_signed_xml("<a/>", &CertificateDer::from(Vec::new()), None);
        xmlSecIOCleanupCallbacks();
    });
}

#[expect(unsafe_code, reason = "two functions of xmlsec1 without arguments to get wrong, which samael does not bind")]
unsafe extern "C" {
    safe fn xmlSecIOCleanupCallbacks();
    safe fn xmlSecErrorsDefaultCallbackEnableOutput(enabled: std::ffi::c_int);
}

/// What the guard lets through, said again to the library.
const SHA2: [AllowedSignatureAlgorithm; 6] = [
    AllowedSignatureAlgorithm::RsaSha256,
    AllowedSignatureAlgorithm::RsaSha384,
    AllowedSignatureAlgorithm::RsaSha512,
    AllowedSignatureAlgorithm::EcdsaSha256,
    AllowedSignatureAlgorithm::EcdsaSha384,
    AllowedSignatureAlgorithm::EcdsaSha512,
];

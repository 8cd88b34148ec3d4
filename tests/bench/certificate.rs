//! The one certificate that both proxies show: P-256, so that neither has the cheaper handshake.

use std::fs;
use std::path::{Path, PathBuf};

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// The folder's own, made when there is none yet.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        if !chain.exists() {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
            fs::write(&key, made.signing_key.serialize_pem()).expect("the folder is writable");
            fs::write(&chain, made.cert.pem()).expect("the folder is writable");
        }
        Self { chain, key }
    }
}

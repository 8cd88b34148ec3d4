//! The chain of signatures: each chunk's is made over the one before, the first over the head's.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::Trailer;
use crate::sigv4::digest::HexDigest;

/// Makes one signature after the other. Whoever checks them makes them too, and compares.
#[derive(Clone)]
pub struct Chain {
    key: Arc<hmac::Key>,
    /// Time and scope, a line each.
    context: Box<str>,
    /// The last one that was made.
    previous: HexDigest,
}

impl Chain {
    /// That begins with the signature of a head that was signed by `key` at `time` for `scope`.
    pub(in crate::sigv4) fn after(head: HexDigest, key: Arc<hmac::Key>, time: &str, scope: [&str; 2]) -> Self {
        let [date, end] = scope;
        Self { key, context: format!("{time}\n{date}{end}\n").into(), previous: head }
    }

    /// The signature of the next chunk, by the digest of its content.
    pub(super) fn chunk(&mut self, content: &HexDigest) -> HexDigest {
        let (previous, empty) = (self.previous.as_str(), HexDigest::EMPTY);
        let signature = self.sign(&[CHUNK, &self.context, previous, "\n", empty.as_str(), "\n", content.as_str()]);
        self.previous = signature;
        signature
    }

    /// The signature of the trailers.
    pub(super) fn trailers(&self, trailers: &[Trailer]) -> HexDigest {
        let mut text = String::new();
        trailers.iter().for_each(|trailer| text.extend([trailer.checksum.name(), ":", &trailer.value, "\n"]));
        let content = HexDigest::of(text.as_bytes());
        self.sign(&[TRAILER, &self.context, self.previous.as_str(), "\n", content.as_str()])
    }

    fn sign(&self, texts: &[&str]) -> HexDigest {
        let mut context = hmac::Context::with_key(&self.key);
        texts.iter().for_each(|text| context.update(text.as_bytes()));
        HexDigest::from_bytes(context.sign().as_ref())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

const CHUNK: &str = "AWS4-HMAC-SHA256-PAYLOAD\n";
const TRAILER: &str = "AWS4-HMAC-SHA256-TRAILER\n";

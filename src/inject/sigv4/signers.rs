//! Whom to sign for: the service and region that the route names, or those that the request's host says.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderName;

use crate::arn::SignedFor;
use crate::sigv4::Signer;

/// One signer, or one for each service and region.
#[derive(Debug)]
pub(super) enum Signers {
    Named(Box<Signer>),
    ByHost(ByHost),
}

/// Signers that were made so far.
#[derive(Debug)]
pub(super) struct ByHost {
    known: Mutex<HashMap<SignedFor, Arc<Signer>>>,
    left_out: Vec<HeaderName>,
}

/// The signer for a request.
pub(super) enum Found<'a> {
    Named(&'a Signer),
    ByHost(Arc<Signer>),
}

impl Signers {
    /// What the host says, each time. These headers are left out of signatures.
    pub(super) fn by_host(left_out: Vec<HeaderName>) -> Self {
        Self::ByHost(ByHost { known: Mutex::default(), left_out })
    }

    /// The one for this host; none where no service is known by it.
    pub(super) fn of(&self, host: &str) -> Option<Found<'_>> {
        match self {
            Self::Named(signer) => Some(Found::Named(signer)),
            Self::ByHost(by_host) => by_host.of(host).map(Found::ByHost),
        }
    }

    /// Whether this host's service is S3, or one like it.
    pub(super) fn is_s3(&self, host: &str) -> bool {
        match self {
            Self::Named(signer) => signer.service().is_s3(),
            Self::ByHost(_) => SignedFor::host(host).is_some_and(|place| place.service.is_s3()),
        }
    }
}

impl ByHost {
    fn of(&self, host: &str) -> Option<Arc<Signer>> {
        let place = SignedFor::host(host)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = known.get(&place) {
            return Some(Arc::clone(signer));
        }
        if known.len() >= MOST {
            known.clear(); // each is soon made again; it keeps nothing but a derived key
        }
        let signer = Signer::new(place.service.clone(), place.region.clone()).leaving_out(self.left_out.clone());
        let signer = Arc::new(signer);
        known.insert(place, Arc::clone(&signer));
        Some(signer)
    }
}

impl Deref for Found<'_> {
    type Target = Signer;

    fn deref(&self) -> &Signer {
        match self {
            Self::Named(signer) => signer,
            Self::ByHost(signer) => signer,
        }
    }
}

/// No app uses so many services in so many regions.
const MOST: usize = 256;

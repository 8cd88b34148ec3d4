//! How an issuer's documents are fetched.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use crate::fetch::{Fetch, Reach};
use crate::web::BoxError;

/// The way to an issuer.
#[async_trait]
pub trait Way: Debug + Send + Sync {
    /// Sends the request and reads the whole answer, as [`Fetch::send`] does.
    ///
    /// # Errors
    /// [`FetchError`](crate::fetch::FetchError), or what the way itself lacks.
    async fn send(&self, request: Request<Bytes>, reach: &Reach) -> Result<Response<Bytes>, BoxError>;
}

/// As anybody.
#[async_trait]
impl Way for Fetch {
    async fn send(&self, request: Request<Bytes>, reach: &Reach) -> Result<Response<Bytes>, BoxError> {
        Ok(Self::send(self, request, reach).await?)
    }
}

//! In the making.

use http::{HeaderMap, Method, Uri};

use crate::fault::Fault;
use crate::generation::Generation;
use crate::proxy::Arrival;
use crate::web::{Request, Response};

/// Stub.
#[derive(Debug)]
pub struct SignIn {}

/// Stub.
pub fn is_navigation(_method: &Method, _headers: &HeaderMap) -> bool {
    false
}

impl SignIn {
    pub async fn begin(
        &self,
        _g: &Generation,
        _uri: &Uri,
        _headers: &HeaderMap,
        _arrival: &Arrival<'_>,
        fault: Fault,
    ) -> Result<Response, Fault> {
        Err(fault)
    }
    pub async fn answer(&self, _g: &Generation, _request: Request, _arrival: &Arrival<'_>) -> Result<Response, Fault> {
        Err(Fault::NoRoute)
    }
}

//! The SDK's requests by our own way out: one TLS with one set of roots, bounded answers, no redirects, and no way to
//! link-local addresses (A19).

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::fetch::{Fetch, Reach};

/// [`Fetch`] as the SDK calls it.
#[derive(Clone, Debug)]
pub(crate) struct WayOut(Fetch);

impl WayOut {
    pub(crate) fn client(fetch: Fetch) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Self(fetch));
        http_client_fn(move |_settings, _components| connector.clone())
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
        let (head, body) = request.into_parts();
        let body = body.bytes().map(Bytes::copy_from_slice);
        let body = body.ok_or_else(|| ConnectorError::user("a streamed request".into()))?;
        let request = http::Request::from_parts(head, body);
        let response = self.0.send(request, &Reach::Configured).await.map_err(|e| ConnectorError::io(e.into()))?;
        let response = response.map(SdkBody::from);
        HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
    }
}

impl HttpConnector for WayOut {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

//! The way to a cluster's API server, which is asked for its keys as the pod that claviger runs in.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};

use crate::fetch::{Fetch, Reach};
use crate::files::Rotated;
use crate::identity::Materials;
use crate::jose::Way;
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::web::BoxError;

/// Both files are the platform's, which rotates them: they are looked at whenever the keys are fetched.
#[derive(Debug)]
pub(super) struct ApiServer {
    fetch: Arc<Fetch>,
    /// Believes the cluster's roots too.
    ca: Option<Rotated<Fetch>>,
    /// Says who we are.
    token: Option<Rotated<HeaderValue>>,
    metrics: Metrics,
}

impl ApiServer {
    pub(super) fn new(ca: Option<PathBuf>, token: Option<PathBuf>, materials: &Materials) -> Self {
        Self {
            fetch: Arc::clone(&materials.fetch),
            ca: ca.map(Rotated::new),
            token: token.map(Rotated::new),
            metrics: materials.metrics.clone(),
        }
    }
}

#[async_trait]
impl Way for ApiServer {
    async fn send(&self, mut request: Request<Bytes>, reach: &Reach) -> Result<Response<Bytes>, BoxError> {
        if let Some(file) = &self.token {
            let token = file.current(bearer)?;
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::clone(&token));
        }
        let fetch = match &self.ca {
            Some(file) => file.current(|pem| Ok(Fetch::new(&Trust::with_pem(pem)?).counted(&self.metrics)))?,
            None => Arc::clone(&self.fetch),
        };
        Ok(fetch.send(request, reach).await?)
    }
}

fn bearer(text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::try_from(format!("Bearer {}", text.trim_end()));
    let mut value = value.map_err(|_| "holds no token".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

//! `[endpoint.<name>]`: each on a listener of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;

use super::{App, Serving, StartError, listen};
use crate::endpoint::Asked;
use crate::server::Handler;
use crate::web::{self, Connection, Request, Response};

/// An endpoint's handler: what answers is the generation's that is in use.
#[derive(Debug)]
struct Port {
    app: Arc<App>,
    name: Arc<str>,
    at: SocketAddr,
}

/// Binds them all.
pub(super) fn bind(app: &Arc<App>) -> Result<Vec<Serving>, StartError> {
    let mut serving = Vec::new();
    for (name, endpoint) in &app.current.load().generation.endpoints {
        let listener = listen(&format!("endpoint.{name}.address"), endpoint.address())?;
        let at = listener.local_addr().map_err(StartError::Workers)?;
        let handler = Arc::new(Port { app: Arc::clone(app), name: Arc::clone(name), at });
        serving.push(Serving { name: format!("endpoint.{name}").into(), listener, tls: None, handler });
    }
    Ok(serving)
}

#[async_trait]
impl Handler for Port {
    async fn handle(&self, connection: &Connection, request: Request) -> Response {
        let (head, _) = request.into_parts();
        let generation = Arc::clone(&self.app.current.load().generation);
        let Some(endpoint) = generation.endpoints.get(&self.name) else {
            return web::answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "not in use any more\n");
        };
        let now = self.app.clock.now();
        endpoint.answer(Asked { head: &head, connection, at: self.at, broker: &self.app.broker, now }).await
    }
}

//! Where uploads end: an upstream in the bench's own process that reads everything and keeps nothing.

use std::sync::Arc;

use async_trait::async_trait;
use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::web::{self, Connection, Request, Response};
use http::StatusCode;
use http_body_util::BodyExt as _;

/// A running sink, until dropped.
#[derive(Debug)]
pub(crate) struct Sink {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    _workers: Workers,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let workers = Workers::start(1).expect("the system gives a thread");
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a port");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let manner = Manner::plain("sink", &Metrics::new());
        workers.serve(listener, manner, Arc::new(Count));
        Self { url, _workers: workers }
    }
}

/// Answers with the number of bytes that came.
struct Count;

#[async_trait]
impl Handler for Count {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        let (mut body, mut bytes) = (request.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return web::answer(StatusCode::BAD_REQUEST, "text/plain", "broken off\n") };
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        web::answer(StatusCode::OK, "text/plain", bytes.to_string())
    }
}

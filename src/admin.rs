//! `/livez`, `/readyz` and `/metrics`, on a listener of their own.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::json;

use crate::server::Handler;
use crate::telemetry::Metrics;
use crate::web::{self, Connection, Request, Response};

/// Whether claviger can serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// Not listening yet.
    Starting,
    /// Serving. What does not work now is named; a load balancer shall still send requests, as sessions go on.
    Ready {
        /// `identity.corp: …`, one entry each.
        degraded: Vec<String>,
    },
    /// Serving, but no route can work.
    Unusable {
        /// Why, one entry each.
        degraded: Vec<String>,
    },
    /// Finishing what is under way.
    Draining,
}

/// The admin listener's handler.
pub struct Admin {
    metrics: Metrics,
    readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
}

impl Admin {
    /// Shows these metrics, and what `readiness` says at the moment of asking.
    pub fn new(metrics: Metrics, readiness: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        Self { metrics, readiness: Box::new(readiness) }
    }

    fn readyz(&self) -> Response {
        let (status, word, degraded) = match (self.readiness)() {
            Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting", Vec::new()),
            Readiness::Ready { degraded } => (StatusCode::OK, "ready", degraded),
            Readiness::Unusable { degraded } => (StatusCode::SERVICE_UNAVAILABLE, "unusable", degraded),
            Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", Vec::new()),
        };
        web::json(status, &json!({ "status": word, "degraded": degraded }))
    }
}

#[async_trait]
impl Handler for Admin {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        // nothing here may be asked for from a page in somebody's browser (CVE-2026-27589): it only reads, and only by GET
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return web::answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain; charset=utf-8",
                "only GET is taken here\n",
            );
        }
        match request.uri().path() {
            "/livez" => web::answer(StatusCode::OK, "text/plain; charset=utf-8", "alive\n"),
            "/readyz" => self.readyz(),
            "/metrics" => {
                web::answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
            }
            _ => web::answer(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "there is /livez, /readyz and /metrics\n",
            ),
        }
    }
}

impl Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Body;

    async fn ask(admin: &Admin, method: Method, path: &str) -> (u16, String) {
        let request = http::Request::builder().method(method).uri(path).body(Body::Empty).unwrap();
        let connection = Connection::new("main".into(), ([127, 0, 0, 1], 1).into(), false);
        let response = admin.handle(&connection, request).await;
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect(1 << 20).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_is_503_only_while_no_request_should_come() {
        let degraded = vec!["identity.corp: can't be reached".to_owned()];
        let cases = [
            (Readiness::Starting, 503),
            (Readiness::Ready { degraded: degraded.clone() }, 200),
            (Readiness::Unusable { degraded }, 503),
            (Readiness::Draining, 503),
        ];
        for (readiness, status) in cases {
            let admin = Admin::new(Metrics::new(), {
                let readiness = readiness.clone();
                move || readiness.clone()
            });
            assert_eq!(ask(&admin, Method::GET, "/readyz").await.0, status, "{readiness:?}");
            assert_eq!(ask(&admin, Method::GET, "/livez").await.0, 200);
        }
    }

    #[tokio::test]
    async fn only_get_is_taken() {
        let admin = Admin::new(Metrics::new(), || Readiness::Starting);
        assert_eq!(ask(&admin, Method::POST, "/metrics").await.0, 405);
        assert_eq!(ask(&admin, Method::GET, "/").await.0, 404);
    }
}

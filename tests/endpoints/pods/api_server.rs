//! A cluster's keys from its API server, asked as the pod that claviger runs in.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::tls::ServerIdentity;
use claviger::web::{self, Connection, Request, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::{CREDENTIALS, Key, ask, claims, key_of, plan, token, until, write};
use crate::support::secure::certificate;

const KUBERNETES: &str = "https://kubernetes.default.svc.cluster.local";

/// As the API server answers: 401 to strangers, 406 to whoever does not take key sets by their own type.
struct ApiServer {
    keys: Mutex<Vec<Value>>,
    token: Mutex<&'static str>,
}

#[async_trait]
impl Handler for ApiServer {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let refusal = |status| web::json(status, &json!({ "kind": "Status" }));
        if request.uri().path() != "/openid/v1/jwks" {
            return refusal(StatusCode::NOT_FOUND);
        }
        if header("authorization") != format!("Bearer {}", self.token.lock().unwrap()) {
            return refusal(StatusCode::UNAUTHORIZED);
        }
        if !header("accept").contains("application/jwk-set+json") {
            return refusal(StatusCode::NOT_ACCEPTABLE);
        }
        web::json(StatusCode::OK, &json!({ "keys": *self.keys.lock().unwrap() }))
    }
}

/// Both files change while claviger runs.
#[tokio::test]
async fn the_api_server_is_asked_with_the_files_that_are_there_now() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, private) = certificate("localhost");
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
    std::fs::write(&cert, &pem).unwrap();
    std::fs::write(&key, private).unwrap();
    let tls = ServerIdentity::load(&cert, &key).unwrap().server_config(&[b"http/1.1"]);

    let signs = Key::new();
    let server = Arc::new(ApiServer { keys: Mutex::new(vec![signs.jwk.clone()]), token: Mutex::new("pod-canary-2") });
    let (workers, listener) = (Workers::start(1).unwrap(), Listener::bind(([127, 0, 0, 1], 0).into()).unwrap());
    let port = listener.local_addr().unwrap().port();
    let manner = Manner { tls: Some(tls.into()), ..Manner::plain("api-server", &Metrics::new()) };
    workers.serve(listener, manner, Arc::clone(&server) as _);

    let keys = format!(
        "jwks_uri = \"https://localhost:{port}/openid/v1/jwks\"\nca_file = \"ca.crt\"\ntoken_file = \"own-token\""
    );
    let (other_ca, _) = certificate("localhost");
    let plan = plan(KUBERNETES, &keys).file("ca.crt", &other_ca).file("own-token", "pod-canary-1\n");
    let world = plan.start().await;
    let at = world.claviger.address("endpoint.pods").await;
    let good = token(&signs, &claims(KUBERNETES, "web-1"));
    // another CA, then an old token: the keys can't be had, and that is said
    assert_eq!(ask(at, CREDENTIALS, &good).await.status, StatusCode::SERVICE_UNAVAILABLE);
    write(&world, "ca.crt", &pem);
    let refused = |log: &Vec<String>| log.iter().any(|line| line.contains("/openid/v1/jwks` answered 401"));
    until(async || (ask(at, CREDENTIALS, &good).await, world.claviger.log()).1, refused).await;
    write(&world, "own-token", "pod-canary-2\n");
    until(async || ask(at, CREDENTIALS, &good).await.status, |status| *status == StatusCode::OK).await;
    key_of(&ask(at, CREDENTIALS, &good).await);
    assert!(!world.claviger.log().iter().any(|line| line.contains("pod-canary")), "A36");
}

//! An issuer of the tokens that services show: its discovery document, its key, and a token of an hour.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use claviger::clock::{Clock, SystemClock};
use claviger::jose::Signer;
use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::web::{self, Connection, Request, Response};
use http::StatusCode;
use serde_json::json;

/// A running issuer, until its workers are dropped.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// Its URL, without a slash.
    pub(crate) url: String,
    token: String,
}

impl Issuer {
    pub(crate) fn start(workers: &Workers, metrics: &Metrics) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a port");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let (signer, _) = Signer::generate().expect("a key");
        let now = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
        let claims = json!({
            "iss": url, "sub": "nightly-report", "aud": AUDIENCE, "client_id": "nightly-report", "scope": "read write",
            "jti": "0b5a1e7c-5a0e-4a58-9d65-6d1a4a0c1c55", "groups": ["finance"],
            "iat": now.as_secs(), "exp": (now + Duration::from_secs(3600)).as_secs(),
        });
        let token = signer.sign("at+jwt", &claims).expect("a token").expose().to_owned();
        let documents = Documents {
            discovery: json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") }).to_string(),
            keys: json!({ "keys": [signer.public_jwk()] }).to_string(),
        };
        workers.serve(listener, Manner::plain("issuer", metrics), Arc::new(documents));
        Self { url, token }
    }

    /// A token, as `Authorization` has it after the scheme.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

struct Documents {
    discovery: String,
    keys: String,
}

#[async_trait]
impl Handler for Documents {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        let document = match request.uri().path() {
            "/.well-known/openid-configuration" => &self.discovery,
            "/jwks" => &self.keys,
            _ => return web::answer(StatusCode::NOT_FOUND, "text/plain", "not here\n"),
        };
        web::answer(StatusCode::OK, "application/json", document.clone())
    }
}

/// Whom the tokens are for.
pub(crate) const AUDIENCE: &str = "claviger";

//! Tokens that are put on requests: ours, which upstreams verify, and the provider's own.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::clock::{Clock as _, SystemClock};
use claviger::jose::{Expected, JoseError, KeySet, unverified, verify};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::support::world::World;

mod alb;
mod bearer;
mod identity_jwt;
mod rotation;
mod sts;

/// Where upstreams find the keys.
const KEYS: &str = "/.claviger/jwks.json";

impl World {
    /// The key set at a path, as an upstream would fetch it.
    async fn key_set(&self, path: &str) -> KeySet {
        let answer = self.get(path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(answer.header("cache-control").starts_with("public, max-age="), "{:?}", answer.headers);
        KeySet::parse(&answer.body).unwrap()
    }

    /// What the token on the last request says, as an upstream that verifies it would find out.
    async fn told(&self, audience: &str) -> Result<Map<String, Value>, JoseError> {
        let token = self.upstream.last().all("x-claviger-identity")[0].to_owned();
        self.believed(&token, audience).await
    }

    async fn believed(&self, token: &str, audience: &str) -> Result<Map<String, Value>, JoseError> {
        let keys = self.key_set(KEYS).await;
        let now = SystemClock.now();
        let expected = Expected { issuer: &self.origin, audiences: &[audience], now, leeway: Duration::ZERO };
        verify(token, &keys, &expected)
    }
}

fn kid(token: &str) -> String {
    unverified(token).unwrap();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

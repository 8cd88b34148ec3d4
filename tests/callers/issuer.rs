//! An issuer of tokens for services, with a key set that changes when it is told to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::clock::{Clock as _, SystemClock, epoch_seconds};
use claviger::jose::Signer;
use claviger::server::Handler;
use claviger::web::{self, Connection, Request, Response};
use http::StatusCode;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::KNOWN;
use crate::support::place::Place;
use crate::support::side::Side;
use crate::support::world::{Plan, World};

/// An issuer, started or not.
pub struct Issuer {
    pub side: Side,
    pub url: String,
    pub key: Key,
    published: Arc<Published>,
}

/// A key that signs whatever it is told to.
pub struct Key {
    pair: EcdsaKeyPair,
    pub jwk: Value,
}

struct Published {
    url: String,
    keys: Mutex<Vec<Value>>,
    key_sets: AtomicU32,
}

impl Issuer {
    /// Started, with one key.
    pub fn start() -> Self {
        let issuer = Self::stopped();
        issuer.side.start();
        issuer
    }

    /// Not there yet.
    pub fn stopped() -> Self {
        let (place, key) = (Place::reserve(), Key::new());
        let url = format!("http://{}/realm", place.at());
        let keys = Mutex::new(vec![key.jwk.clone()]);
        let published = Arc::new(Published { url: url.clone(), keys, key_sets: AtomicU32::new(0) });
        Self { side: Side::new("issuer", place, Arc::clone(&published) as _), url, key, published }
    }

    /// Publishes these keys from now on, and no others.
    pub fn publish(&self, keys: &[&Key]) {
        *self.published.keys.lock().unwrap() = keys.iter().map(|key| key.jwk.clone()).collect();
    }

    /// How often its key set was fetched.
    pub fn fetched(&self) -> u32 {
        self.published.key_sets.load(Ordering::SeqCst)
    }

    /// What a good token says, of `batch`, who may be in a group.
    pub fn claims(&self) -> Value {
        let now = now();
        json!({ "iss": self.url, "aud": "claviger", "sub": "batch", "azp": "batch", "iat": now, "exp": now + 600,
            "groups": ["services"], "department": "finance" })
    }

    /// A token of these claims by the issuer's key.
    pub fn token(&self, claims: &Value) -> String {
        self.key.sign(&json!({ "alg": "ES256", "kid": self.key.kid(), "typ": "at+jwt" }), &claims.to_string())
    }

    /// A good token of somebody.
    pub fn token_of(&self, sub: &str) -> String {
        let mut claims = self.claims();
        claims["sub"] = sub.into();
        self.token(&claims)
    }

    /// A claviger with these routes beside [`KNOWN`], and a source `services` that takes this issuer's tokens; `more` is
    /// part of it.
    pub async fn world(&self, more: &str, routes: &str) -> World {
        self.plan(more, &[KNOWN, routes].concat()).start().await
    }

    /// One with these routes alone, not started.
    pub fn plan(&self, more: &str, routes: &str) -> Plan {
        let source = format!(
            "[identity.services]\nkind = \"bearer\"\nissuer = \"{}\"\naudiences = [\"claviger\", \"api\"]\n{more}",
            self.url
        );
        Plan::with_routes(&format!("{source}\n{routes}"))
    }
}

impl Key {
    /// A fresh one.
    pub fn new() -> Self {
        let (signer, pem) = Signer::generate().unwrap();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).unwrap();
        Self { pair, jwk: signer.public_jwk() }
    }

    pub fn kid(&self) -> &str {
        self.jwk["kid"].as_str().unwrap()
    }

    /// A token with any header and any claims.
    pub fn sign(&self, header: &Value, claims: &str) -> String {
        forge(header, claims, |message| self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec())
    }
}

/// A token that is signed in any way.
pub fn forge(header: &Value, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims));
    let signature = encoded(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// As JWTs are written.
pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// In seconds since the epoch.
pub fn now() -> u64 {
    epoch_seconds(SystemClock.now())
}

#[async_trait]
impl Handler for Published {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        match request.uri().path() {
            "/realm/.well-known/openid-configuration" => {
                web::json(StatusCode::OK, &json!({ "issuer": self.url, "jwks_uri": format!("{}/keys", self.url) }))
            }
            "/realm/keys" => {
                self.key_sets.fetch_add(1, Ordering::SeqCst);
                web::json(StatusCode::OK, &json!({ "keys": *self.keys.lock().unwrap() }))
            }
            _ => web::json(StatusCode::NOT_FOUND, &json!({})),
        }
    }
}

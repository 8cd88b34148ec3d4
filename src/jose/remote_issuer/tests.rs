//! An issuer over real sockets that changes its mind, breaks down and recovers.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use http::HeaderValue;
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::clock::ManualClock;
use crate::jose::Signer;
use crate::secret::random_token;
use crate::server::{Handler, Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::web::{self, Connection, Request, Response};

/// What the issuer answers, and how often it was asked.
struct Far {
    address: String,
    signer: Mutex<Signer>,
    manner: Mutex<Answers>,
    documents: AtomicU32,
    key_sets: AtomicU32,
    /// Told at each key set.
    asked: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Answers {
    Well,
    Error,
    Redirect,
    Huge,
    NoKeys,
    OtherIssuer,
    KeysAt(&'static str),
}

#[async_trait]
impl Handler for Far {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        let manner = *self.manner.lock().unwrap();
        match (request.uri().path(), manner) {
            (_, Answers::Error) => web::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({})),
            (_, Answers::Redirect) => web::redirect("http://127.0.0.1:1/"),
            (_, Answers::Huge) => web::answer(StatusCode::OK, "application/json", vec![b'['; 2 << 20]),
            ("/.well-known/openid-configuration", _) => {
                self.documents.fetch_add(1, Ordering::SeqCst);
                let issuer = if matches!(manner, Answers::OtherIssuer) { "https://other.test" } else { &self.address };
                let own = format!("{}/keys", self.address);
                let keys = if let Answers::KeysAt(uri) = manner { uri } else { &own };
                web::json(StatusCode::OK, &json!({ "issuer": issuer, "jwks_uri": keys }))
            }
            _ => {
                self.key_sets.fetch_add(1, Ordering::SeqCst);
                self.asked.notify_one();
                let keys = match manner {
                    Answers::NoKeys => vec![],
                    _ => vec![self.signer.lock().unwrap().public_jwk()],
                };
                let mut response = web::json(StatusCode::OK, &json!({ "keys": keys }));
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
                response
            }
        }
    }
}

struct Scene {
    far: Arc<Far>,
    issuer: Arc<RemoteIssuer>,
    clock: Arc<ManualClock>,
    _workers: Workers,
}

impl Scene {
    fn set() -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let far = Arc::new(Far {
            address: address.clone(),
            signer: Mutex::new(Signer::generate().unwrap().0),
            manner: Mutex::new(Answers::Well),
            documents: AtomicU32::new(0),
            key_sets: AtomicU32::new(0),
            asked: Notify::new(),
        });
        let workers = Workers::start(1).unwrap();
        let manner = Manner::plain("far", &Metrics::new());
        workers.serve(listener, manner, Arc::clone(&far) as _);
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let issuer = RemoteIssuer::new(address.parse().unwrap(), fetch, Arc::clone(&clock) as _);
        Self { far, issuer, clock, _workers: workers }
    }

    fn answer(&self, manner: Answers) {
        *self.far.manner.lock().unwrap() = manner;
    }

    /// The issuer signs with another key from now on.
    fn rotate(&self) -> String {
        let (signer, _) = Signer::generate().unwrap();
        let kid = signer.kid().to_owned();
        *self.far.signer.lock().unwrap() = signer;
        kid
    }

    /// How often the discovery document and the key set were asked for.
    fn fetched(&self) -> (u32, u32) {
        (self.far.documents.load(Ordering::SeqCst), self.far.key_sets.load(Ordering::SeqCst))
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn however_many_wait_it_is_fetched_once() {
    let scene = Scene::set();
    let answers = join_all((0..50).map(|_| scene.issuer.keys())).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(scene.fetched(), (1, 1));
    assert_eq!(scene.issuer.metadata().await.unwrap()["issuer"], scene.far.address);
    assert_eq!(scene.fetched(), (1, 1));
}

/// A19: an attacker's unknown keys cost one request in a cool-down, and a real new key is found.
#[tokio::test]
async fn a19_ten_thousand_unknown_keys_are_one_fetch() {
    let scene = Scene::set();
    scene.issuer.keys().await.unwrap();
    for _ in 0..10_000 {
        scene.issuer.keys_with(&random_token(16)).await.unwrap();
    }
    assert_eq!(scene.fetched(), (1, 2));
    let kid = scene.rotate();
    assert!(!scene.issuer.keys_with(&kid).await.unwrap().has(&kid), "within the cool-down");
    scene.pass(30);
    let answers = join_all((0..50).map(|_| scene.issuer.keys_with(&kid))).await;
    assert!(answers.into_iter().all(|keys| keys.unwrap().has(&kid)));
    assert_eq!(scene.fetched(), (1, 3));
}

#[tokio::test]
async fn documents_are_renewed_ahead_of_their_end() {
    let scene = Scene::set();
    scene.issuer.keys().await.unwrap();
    scene.far.asked.notified().await;
    let kid = scene.rotate();
    scene.pass(2500);
    assert_eq!(scene.fetched(), (1, 1));
    scene.issuer.keys().await.unwrap();
    assert_eq!(scene.fetched(), (1, 1), "not due yet");
    scene.pass(100);
    assert!(!scene.issuer.keys().await.unwrap().has(&kid), "the old ones are at hand, nobody waits");
    scene.far.asked.notified().await;
    // whoever holds the flight after the renewal sees it done
    drop(scene.issuer.flight.lock().await);
    assert!(scene.issuer.keys().await.unwrap().has(&kid));
    assert_eq!(scene.fetched(), (2, 2));
}

/// A19: a broken issuer is asked ever more seldom, and what was good stays good.
#[tokio::test]
async fn a19_the_last_good_keys_stay() {
    let scene = Scene::set();
    scene.answer(Answers::Error);
    for _ in 0..10 {
        assert!(matches!(scene.issuer.keys().await, Err(JoseError::Unavailable(_))));
    }
    assert!(scene.issuer.trouble().unwrap().contains("500"));
    scene.answer(Answers::Well);
    scene.pass(1);
    let kid = scene.far.signer.lock().unwrap().kid().to_owned();
    assert!(scene.issuer.keys().await.unwrap().has(&kid), "it recovers by itself");
    assert_eq!(scene.issuer.trouble(), None);

    scene.answer(Answers::Error);
    for _ in 0..24 {
        scene.pass(3600);
        assert!(scene.issuer.keys().await.unwrap().has(&kid));
        assert!(scene.issuer.keys_with("unknown").await.unwrap().has(&kid));
    }
    assert!(scene.issuer.trouble().is_some());
    scene.answer(Answers::Well);
    let new = scene.rotate();
    scene.pass(60);
    assert!(scene.issuer.keys().await.unwrap().has(&new));
}

#[tokio::test]
async fn a19_hostile_documents_are_refused() {
    let cases = [
        (Answers::Redirect, "303"),
        (Answers::Huge, "larger than"),
        (Answers::NoKeys, "no key"),
        (Answers::OtherIssuer, "https://other.test"),
        (Answers::KeysAt("http://169.254.169.254/latest/meta-data/"), "may not go"),
        (Answers::KeysAt("http://[::ffff:169.254.169.254]/"), "may not go"),
        (Answers::KeysAt("file:///etc/passwd"), "not https"),
        (Answers::KeysAt("no url"), "relative URL"),
    ];
    for (manner, expected) in cases {
        let scene = Scene::set();
        scene.answer(manner);
        assert!(matches!(scene.issuer.keys().await, Err(JoseError::Unavailable(_))), "{manner:?}");
        let reason = scene.issuer.trouble().unwrap();
        assert!(reason.contains(expected), "{manner:?}: {reason}");
    }
}

/// An issuer without a discovery document, whose name is any text.
#[tokio::test]
async fn keys_may_stand_alone() {
    let scene = Scene::set();
    let url = format!("{}/keys", scene.far.address).parse().unwrap();
    let (fetch, clock) = (Arc::new(Fetch::new(&Trust::system())), Arc::clone(&scene.clock) as _);
    let issuer = RemoteIssuer::with_keys_at(url, "kubernetes/serviceaccount".into(), fetch, clock);
    let kid = scene.far.signer.lock().unwrap().kid().to_owned();
    assert!(issuer.keys().await.unwrap().has(&kid));
    assert_eq!(issuer.metadata().await.unwrap()["issuer"], "kubernetes/serviceaccount");
    assert_eq!(scene.fetched(), (0, 1));
    assert!(issuer.is_called("kubernetes/serviceaccount") && !issuer.is_called("kubernetes/serviceaccount/"));
    // A19: the cool-down holds here, too, and a broken key set leaves the last good one
    let next = scene.rotate();
    assert!(issuer.keys_with(&next).await.unwrap().has(&next));
    issuer.keys_with("unknown").await.unwrap();
    assert_eq!(scene.fetched(), (0, 2));
    scene.answer(Answers::Huge);
    scene.pass(24 * 3600);
    assert!(issuer.keys().await.unwrap().has(&next) && issuer.trouble().is_some());
}

#[tokio::test]
async fn an_issuer_on_https_has_its_keys_there_too() {
    let (fetch, clock) = (Arc::new(Fetch::new(&Trust::system())), Arc::new(ManualClock::at(0)));
    let issuer = RemoteIssuer::new("https://idp.invalid/".parse().unwrap(), fetch, clock);
    let refused = issuer.fetch_keys(&json!({ "jwks_uri": "http://127.0.0.1:1/keys" })).await.unwrap_err();
    assert!(refused.to_string().contains("not https"), "{refused}");
}

#[test]
fn names_are_compared_to_the_letter() {
    let named = |url: &str, name: &str| {
        let (fetch, clock) = (Arc::new(Fetch::new(&Trust::system())), Arc::new(ManualClock::at(0)));
        RemoteIssuer::new(url.parse().unwrap(), fetch, clock).is_called(name)
    };
    assert!(named("https://idp.test", "https://idp.test") && named("https://idp.test", "https://idp.test/"));
    assert!(named("https://idp.test/realm", "https://idp.test/realm"));
    for name in ["https://idp.test/realm/", "https://idp.test", "https://IDP.test/realm", "http://idp.test/realm", ""] {
        assert!(!named("https://idp.test/realm", name), "{name}");
    }
}

#[test]
fn documents_live_as_long_as_they_say_within_bounds() {
    let cases = [
        ("", 3600),
        ("max-age=600", 600),
        ("public, Max-Age=\"7200\"", 7200),
        ("max-age=1", 300),
        ("max-age=99999999", 86400),
        ("max-age=99999999999999999999999", 3600),
        ("max-age=-1", 3600),
        ("no-store", 300),
        ("no-cache, max-age=7200", 300),
    ];
    for (value, seconds) in cases {
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
        assert_eq!(life(&headers).as_secs(), seconds, "{value}");
    }
}

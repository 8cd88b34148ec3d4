//! Reloads while requests come in every way there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use claviger::web::Body;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::edit;
use crate::support::wire::{Behind, Wire};
use crate::support::world::{Plan, World, until};

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
add_prefix = "/turn-0"
inject = [
    { kind = "headers", set = { X-One = "turn-0", X-Two = "turn-0" } },
    { kind = "sigv4", service = "s3", region = "eu-west-1" },
]

[route.open]
host = "*"
path = "/open"
upstream = "{upstream}"
allow = "anyone"
add_prefix = "/turn-0"

[route.echo]
host = "*"
path = "/echo"
upstream = "{echo}"
allow = "anyone"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a33_a_hundred_reloads_fail_no_request_and_mix_none() {
    let echo = echoing().await;
    let world = Arc::new(Plan::with_routes(&ROUTES.replace("{echo}", &echo.url())).secure().start().await);
    let alice = world.ticket("alice").await;
    let mut tunnel = Wire::to(world.at).await;
    let ask = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
    tunnel.send(format!("GET /echo HTTP/1.1\r\nHost: {}\r\n{ask}", world.at)).await;
    assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));

    let load = Load { done: Arc::default(), answered: Arc::default() };
    let mut callers = JoinSet::new();
    callers.spawn(load.clone().kept_alive(Arc::clone(&world), alice.clone()));
    callers.spawn(load.clone().kept_alive(Arc::clone(&world), alice.clone()));
    callers.spawn(load.clone().one_each(Arc::clone(&world), alice));
    callers.spawn(load.clone().over_tls(Arc::clone(&world), b"http/1.1"));
    callers.spawn(load.clone().over_tls(Arc::clone(&world), b"h2"));

    for turn in 1..=100 {
        edit(&world, &format!("turn-{}\"", turn - 1), &format!("turn-{turn}\""));
        let answered = load.answered.load(Ordering::SeqCst);
        world.claviger.hang_up();
        let generation = async || world.metric("claviger_config_generation").await;
        until(generation, |now| *now > f64::from(turn)).await;
        tunnel.send("ping").await;
        assert_eq!(tunnel.bytes(4).await, b"ping");
        // every config serves some of the load
        while load.answered.load(Ordering::SeqCst) < answered + 5 && callers.len() == 5 {
            tokio::task::yield_now().await;
            if let Some(ended) = callers.try_join_next() {
                panic!("a caller gave up: {ended:?}");
            }
        }
    }
    load.done.store(true, Ordering::SeqCst);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let served = world.get("/open", "").await;
    assert_eq!(served.status, StatusCode::OK);

    // no request saw two configs
    let seen = world.upstream.seen();
    for seen in &seen {
        let turn = seen.target.split('/').nth(1).unwrap();
        let told = [seen.all("x-one"), seen.all("x-two")].concat();
        assert!(turn.starts_with("turn-") && told.iter().all(|told| *told == turn), "{} {told:?}", seen.target);
        assert_eq!(told.len(), if seen.target.contains("/open") { 0 } else { 2 });
    }
    assert_eq!(seen.last().unwrap().target, "/turn-100/open");
    // and what had not changed was neither fetched nor issued anew
    let documents = world.idp_tap.said().iter().filter(|said| said.target.contains("/.well-known/")).count();
    assert_eq!((documents, world.sts_calls()), (1, 1));
    assert_eq!(world.metric("claviger_config_generation").await, 101.0);
    assert_eq!(world.metric("claviger_reloads_total{outcome=\"reloaded\"}").await, 100.0);
}

/// Requests without an end; a failed one panics.
#[derive(Clone)]
struct Load {
    done: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    /// One after the other on one connection.
    async fn kept_alive(self, world: Arc<World>, ticket: String) {
        let stream = TokioIo::new(TcpStream::connect(world.at).await.unwrap());
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        while self.goes_on() {
            let request = http::Request::get("/app").header("host", world.at.to_string()).header("cookie", &ticket);
            sender.ready().await.unwrap();
            self.counts(sender.send_request(request.body(Body::Empty).unwrap()).await.unwrap()).await;
        }
    }

    /// Each on a connection of its own.
    async fn one_each(self, world: Arc<World>, ticket: String) {
        while self.goes_on() {
            let answer = world.get("/app/own", &ticket).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// One after the other on one TLS connection, which lives through it all.
    async fn over_tls(self, world: Arc<World>, protocol: &'static [u8]) {
        let stream = TokioIo::new(world.tls(protocol).await);
        if protocol == b"h2" {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            while self.goes_on() {
                let request = http::Request::get("https://apps.test/open/h2").body(Body::Empty).unwrap();
                self.counts(sender.send_request(request).await.unwrap()).await;
            }
        } else {
            let (mut sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            while self.goes_on() {
                let request = http::Request::get("/open/h1").header("host", "apps.test").body(Body::Empty).unwrap();
                sender.ready().await.unwrap();
                self.counts(sender.send_request(request).await.unwrap()).await;
            }
        }
    }

    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::SeqCst)
    }

    async fn counts(&self, response: http::Response<hyper::body::Incoming>) {
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Upgrades, and echoes then.
async fn echoing() -> Behind {
    Behind::new(async |mut wire: Wire| {
        wire.head().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        loop {
            let bytes = wire.some().await;
            if bytes.is_empty() {
                return;
            }
            wire.send(bytes).await;
        }
    })
    .await
}

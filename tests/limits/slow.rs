//! A14: a thousand clients that let us wait, in every way there is; each is cut within its time, and others are served.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::web::{Body, Connection, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::plan;
use crate::support::process::allow_descriptors;
use crate::support::wire::Wire;
use crate::support::world::{World, until};

const THOUSAND: usize = 1_000;

/// Connections that have each sent this, and wait.
async fn crowd(at: SocketAddr, start: &[u8], count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(start).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// Each has been closed, without an answer that lets it through.
async fn all_are_closed(streams: Vec<TcpStream>) {
    for mut stream in streams {
        let mut rest = Vec::new();
        let _: Result<_, _> = stream.read_to_end(&mut rest).await; // it may be a reset
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
}

async fn somebody_else_is_served(world: &World) {
    let mut wire = Wire::to(world.at).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a14_whoever_lets_us_wait_is_cut_and_others_are_served() {
    allow_descriptors(8_192);
    let limits = "[limits]\nconnections = 4000\nconnections_per_address = 4000\n\
                  first_byte = \"1s\"\nhandshake = \"1s\"\nhead = \"1s\"\nbody = \"1s\"\n";
    let world = plan(limits).secure().log("info").start().await;
    let secure = world.secure_at().await;
    for (at, start) in [
        (world.at, &b""[..]),
        (world.at, b"\r\n"),
        (world.at, b"GET / HTTP/1.1\r\nHost: a.te"),
        (world.at, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhi"),
        (world.at, b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi"),
        (secure, b""),
        (secure, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ] {
        let streams = crowd(at, start, THOUSAND).await;
        somebody_else_is_served(&world).await;
        all_are_closed(streams).await;
        somebody_else_is_served(&world).await;
    }
    let open = async || world.metric("claviger_connections{listener=\"main\"}").await;
    until(open, |open| *open < 10.0).await;
    for (wait, least) in [("first_byte", 2_000.0), ("head", 1_000.0), ("body", 2_000.0)] {
        let metric = format!("claviger_timeouts_total{{listener=\"main\",wait=\"{wait}\"}}");
        assert!(world.metric(&metric).await >= least, "{wait}");
    }
    assert!(world.metric("claviger_tls_handshake_failures_total{listener=\"secure\"}").await >= 2_000.0);
}

/// Answers everything with the same large body, of which there is one.
struct Large(Bytes);

#[async_trait]
impl Handler for Large {
    async fn handle(&self, _: &Connection, _request: Request) -> Response {
        Response::new(Body::full(self.0.clone()))
    }
}

/// A hundred, as each fills the system's buffers with some MiB.
#[tokio::test]
async fn a14_whoever_does_not_read_is_cut() {
    let workers = Workers::start(1).unwrap();
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let at = listener.local_addr().unwrap();
    workers.serve(listener, Manner::plain("large", &Metrics::new()), Arc::new(Large(vec![b'x'; 32 << 20].into())));
    let world = plan(&format!(
        "[route.large]\nhost = \"*\"\npath = \"/large\"\nupstream = \"http://{at}\"\nallow = \"anyone\"\n\
         [limits]\nbody = \"1s\""
    ))
    .start()
    .await;
    let streams = crowd(world.at, b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n", 100).await;
    somebody_else_is_served(&world).await;
    let cut = async || world.metric("claviger_timeouts_total{listener=\"main\",wait=\"reader\"}").await;
    until(cut, |cut| *cut >= 100.0).await;
    drop(streams);
    somebody_else_is_served(&world).await;
}

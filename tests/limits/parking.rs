//! A connection whose buffers were given back is one like any other.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{plan, world};
use crate::support::wire::{Behind, Wire};
use crate::support::world::{World, until};

/// Waits until so many are parked.
async fn parked(world: &World, listener: &str, count: usize) {
    let metric = format!("claviger_connections_parked{{listener=\"{listener}\"}}");
    until(async || world.metric(&metric).await, |parked| (*parked - count as f64).abs() < 0.5).await;
}

#[tokio::test]
async fn a_parked_connection_takes_whatever_comes_next() {
    let world = world("[limits]\npark = \"5ms\"").await;
    let mut wire = Wire::to(world.at).await;
    parked(&world, "main", 1).await; // before its first request too
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    parked(&world, "main", 1).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));

    // several requests at once
    parked(&world, "main", 1).await;
    wire.send("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
    }
    // a head in pieces, after an empty line, and another in the middle of it
    parked(&world, "main", 1).await;
    for piece in ["\r", "\n", "GE", "T / HTTP/1.1\r\nHost", ": a.test\r\n", "\r\n"] {
        wire.send(piece).await;
        world.metric("claviger_connections").await; // it has time to see the piece
    }
    assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
    // a body larger than what is looked at first
    parked(&world, "main", 1).await;
    let body = "x".repeat(100_000);
    wire.send(format!("POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.upstream.last().body.len(), body.len());
    // an answer to an upgrade that is none, and what follows it
    parked(&world, "main", 1).await;
    wire.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
    parked(&world, "main", 1).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    // and what has two readings is as wrong as ever (A3)
    parked(&world, "main", 1).await;
    wire.send("GET /hidden HTTP/1.1\nHost: a.test\n\n").await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 400"));
    assert!(world.upstream.seen().iter().all(|seen| seen.target != "/hidden"));
    parked(&world, "main", 0).await;
}

#[tokio::test]
async fn a_tunnel_opens_from_a_parked_connection() {
    let upstream = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
        loop {
            let bytes = wire.some().await;
            if bytes.is_empty() {
                return;
            }
            wire.send(bytes).await;
        }
    })
    .await;
    let route = format!(
        "[route.tunnel]\nhost = \"*\"\npath = \"/tunnel\"\nupstream = \"{}\"\nallow = \"anyone\"",
        upstream.url()
    );
    let world = world(&format!("{route}\n[limits]\npark = \"5ms\"")).await;
    let mut wire = Wire::to(world.at).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    parked(&world, "main", 1).await;
    wire.send("GET /tunnel HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(wire.bytes(5).await, b"hello");
    parked(&world, "main", 0).await; // a tunnel is never
    wire.send("again").await;
    assert_eq!(wire.bytes(5).await, b"again");
}

#[tokio::test]
async fn a_parked_connection_ends_as_others_do() {
    let world = world("[limits]\npark = \"5ms\"\nidle = \"300ms\"\nrequests_per_connection = 2").await;
    // by its client
    let mut wire = Wire::to(world.at).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    parked(&world, "main", 1).await;
    drop(wire);
    parked(&world, "main", 0).await;
    // by its time
    let mut wire = Wire::to(world.at).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    assert_eq!(wire.rest().await, "");
    // by its requests, which are counted through
    let mut wire = Wire::to(world.at).await;
    assert!(!wire.ask("/").await.to_lowercase().contains("connection: close"));
    assert!(wire.ask("/").await.to_lowercase().contains("connection: close"));
    assert_eq!(wire.rest().await, "");
}

#[tokio::test]
async fn a_stop_closes_what_is_parked_at_once() {
    let world = world("[limits]\npark = \"5ms\"").await;
    let mut wire = Wire::to(world.at).await;
    assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    parked(&world, "main", 1).await;
    let mut claviger = world.claviger;
    claviger.terminate();
    assert_eq!(wire.rest().await, "");
    let status = tokio::task::spawn_blocking(move || claviger.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn tls_is_parked_with_its_keys() {
    let world = plan("[limits]\npark = \"5ms\"\n").secure().start().await;
    let mut stream = world.tls(b"http/1.1").await;
    for n in 0..3 {
        parked(&world, "secure", 1).await;
        // two at once: the second is decrypted with the first
        stream.write_all(format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n").repeat(2).as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        while String::from_utf8_lossy(&answers).matches("\"body_length\":0").count() < 2 {
            assert!(stream.read_buf(&mut answers).await.unwrap() > 0);
        }
        assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count(), 2);
    }
}

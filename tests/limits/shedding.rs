//! 503 before anything runs out.

use super::plan;
use crate::support::gate::{Crowd, Gate};
use crate::support::routes::behind;
use crate::support::wire::{Behind, Wire};
use crate::support::world::{World, until};

/// An upstream at which requests wait, and a claviger before it.
async fn held(limits: &str) -> (World, Gate) {
    let gate = Gate::closed();
    let before = gate.clone();
    let upstream = Behind::new(move |mut wire| {
        let gate = before.clone();
        async move {
            while !wire.head().await.is_empty() {
                gate.pass().await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
            }
        }
    })
    .await;
    (plan(&[&behind(&upstream.url()), limits].concat()).start().await, gate)
}

/// So many requests that are under way: the upstream has each.
async fn under_way(world: &World, gate: &Gate, count: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::to(world.at).await;
        wire.send("GET /behind HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        wires.push(wire);
    }
    gate.until(Crowd { waiting: count, through: 0 }).await;
    wires
}

/// Until a request is refused; its head.
async fn refused(world: &World) -> String {
    let ask = async || Wire::to(world.at).await.ask("/").await;
    until(ask, |head| head.starts_with("HTTP/1.1 503")).await
}

#[tokio::test]
async fn past_so_many_requests_the_next_are_told_to_come_back() {
    let (world, gate) = held("[limits]\nrequests = 3").await;
    let mut wires = under_way(&world, &gate, 3).await;
    let head = refused(&world).await.to_lowercase();
    assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    assert_eq!(world.admin("/livez").await.status, 200);
    assert_eq!(world.admin("/readyz").await.status, 200);
    assert!(world.metric("claviger_refused_total{listener=\"main\",reason=\"requests\"}").await >= 1.0);
    gate.let_through(3);
    for wire in &mut wires {
        assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
    }
    until(async || Wire::to(world.at).await.ask("/").await, |head| head.starts_with("HTTP/1.1 200")).await;
    until(async || world.metric("claviger_requests_under_way").await, |count| *count == 0.0).await;
}

#[tokio::test]
async fn when_memory_is_short_a_few_are_served_and_no_more() {
    // A37: with less than it has itself, it is short of memory from the first look on
    let (world, gate) = held("[limits]\nmemory = \"8MiB\"\nrequests = 100").await;
    world.claviger.event(|e| e["message"] == "memory is short: refusing requests").await;
    let head = Wire::to(world.at).await.ask("/").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("connection: close"), "{head}");
    let mut wires = under_way(&world, &gate, 16).await;
    refused(&world).await;
    assert_eq!(world.admin("/readyz").await.status, 200);
    assert!(world.metric("claviger_memory_bytes").await > world.metric("claviger_memory_limit_bytes").await);
    assert!(world.metric("claviger_refused_total{listener=\"main\",reason=\"memory\"}").await >= 1.0);
    gate.let_through(16);
    for wire in &mut wires {
        assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
    }
}

//! Connections to upstreams, as `/metrics` counts them.

use crate::support::gate::Gate;
use crate::support::wire::{Behind, Wire};
use crate::support::world::{Plan, World, until};

#[tokio::test]
async fn open_and_idle_connections_are_counted() {
    let gate = Gate::closed();
    let before = gate.clone();
    let upstream = Behind::new(move |mut wire: Wire| {
        let gate = before.clone();
        async move {
            loop {
                let head = wire.head().await.to_lowercase();
                if head.contains("\r\nupgrade:") {
                    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
                    wire.some().await;
                    return;
                } else if head.is_empty() {
                    return;
                }
                if head.starts_with("get /held ") {
                    gate.pass().await;
                }
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    let route = format!("[route.app]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"anyone\"", upstream.url());
    let world = Plan::with_routes(&route).start().await;
    assert_eq!(counted(&world, &upstream).await, (0.0, 0.0));
    assert_eq!(world.get("/", "").await.status, 200);
    until(async || counted(&world, &upstream).await, |counted| *counted == (1.0, 1.0)).await;

    let mut held = Wire::to(world.at).await;
    held.send(format!("GET /held HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
    until(async || counted(&world, &upstream).await, |counted| *counted == (1.0, 0.0)).await;
    gate.let_through(1);
    assert!(held.head().await.starts_with("HTTP/1.1 200"));
    until(async || counted(&world, &upstream).await, |counted| *counted == (1.0, 1.0)).await;

    // a tunnel is never idle, and open for as long as it lasts
    let mut tunnel = Wire::to(world.at).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: x\r\n\r\n";
    tunnel.send(format!("GET /tunnel HTTP/1.1\r\nHost: {}\r\n{upgrade}", world.at)).await;
    assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(counted(&world, &upstream).await, (2.0, 1.0));
    drop(tunnel);
    until(async || counted(&world, &upstream).await, |counted| *counted == (1.0, 1.0)).await;
}

/// How many are open, and how many of them idle.
async fn counted(world: &World, upstream: &Behind) -> (f64, f64) {
    let of = |name: &str| format!("claviger_upstream_connections{name}{{upstream=\"{}\"}}", upstream.at);
    (world.metric(&of("")).await, world.metric(&of("_idle")).await)
}

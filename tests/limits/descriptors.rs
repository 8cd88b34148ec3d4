//! A37: hardly any descriptors.

use std::path::PathBuf;

use http::StatusCode;

use super::plan;
use crate::support::wire::Wire;
use crate::support::world::{World, until};

/// The other side of many connections, each of which asks for something.
async fn rush(world: &World, path: &str) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..150 {
        let mut wire = Wire::to(world.at).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        wires.push(wire);
    }
    wires
}

/// How many of them were let in, where each is answered or closed.
async fn let_in(wires: &mut [Wire]) -> usize {
    let mut count = 0;
    for wire in wires {
        count += usize::from(wire.head().await.starts_with("HTTP/1.1 200"));
    }
    count
}

async fn recovers(world: &World) {
    until(async || Wire::to(world.at).await.ask("/").await, |head| head.starts_with("HTTP/1.1 200")).await;
    assert_eq!(world.get("/private", "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a37_with_64_descriptors_it_sheds_and_recovers() {
    let world = plan("").descriptors("64:64").start().await;
    let mut wires = rush(&world, "/").await;
    let served = let_in(&mut wires).await;
    assert!((1..64).contains(&served), "{served}");
    assert_eq!(world.admin("/livez").await.status, 200);
    drop(wires);
    let mut wires = rush(&world, "/private").await;
    assert_eq!(let_in(&mut wires).await, 0, "nothing fails open");
    drop(wires);
    recovers(&world).await;
}

#[tokio::test]
async fn a37_without_any_descriptor_left_it_waits_and_recovers() {
    // more connections are asked for than there can be
    let limits = "[limits]\nconnections = 10000\nconnections_per_address = 10000\nrequests = 10000";
    let world = plan(limits).descriptors("64:64").start().await;
    let wires = rush(&world, "/private").await;
    let short = |e: &serde_json::Value| e["message"] == "no connection can be accepted";
    world.claviger.event(short).await;
    // each failure is followed by a pause, so they are few
    assert!(world.claviger.events().iter().filter(|e| short(e)).count() < 100);
    drop(wires);
    recovers(&world).await;
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let world = plan("").descriptors("64:2048").start().await;
    let limits = std::fs::read_to_string(PathBuf::from(format!("/proc/{}/limits", world.claviger.id()))).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = line.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["2048", "2048"]);
}

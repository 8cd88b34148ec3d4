//! How many connections there may be, and how much one may ask.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{plan, world};
use crate::support::client::raw;
use crate::support::process::Process;
use crate::support::wire::Wire;
use crate::support::world::{World, until};

const HERE: &str = "127.0.0.1";
const THERE: &str = "127.0.0.2";

/// So many connections from an address, each of which has been served.
async fn served(world: &World, from: &str, count: usize) -> Vec<Wire> {
    let mut wires = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::from(from, world.at).await;
        assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"), "{from}");
        wires.push(wire);
    }
    wires
}

/// What a connection that asks nothing is told.
async fn told(world: &World, from: &str) -> String {
    Wire::from(from, world.at).await.rest().await
}

/// Asks again and again on new connections until there is room for one.
async fn let_in_again(world: &World, from: &str) {
    let ask = async || {
        let mut wire = Wire::from(from, world.at).await;
        wire.ask("/").await
    };
    until(ask, |answer| answer.starts_with("HTTP/1.1 200")).await;
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_have_theirs() {
    // A14
    let world = world("[limits]\nconnections_per_address = 3").await;
    let mut first = served(&world, HERE, 3).await;
    for _ in 0..5 {
        let told = told(&world, HERE).await;
        assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1"), "{told}");
    }
    let _others = served(&world, THERE, 3).await;
    assert!(first[0].ask("/").await.starts_with("HTTP/1.1 200"), "who is in stays in");
    let refused = "claviger_refused_total{listener=\"main\",reason=\"address\"}";
    assert!((world.metric(refused).await - 5.0).abs() < f64::EPSILON);
    let told = world.claviger.events().into_iter().filter(|event| event["reason"] == "address").count();
    assert_eq!(told, 1, "a burst is told of once");

    first.pop();
    let_in_again(&world, HERE).await;
}

#[tokio::test]
async fn trusted_proxies_stand_for_many_clients() {
    let behind = "[listen.behind]\naddress = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.2\"]";
    let world = world(&format!("{behind}\n[limits]\nconnections_per_address = 2")).await;
    let at = world.claviger.address("behind").await;
    let mut wires = Vec::new();
    for _ in 0..5 {
        let mut wire = Wire::from(THERE, at).await;
        assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
        wires.push(wire);
    }
    // on the listener that does not trust it, it is a client like any other, and has too many
    assert!(told(&world, THERE).await.starts_with("HTTP/1.1 503"));
    let _own = served(&world, HERE, 2).await;
    assert!(Wire::from(HERE, at).await.rest().await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn there_are_so_many_connections_in_all_and_health_is_not_among_them() {
    let world = world("[limits]\nconnections = 4\nconnections_per_address = 4").await;
    let mut wires = served(&world, HERE, 2).await;
    wires.extend(served(&world, THERE, 2).await);
    for from in [HERE, THERE, "127.0.0.3"] {
        assert!(told(&world, from).await.starts_with("HTTP/1.1 503"));
    }
    assert_eq!(world.admin("/livez").await.status, 200);
    assert!((world.metric("claviger_connections{listener=\"main\"}").await - 4.0).abs() < f64::EPSILON);
    wires.clear();
    let_in_again(&world, "127.0.0.3").await;
}

#[tokio::test]
async fn a_connection_ends_in_good_order_after_so_many_requests() {
    let world = world("[limits]\nrequests_per_connection = 3").await;
    let mut wire = Wire::to(world.at).await;
    for n in 1..=3 {
        let head = wire.ask("/").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{n}: {head}");
        assert_eq!(head.to_lowercase().contains("connection: close"), n == 3, "{n}: {head}");
    }
    assert_eq!(wire.rest().await, "");
    // who sends on without reading gets no more answers than that
    let asked = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(5);
    assert_eq!(raw(world.at, asked).await.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(world.upstream.seen().len(), 6);
}

#[tokio::test]
async fn a_head_has_so_many_bytes_and_lines() {
    let world = world("[limits]\nhead_bytes = \"8KiB\"\nheaders = 20").await;
    let request = |lines: usize, bytes: usize| {
        let lines = "X: y\r\n".repeat(lines);
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{lines}Y: {}\r\n\r\n", "y".repeat(bytes))
    };
    for (lines, bytes, status) in [(0, 7_000, 200), (17, 1, 200), (18, 1, 431), (0, 9_000, 431)] {
        let answer = raw(world.at, request(lines, bytes)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{lines} {bytes}: {answer}");
    }
    // each has its line and is counted
    let refused = "claviger_refused_total{listener=\"main\",reason=\"head\"}";
    until(async || world.metric(refused).await, |count| (*count - 2.0).abs() < f64::EPSILON).await;
    let lines = |claviger: &Process| claviger.events().into_iter().filter(|event| event["fault"] == "head").count();
    world.claviger.until(|claviger| (lines(claviger) == 2).then_some(())).await;
}

#[tokio::test]
async fn what_is_refused_at_the_door_has_an_access_line() {
    let world = world("").await;
    for (request, fault, status) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "framing", 400),
        ("\u{1}\u{2}\r\n\r\n", "malformed", 400),
        ("get /there HTTP/1.1\r\nHost: a.test\r\n\r\n", "ambiguous", 400),
        ("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", "method", 405),
    ] {
        raw(world.at, request).await;
        let line = world.claviger.event(|e| e["target"] == "claviger::access" && e["fault"] == fault).await;
        assert_eq!((&line["status"], &line["client"]), (&status.into(), &HERE.into()), "{line}");
        let refused = format!("claviger_refused_total{{listener=\"main\",reason=\"{fault}\"}}");
        assert!((world.metric(&refused).await - 1.0).abs() < f64::EPSILON, "{fault}");
    }
    let line = world.claviger.event(|e| e["fault"] == "ambiguous").await;
    assert_eq!((&line["path"], &line["host"]), (&"/there".into(), &"a.test".into()));
    // a flood of them is counted whole, and told of now and then
    for _ in 0..200 {
        raw(world.at, "\n").await;
    }
    let framing = "claviger_refused_total{listener=\"main\",reason=\"framing\"}";
    // each when its connection has ended, for us too
    until(async || world.metric(framing).await, |count| *count >= 201.0).await;
    assert_eq!(world.metric(framing).await, 201.0);
    let lines = world.claviger.events().into_iter().filter(|event| event["fault"] == "framing").count();
    assert!(lines < 200, "{lines}");
}

#[tokio::test]
async fn a_reload_changes_the_limits_of_who_comes_after_it() {
    let world = world("[limits]\nconnections_per_address = 2\n\n[limits.rate]\nper_address = \"off\"").await;
    let mut first = served(&world, HERE, 2).await;
    assert!(told(&world, HERE).await.starts_with("HTTP/1.1 503"));
    let file = world.file("claviger.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replace("connections_per_address = 2", "connections_per_address = 4\nrequests_per_connection = 2")
        .replace("per_address = \"off\"", "per_address = { requests = 1, per = \"1h\", burst = 5 }");
    std::fs::write(&file, text).unwrap();
    world.claviger.hang_up();
    world.claviger.event(|e| e["message"] == "the config was reloaded").await;

    let mut second = served(&world, HERE, 2).await;
    assert!(told(&world, HERE).await.starts_with("HTTP/1.1 503"));
    assert!(second[0].ask("/").await.to_lowercase().contains("connection: close"));
    assert!(!first[0].ask("/").await.to_lowercase().contains("connection: close"), "it came before");
    assert!(first[0].ask("/").await.starts_with("HTTP/1.1 200"));
    assert!(first[1].ask("/").await.starts_with("HTTP/1.1 429"));
}

#[tokio::test]
async fn a_full_house_says_nothing_where_tls_is_expected() {
    let world = plan("[limits]\nconnections = 1\n").secure().start().await;
    let _first = served(&world, HERE, 1).await;
    let at = world.secure_at().await;
    let mut told = Vec::new();
    TcpStream::connect(at).await.unwrap().read_to_end(&mut told).await.unwrap();
    assert_eq!(told, b"");
}

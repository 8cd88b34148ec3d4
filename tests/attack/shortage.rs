//! A37: too few descriptors, too little memory, and a stop under load.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use crate::bystander::Bystander;
use crate::group::Group;
use crate::memory::settled_mib;
use crate::report::Report;
use crate::site::Site;
use crate::slow::connect;
use crate::support::gate::Crowd;
use crate::support::wire::Wire;
use crate::support::world::until;

pub async fn check(report: Report) {
    descriptors(&report).await;
    memory(&report).await;
    stop(&report).await;
}

/// More connections than there are descriptors: who is there already is served, and who comes later again when there
/// is room.
async fn descriptors(report: &Report) {
    let site = Site::start().await;
    let at = site.world.at;
    let mut known = Wire::to(at).await;
    assert!(ask(&mut known, at).await, "served before");
    let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let limited = Command::new("prlimit").args(["--pid", &site.world.claviger.id().to_string(), &limit]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit works");

    let mut crowd = Vec::new();
    for n in 0..4 * DESCRIPTORS {
        let mut wire = Wire::to(at).await;
        // every other one asks for something
        if n % 2 == 0 {
            wire.send(format!("GET /public/{n} HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
        }
        crowd.push(wire);
    }
    let answered = tokio::time::timeout(SOON, head(&mut known, at)).await.unwrap_or_default();
    let seen = answered.lines().next().unwrap_or("nothing").to_owned();
    let shed = answered.starts_with("HTTP/1.1 503") && answered.to_lowercase().contains("\r\nretry-after:");
    let well = answered.starts_with("HTTP/1.1 200") || shed;
    let name = format!("{DESCRIPTORS} descriptors, {} connections: who was there is told", crowd.len());
    report.row("A37", name, "200, or 503 with Retry-After", seen, well);
    drop(crowd);
    after(report, &site).await;
}

/// A crowd whose unread answers are more than there is memory.
async fn memory(report: &Report) {
    let name = format!("{CROWD} clients that do not read 8 MiB, {MIB} MiB for all");
    let Some(group) = Group::with(MIB) else {
        return report.skipped("A37", &name, "no control group can be made here");
    };
    let entrance = group.entrance();
    let site = Site::with("", |plan| plan.under(&entrance.each_ref().map(String::as_str))).await;
    let known = site.world.metric("claviger_memory_limit_bytes").await / f64::from(1 << 20);
    report.equal("A37", format!("{MIB} MiB for all: claviger knows of"), MIB as f64, known);
    let at = site.world.at;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        let from = Ipv4Addr::new(127, 2, (n / 250) as u8, (n % 250) as u8 + 1);
        let mut stream = connect(from, at).await.expect("a connection");
        let request = b"GET /public?bytes=8388608 HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let _: Result<_, _> = stream.write_all(request).await; // it may be refused by then
        crowd.push(stream);
    }
    let told = head(&mut Wire::to(at).await, at).await;
    settled_mib(site.world.claviger.id()).await;
    let shed = told.starts_with("HTTP/1.1 503") && told.to_lowercase().contains("\r\nretry-after:");
    let seen = told.lines().next().unwrap_or("nothing");
    report.row("A37", &name, "200, or 503 with Retry-After", seen, shed || told.starts_with("HTTP/1.1 200"));
    drop(crowd);
    let is_short = async || site.world.metric("claviger_memory_bytes").await > known * 0.85 * f64::from(1 << 20);
    until(is_short, |is_short| !is_short).await;
    after(report, &site).await;
}

/// When what was too much is gone, all is as before.
async fn after(report: &Report, site: &Site) {
    let at = site.world.at;
    let alive = std::path::Path::new(&format!("/proc/{}/exe", site.world.claviger.id())).exists();
    report.equal("A37", "and the process lives", true, alive);
    let begun = Instant::now();
    let mut again = false;
    while !again && begun.elapsed() < SOON {
        let mut wire = Wire::to(at).await;
        again = tokio::time::timeout(SOON, ask(&mut wire, at)).await.unwrap_or(false);
    }
    report.row(
        "A37",
        "when the crowd is gone, a new client is served",
        format!("within {SOON:?}"),
        format!("{again} after {:.1?}", begun.elapsed()),
        again,
    );
    let fared = Bystander::with(300, at).await;
    let seen = format!("{} served, {} failed", fared.served(), fared.failed());
    report.row("A37", "and all who come after it", "none fails", seen, fared.served() > 0 && fared.failed() == 0);
    let opened = open_private(site).await;
    report.equal("A37", "and nobody is let in for it", 0, opened);
}

/// A short machine must not be an open one.
async fn open_private(site: &Site) -> usize {
    let before = site.recorder.requests().iter().filter(|seen| seen.target.starts_with("/private")).count();
    let mut wire = Wire::to(site.world.at).await;
    wire.send(format!("GET /private HTTP/1.1\r\nHost: {}\r\n\r\n", site.world.at)).await;
    wire.head().await;
    site.recorder.requests().iter().filter(|seen| seen.target.starts_with("/private")).count() - before
}

async fn head(wire: &mut Wire, at: SocketAddr) -> String {
    wire.send(format!("GET /public HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    wire.head().await
}

async fn ask(wire: &mut Wire, at: SocketAddr) -> bool {
    head(wire, at).await.starts_with("HTTP/1.1 200") && wire.bytes(2).await == b"ok"
}

/// SIGTERM while sixteen clients wait for an answer, and would go on asking: every request that had been sent is
/// answered whole.
async fn stop(report: &Report) {
    let mut site = Site::start().await;
    let (at, gate) = (site.world.at, site.recorder.gate.clone());
    let stopping = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stopping = Arc::clone(&stopping);
            std::thread::spawn(move || client(at, &stopping))
        })
        .collect();
    gate.let_through(BEFORE);
    gate.until(Crowd { waiting: CLIENTS, through: BEFORE }).await;
    let begun = Instant::now();
    stopping.store(true, Ordering::SeqCst);
    site.world.claviger.terminate();
    gate.open();
    let ended = tokio::task::spawn_blocking(move || (site.world.claviger.wait(), site)).await;
    let (status, site) = ended.unwrap();
    let took = begun.elapsed();
    let (answered, lost) =
        clients.into_iter().map(|client| client.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let seen = format!("{answered} answered, {lost} lost");
    report.row("A37", "SIGTERM under load: requests sent before it", "none lost", seen, answered > BEFORE && lost == 0);
    report.row(
        "A37",
        "and the process ends",
        "0, within the drain",
        format!("{status} after {took:.1?}"),
        status.success() && took < DRAIN,
    );
    let faults = site.recorder.faults();
    report.row(
        "A37",
        "and the upstream saw only whole requests",
        "no faults",
        format!("{faults:?}"),
        faults.is_empty(),
    );
}

/// Asks for a page again and again; how many answers came, and how many did not although they were asked for
/// before the stop.
fn client(at: SocketAddr, stopping: &AtomicBool) -> (usize, usize) {
    let (mut answered, mut stream) = (0, TcpStream::connect(at).unwrap());
    stream.set_read_timeout(Some(DRAIN)).unwrap();
    loop {
        let was_stopping = stopping.load(Ordering::SeqCst);
        let sent = stream.write_all(format!("GET /public/held HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes());
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        while sent.is_ok() && !answer.ends_with(b"\r\n\r\nok") {
            match stream.read(&mut piece) {
                Ok(length @ 1..) => answer.extend_from_slice(&piece[..length]),
                _ => break,
            }
        }
        if !answer.ends_with(b"\r\n\r\nok") {
            // a connection that closes between two requests is no loss (RFC 9112 §9.5)
            return (answered, usize::from(!was_stopping || !answer.is_empty()));
        }
        answered += 1;
        if String::from_utf8_lossy(&answer).to_lowercase().contains("connection: close") {
            return (answered, 0);
        }
    }
}

const DESCRIPTORS: usize = 64;
/// As small machines and containers have it.
const MIB: u64 = 128;
const CROWD: usize = 600;
const SOON: Duration = Duration::from_secs(10);
const CLIENTS: usize = 16;
/// Requests that are answered before the stop.
const BEFORE: usize = 64;
/// As the site's config has it, and a little.
const DRAIN: Duration = Duration::from_secs(12);

//! A3: what two readers could read differently ends at the door, and what passes is framed so that nobody can.

mod vectors;

use std::time::Duration;

use tokio::time::timeout;

use crate::recorder::Arrived;
use crate::report::Report;
use crate::site::Site;
use crate::support::wire::Wire;
use vectors::{Expected, Vector, vectors};

/// Each vector twice on one connection, between two requests that are beyond doubt.
pub async fn check(report: Report) {
    let site = Site::start().await;
    for vector in vectors() {
        let (expected, outcome) = (vector.expected.to_string(), try_out(&site, &vector).await);
        let seen = outcome.as_ref().map_or_else(Clone::clone, |()| expected.clone());
        report.row("A3", &vector.name, expected, seen, outcome.is_ok());
    }
    let alive = timeout(PATIENCE, ask(&site, "/public/last")).await.is_ok_and(|answered| answered);
    report.row("A3", "and afterwards a request", "is answered", if alive { "is answered" } else { "is not" }, alive);
}

/// `Err` with what was seen, where it is not what the vector says.
async fn try_out(site: &Site, vector: &Vector) -> Result<(), String> {
    site.recorder.clear();
    let mut wire = Wire::to(site.world.at).await;
    wire.send(format!("GET /public/before HTTP/1.1\r\n{HOST}\r\n")).await;
    wire.head().await;
    wire.bytes(2).await;
    let after = format!("GET /public/after HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n");
    wire.send([&*vector.bytes, &*vector.bytes, after.as_bytes()].concat()).await;
    let answers = timeout(PATIENCE, wire.rest()).await.map_err(|_| "the connection stays open".to_owned())?;
    let statuses = statuses(&answers);
    let arrived = site.recorder.requests();
    let targets: Vec<&str> = arrived.iter().skip(1).map(|request| &*request.target).collect();
    let ambiguous = arrived.iter().find(|request| !is_framed_once(request));
    if let Some(request) = ambiguous {
        return Err(format!("arrived as {:?}", request.lines));
    }
    let faults = site.recorder.faults();
    if !faults.is_empty() {
        return Err(format!("a strict upstream would refuse it: {faults:?}"));
    }
    let refused = statuses == ["400"] && targets.is_empty();
    let passes = |each: &[&str]| {
        let whole: Vec<&str> = each.iter().chain(each).chain(&["/public/after"]).copied().collect();
        statuses.len() == whole.len() && statuses.iter().all(|status| status == "200") && targets == whole
    };
    let met = match vector.expected {
        Expected::Refused => refused,
        Expected::RefusedOrPasses(each) => refused || passes(each),
        Expected::Passes(each) => passes(each),
    };
    if met { Ok(()) } else { Err(format!("answered {statuses:?}, upstream saw {targets:?}")) }
}

/// Once, whatever the upstream takes `-` for (CVE-2024-45614).
fn is_framed_once(request: &Arrived) -> bool {
    let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
    lengths.len() + codings.len() <= 1 && request.all("host").len() == 1
}

/// The statuses of all answers on a connection; interim ones do not count.
fn statuses(answers: &str) -> Vec<String> {
    let found = answers.match_indices("HTTP/1.").filter_map(|(at, _)| answers.get(at + 9..at + 12));
    found.filter(|status| *status != "100").map(str::to_owned).collect()
}

async fn ask(site: &Site, target: &str) -> bool {
    let mut wire = Wire::to(site.world.at).await;
    wire.send(format!("GET {target} HTTP/1.1\r\n{HOST}\r\n")).await;
    wire.head().await.starts_with("HTTP/1.1 200")
}

const HOST: &str = "Host: a.test\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

//! What credentials cost that are there already: an endpoint beside nginx serving a file of the same size.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::Full;

use crate::agent::Agent;
use crate::load::{self, Target, Wire, median};
use crate::nginx::Nginx;
use crate::other_side::OtherSide;
use crate::process::{Running, free_port};
use crate::ready::until_answered;
use crate::table::{Goal, Row, Table};

/// Every row of it; `seconds` for each run of the first.
pub(crate) async fn rows(binary: &Path, upstream: &Nginx, kept: &Path, table: &mut Table, seconds: u32) {
    let sidecar = Sidecar::start(binary, &upstream.url, kept).await;
    let answer = sidecar.ask().await;
    // beside the bodies that nginx serves as an upstream, so that it is nginx at its best: a file, and no proxy
    fs::write(kept.join("upstream/public/credentials"), &answer).expect("writable");
    println!("{} bytes of credentials", answer.len());
    from_cache(&sidecar, upstream, table, seconds);
    steady(&sidecar, kept, table);
}

/// As fast as each can.
fn from_cache(sidecar: &Sidecar, upstream: &Nginx, table: &mut Table, seconds: u32) {
    let file = format!("{}/public/credentials", upstream.url);
    let target = |group, url| Target { group, url, header: HEADER, wire: Wire::Http1 };
    let (theirs, ours) = (target(upstream.process.pid(), &*file), target(sidecar.process.pid(), &*sidecar.url));
    let mut runs = (Vec::new(), Vec::new());
    for turn in 1..=RUNS {
        runs.0.push(load::run(theirs, seconds));
        runs.1.push(load::run(ours, seconds));
        println!("{FROM_CACHE}: {turn} of {RUNS}");
    }
    let (theirs, ours) = (median(&runs.0), median(&runs.1));
    table.add(Row::load(FROM_CACHE, theirs, ours, Some(Goal { must: 0.6, aim: 0.8 }), runs));
}

/// At a pace that it keeps up with easily: what a client waits for.
fn steady(sidecar: &Sidecar, kept: &Path, table: &mut Table) {
    let log = kept.join("endpoint-steady.tsv");
    let mut load = Command::new("h2load");
    load.args(["--h1", "-t1", "-c20", "--rps=100", "-n20000", "-H", HEADER, "--log-file"]).arg(&log).arg(&sidecar.url);
    let output = load.output().expect("h2load is installed");
    let lines = fs::read_to_string(&log).unwrap_or_default();
    // when it began, its status, and how long it took in microseconds
    let answers = lines.lines().filter_map(|line| {
        let mut columns = line.split('\t').skip(1);
        Some((columns.next()?, columns.next()?.parse::<f64>().ok()?))
    });
    let mut taken: Vec<f64> = answers.filter(|(status, _)| *status == "200").map(|(_, micros)| micros).collect();
    taken.sort_by(f64::total_cmp);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(taken.len(), 20_000, "not every answer was good: {said}");
    let (p50, p99) = (taken[10_000] / 1000.0, taken[19_800] / 1000.0);
    println!("2,000 requests/s: half within {p50:.3} ms, the slowest {:.3} ms", taken[19_999] / 1000.0);
    table.add(Row::alone("container endpoint, 2,000/s, p99 ms", p99, Goal { must: 1.0, aim: 0.5 }));
}

/// A claviger of one worker with an endpoint, and the STS that it asks.
struct Sidecar {
    /// Of the credentials.
    url: String,
    process: Running,
    _other_side: OtherSide,
}

impl Sidecar {
    async fn start(binary: &Path, upstream: &str, kept: &Path) -> Self {
        let (port, endpoint_port) = (free_port(), free_port());
        let listener = format!("http://127.0.0.1:{port}");
        let other_side = OtherSide::start(&listener);
        let folder = kept.join("endpoint");
        fs::create_dir_all(&folder).expect("the folder is writable");
        let config = include_str!("endpoint.toml")
            .replace("@state@", &folder.join("state").to_string_lossy())
            .replace("@port@", &port.to_string())
            .replace("@endpoint-port@", &endpoint_port.to_string())
            .replace("@authority@", &other_side.authority)
            .replace("@upstream@", upstream);
        let file = folder.join("claviger.toml");
        for (path, text) in [("claviger.toml", &*config), ("token", TOKEN), ("workload.jwt", other_side.issuer.token())]
        {
            fs::write(folder.join(path), text).expect("writable");
        }
        let start = || Running::start("endpoint", binary, kept, |command| command.arg("serve").arg(&file));
        let (process, _) = until_answered(start, &format!("{listener}/public/small")).await;
        let url = format!("http://127.0.0.1:{endpoint_port}/v1/credentials");
        Self { url, process, _other_side: other_side }
    }

    /// The credentials, which are in the broker's cache from then on.
    async fn ask(&self) -> Bytes {
        let request = Request::get(&self.url).header(AUTHORIZATION, TOKEN).body(Full::default()).expect("a request");
        let answer = Agent::new().send(request).await.expect("claviger answers");
        assert!(answer.status.is_success(), "no credentials: {} {}", answer.status, answer.text());
        answer.body
    }
}

/// Its row's name, by which `--only` finds it.
pub(crate) const FROM_CACHE: &str = "container endpoint";
const TOKEN: &str = "b2e51f7c0a3d4968b2e51f7c0a3d4968";
const HEADER: &str = "Authorization: b2e51f7c0a3d4968b2e51f7c0a3d4968";
const RUNS: usize = 5;

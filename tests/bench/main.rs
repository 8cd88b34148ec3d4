//! The bench: claviger beside nginx, before the same upstream, on the same two cores.
//!
//! `make bench` builds the release binary and runs it. Each row is the median of alternating runs, compared by requests
//! per CPU second of the proxy's own processes; only ratios inside one run mean anything. What was seen stays in
//! `target/bench/`.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench that cannot go on says where and why")]
#![expect(clippy::print_stdout, reason = "the table is for the person who ran it")]

#[path = "../contract/agent.rs"]
mod agent;
mod claviger;
mod load;
mod nginx;
mod other_side;
#[path = "../contract/process.rs"]
mod process;
mod ready;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::claviger::Claviger;
use crate::load::{Run, Target, median, memory_mib};
use crate::nginx::Nginx;
use crate::table::{Goal, Row, Table};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let binary = PathBuf::from(arguments.next().expect("the first argument is the binary to measure"));
    let seconds = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(SECONDS);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    drop(std::fs::remove_dir_all(&kept));
    std::fs::create_dir_all(&kept).expect("the target folder is writable");

    let upstream = Nginx::upstream(&kept).await;
    let mut table = Table::default();
    starting(&binary, &upstream.url, &kept, &mut table).await;
    {
        let nginx = Nginx::proxy(&upstream.url, false, &kept).await;
        let claviger = Claviger::start("claviger", &binary, &upstream.url, false, &kept).await;
        let ticket = claviger.log_in().await;
        let idle = (memory_mib(nginx.process.pid()), memory_mib(claviger.process.pid()));
        table.add(Row::less("idle memory, MiB", idle.0, idle.1, Goal { must: 25.0, aim: 15.0 }));
        for (what, path, goal) in ROWS {
            table.add(measure(what, path, goal, (&nginx, &claviger), &ticket, seconds));
        }
    }
    {
        let nginx = Nginx::proxy(&upstream.url, true, &kept).await;
        let claviger = Claviger::start("claviger-logging", &binary, &upstream.url, true, &kept).await;
        let ticket = claviger.log_in().await;
        let (what, path, _) = ROWS[0];
        table.add(measure(&format!("{what}, both log"), path, None, (&nginx, &claviger), &ticket, seconds));
    }
    println!("\n{table}");
    table.keep(&kept);
    if table.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Five runs each, taking turns, so that a slow minute of the machine slows both.
fn measure(
    what: &str,
    path: &str,
    goal: Option<Goal>,
    (nginx, claviger): (&Nginx, &Claviger),
    ticket: &str,
    seconds: u32,
) -> Row {
    let (theirs, ours) = (format!("{}{path}", nginx.url), format!("{}{path}", claviger.url));
    let theirs = Target { group: nginx.process.pid(), url: &theirs, cookie: ticket };
    let ours = Target { group: claviger.process.pid(), url: &ours, cookie: ticket };
    let mut runs: (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for turn in 1..=RUNS {
        runs.0.push(load::run(theirs, seconds));
        runs.1.push(load::run(ours, seconds));
        println!("{what}: {turn} of {RUNS}");
    }
    let (theirs, ours) = (median(&runs.0), median(&runs.1));
    Row::load(what, theirs, ours, goal, runs)
}

/// From spawn to the first 200 through the proxy.
async fn starting(binary: &Path, upstream: &str, kept: &Path, table: &mut Table) {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        theirs.push(Nginx::proxy(upstream, false, kept).await.took.as_secs_f64() * 1000.0);
        ours.push(Claviger::start("claviger-start", binary, upstream, false, kept).await.took.as_secs_f64() * 1000.0);
    }
    theirs.sort_by(f64::total_cmp);
    ours.sort_by(f64::total_cmp);
    table.add(Row::less("spawn to first 200, ms", theirs[RUNS / 2], ours[RUNS / 2], Goal { must: 200.0, aim: 50.0 }));
}

/// What is measured, where, and the share of nginx's requests per CPU second that it is to reach.
const ROWS: [(&str, &str, Option<Goal>); 3] = [
    ("session", "/session/small", Some(Goal { must: 0.7, aim: 0.85 })),
    ("session, signed", "/signed/small", Some(Goal { must: 0.6, aim: 0.75 })),
    ("1 MiB down, signed", "/signed/large", None),
];

const RUNS: usize = 5;
const SECONDS: u32 = 5;

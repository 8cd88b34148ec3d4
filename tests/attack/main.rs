//! The attacks: what is known to have broken proxies like this one, tried on the real binary over real sockets.
//!
//! `make attack` runs it; `cargo test` does not, because it takes minutes, thousands of connections and h2spec. Each row
//! is one case: what it tries, the number that `manual::vulnerabilities` has for it, what was expected and what was
//! seen. It fails when any row is not as expected, and ends within ten minutes whatever happens. What was seen stays in
//! `target/attack/`. Names after the cache folder choose cases: `… -- <cache> a13 garbage`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_debug_implementations,
    dead_code,
    reason = "what can't go on says where and why, the rows are for people, and not all of the support is used here"
)]

mod bystander;
mod canaries;
mod framing;
mod garbage;
mod group;
mod headers;
mod http2;
mod logins;
mod memory;
mod paths;
mod recorder;
mod report;
mod shortage;
mod signing;
mod site;
mod slow;
mod store;
#[path = "../support"]
mod support {
    pub mod browser;
    pub mod chained_roles;
    pub mod client;
    pub mod gate;
    pub mod hostile;
    pub mod native;
    pub mod own_keys;
    pub mod place;
    pub mod process;
    pub mod routes;
    pub mod secure;
    pub mod side;
    pub mod tap;
    pub mod upstream;
    pub mod verdict;
    pub mod watched;
    pub mod wire;
    pub mod world;
}
mod upgrades;
mod upstreams;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use crate::report::Report;

/// A group's cases, being tried.
type Trying = Pin<Box<dyn Future<Output = ()>>>;

/// A group of cases on a site of their own.
struct Attack {
    name: &'static str,
    /// More than it ever takes; what runs into it is a row that is not as expected.
    within: Duration,
    run: fn(Report, Tools) -> Trying,
}

/// What the attacks need from outside.
#[derive(Clone, Debug)]
struct Tools {
    /// The folder of fetched programs.
    cache: PathBuf,
    /// Where results are kept.
    kept: PathBuf,
}

/// All of them, in order.
const ATTACKS: &[Attack] = &[
    Attack { name: "a3-framing", within: minutes(1), run: |report, _| Box::pin(framing::check(report)) },
    Attack { name: "a4-upgrades", within: minutes(1), run: |report, _| Box::pin(upgrades::check(report)) },
    Attack { name: "a5-paths", within: minutes(1), run: |report, _| Box::pin(paths::check(report)) },
    Attack { name: "a1-a2-a6-headers", within: minutes(1), run: |report, _| Box::pin(headers::check(report)) },
    Attack { name: "a7-a9-a10-a12-logins", within: minutes(2), run: |report, _| Box::pin(logins::check(report)) },
    Attack { name: "a28-upstreams", within: minutes(1), run: |report, _| Box::pin(upstreams::check(report)) },
    Attack { name: "a29-signing", within: minutes(1), run: |report, _| Box::pin(signing::check(report)) },
    Attack { name: "a36-canaries", within: minutes(1), run: |report, _| Box::pin(canaries::check(report)) },
    Attack { name: "a13-http2", within: minutes(3), run: |report, tools| Box::pin(http2::check(report, tools)) },
    Attack { name: "a14-slow", within: minutes(3), run: |report, _| Box::pin(slow::check(report)) },
    Attack { name: "a37-shortage", within: minutes(2), run: |report, _| Box::pin(shortage::check(report)) },
    Attack { name: "a37-store", within: minutes(1), run: |report, _| Box::pin(store::check(report)) },
    Attack { name: "garbage", within: minutes(2), run: |report, _| Box::pin(garbage::check(report)) },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let cache = PathBuf::from(arguments.next().expect("the first argument is the cache folder"));
    let chosen: Vec<String> = arguments.collect();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("attack");
    std::fs::create_dir_all(&kept).expect("the target folder is writable");
    support::process::allow_descriptors(DESCRIPTORS);

    let report = Report::default();
    let tools = Tools { cache, kept: kept.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system gives a queue");
    runtime.block_on(async {
        let begun = Instant::now();
        for attack in ATTACKS.iter().filter(|attack| chosen.is_empty() || chosen.iter().any(|name| attack.is(name))) {
            let within = attack.within.min(IN_ALL.saturating_sub(begun.elapsed()));
            let run = AssertUnwindSafe((attack.run)(report.clone(), tools.clone())).catch_unwind();
            match tokio::time::timeout(within, run).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => report.row("-", attack.name, "an end", panic_text(&*panic), false),
                Err(_) => report.row("-", attack.name, format!("an end within {within:?}"), "none", false),
            }
        }
    });
    runtime.shutdown_background();
    let (table, summary) = report.table();
    std::fs::write(kept.join("attack.txt"), format!("{table}\n{summary}")).expect("the target folder is writable");
    println!("\n{summary}");
    if report.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Attack {
    /// `a13` and `http2` and `a13-http2` all name it.
    fn is(&self, name: &str) -> bool {
        self.name == name || self.name.split('-').any(|part| part == name)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// All attacks together.
const IN_ALL: Duration = minutes(10);

/// For ten thousand connections, and those that they lead to.
const DESCRIPTORS: u32 = 18_000;

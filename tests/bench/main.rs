//! The bench: claviger beside nginx, before the same upstream, on the same two cores.
//!
//! `make bench` builds the release binary and runs it. Each row is the median of alternating runs, compared by requests
//! per CPU second of the proxy's own processes; only ratios inside one run mean anything. What was seen stays in
//! `target/bench/`.
//!
//! `--beside OTHER` before the binary measures it beside another build of claviger instead, load by load; `--only TEXT`
//! after that leaves out all but the loads with the text in their name; `--only SAML` measures SAML logins alone. `--train` measures nothing: the binary runs under the
//! load that its profile-guided build learns from.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench that cannot go on says where and why")]
#![expect(clippy::print_stdout, reason = "the table is for the person who ran it")]

#[path = "../contract/agent.rs"]
mod agent;
mod certificate;
mod chunks;
mod claviger;
mod endpoint;
mod held;
mod issuer;
mod load;
#[cfg(feature = "saml")]
mod meter;
mod nginx;
mod other_side;
#[path = "../contract/process.rs"]
#[expect(dead_code, reason = "the contract ends programs in ways that a bench does not")]
mod process;
mod ready;
#[cfg(feature = "saml")]
mod saml;
mod sink;
/// What other tests stand on as well.
#[cfg(feature = "saml")]
#[path = "../support"]
#[expect(dead_code, unreachable_pub, clippy::unwrap_used, reason = "they have other rules, and more uses")]
mod support {
    pub(crate) mod saml_attacks;
}
mod table;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::claviger::Claviger;
use crate::load::{Run, Target, Wire, median, memory_mib};
use crate::nginx::Nginx;
use crate::sink::Sink;
use crate::table::{Goal, Row, Table};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let train = arguments.next_if(|argument| argument == "--train").is_some();
    let beside = arguments.next_if(|argument| argument == "--beside");
    let beside = beside.map(|_| PathBuf::from(arguments.next().expect("`--beside` is followed by another build")));
    let only = arguments.next_if(|argument| argument == "--only").and_then(|_| arguments.next()?.into_string().ok());
    let binary = PathBuf::from(arguments.next().expect("the first argument is the binary to measure"));
    let seconds = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(SECONDS);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(if train { "train" } else { "bench" });
    drop(std::fs::remove_dir_all(&kept));
    std::fs::create_dir_all(&kept).expect("the target folder is writable");

    let upstream = Nginx::upstream(&kept).await;
    if train {
        train::train(&binary, &upstream.url, &kept).await;
        return ExitCode::SUCCESS;
    }
    let sink = Sink::start();
    let site = Site { binary: &binary, upstream: &upstream.url, sink: &sink, kept: &kept };
    let mut table = Table::default();
    if let Some(other) = beside {
        let (theirs, ours) =
            (Site { binary: &other, ..site }.claviger("other", false).await, site.claviger("claviger", false).await);
        let sides = (&Side::claviger(&theirs).await, &Side::claviger(&ours).await);
        loads(sides, &mut table, seconds, only.as_deref().unwrap_or_default());
        println!("\n{table}");
        return ExitCode::SUCCESS;
    }
    if only.is_none() {
        starting(&site, &mut table).await;
    }
    {
        let (nginx, claviger) = (site.nginx(false).await, site.claviger("claviger", false).await);
        let ours = Side::claviger(&claviger).await;
        let theirs = Side { group: nginx.process.pid(), url: &nginx.url, tls_url: &nginx.tls_url, ..ours.clone() };
        if only.is_none() {
            let idle = (memory_mib(theirs.group), memory_mib(ours.group));
            table.add(Row::less("idle memory, MiB", idle.0, idle.1, Goal { must: 25.0, aim: 15.0 }));
        }
        loads((&theirs, &ours), &mut table, seconds, only.as_deref().unwrap_or_default());
    }
    if only.is_none() {
        logging(&site, &mut table, seconds).await;
        held(&site, &mut table).await;
    }
    if only.as_deref().is_none_or(|only| chunks::SIGNED_CHUNKS.contains(only)) {
        chunks::rows(&site.claviger("claviger-chunks", false).await, &mut table).await;
    }
    if only.as_deref().is_none_or(|only| endpoint::FROM_CACHE.contains(only)) {
        endpoint::rows(&binary, &upstream, &kept, &mut table, seconds).await;
    }
    #[cfg(feature = "saml")]
    if only.as_deref().is_none_or(|only| only == "SAML") {
        saml::rows(&binary, &upstream.url, &kept, &mut table).await;
    }
    println!("\n{table}");
    table.keep(&kept);
    if table.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What both proxies stand before, and where they leave what they write.
struct Site<'a> {
    binary: &'a Path,
    upstream: &'a str,
    sink: &'a Sink,
    kept: &'a Path,
}

impl Site<'_> {
    async fn nginx(&self, access_log: bool) -> Nginx {
        Nginx::proxy(self.upstream, &self.sink.url, access_log, self.kept).await
    }

    async fn claviger(&self, name: &str, access_log: bool) -> Claviger {
        Claviger::start(name, self.binary, self.upstream, &self.sink.url, access_log, self.kept).await
    }
}

/// From spawn to the first 200 through the proxy.
async fn starting(site: &Site<'_>, table: &mut Table) {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        theirs.push(site.nginx(false).await.took.as_secs_f64() * 1000.0);
        ours.push(site.claviger("claviger-start", false).await.took.as_secs_f64() * 1000.0);
    }
    theirs.sort_by(f64::total_cmp);
    ours.sort_by(f64::total_cmp);
    table.add(Row::less("spawn to first 200, ms", theirs[RUNS / 2], ours[RUNS / 2], Goal { must: 200.0, aim: 50.0 }));
}

/// One of the two that are measured.
#[derive(Clone)]
struct Side<'a> {
    /// Its process group.
    group: u32,
    url: &'a str,
    tls_url: &'a str,
    /// Headers that show a ticket, to the plain listener and to the one with TLS, and one that shows a token; nginx is
    /// sent the same and reads them as any header.
    ticket: [String; 2],
    bearer: String,
}

impl<'a> Side<'a> {
    /// Claviger, with somebody logged in.
    async fn claviger(claviger: &'a Claviger) -> Self {
        let ticket = claviger.log_in().await;
        Self {
            group: claviger.process.pid(),
            url: &claviger.url,
            tls_url: &claviger.tls_url,
            ticket: [false, true].map(|tls| claviger.cookie(&ticket, tls)),
            bearer: format!("Authorization: Bearer {}", claviger.other_side.issuer.token()),
        }
    }

    fn target(&'a self, load: &Load, url: &'a str) -> Target<'a> {
        let [plain, tls] = &self.ticket;
        let header = match load.shows {
            Shows::Bearer => &self.bearer,
            Shows::Ticket if load.tls => tls,
            Shows::Ticket => plain,
        };
        Target { group: self.group, url, header, wire: load.wire }
    }
}

/// Every row that is a share of the other's requests per CPU second, and has this text in its name.
fn loads(sides: (&Side<'_>, &Side<'_>), table: &mut Table, seconds: u32, only: &str) {
    for load in LOADS.iter().filter(|load| load.what.contains(only)) {
        table.add(measure(load, sides, seconds));
    }
}

/// A line for each request, by both.
async fn logging(site: &Site<'_>, table: &mut Table, seconds: u32) {
    let (nginx, claviger) = (site.nginx(true).await, site.claviger("claviger-logging", true).await);
    let ours = Side::claviger(&claviger).await;
    let theirs = Side { group: nginx.process.pid(), url: &nginx.url, ..ours.clone() };
    let load = Load { what: "session, both log", goal: None, ..LOADS[0] };
    table.add(measure(&load, (&theirs, &ours), seconds));
}

/// What stays in memory, in fresh processes, as their peak is asked for.
async fn held(site: &Site<'_>, table: &mut Table) {
    let (nginx, claviger) = (site.nginx(false).await, site.claviger("claviger-held", false).await);
    let header = claviger.cookie(&claviger.log_in().await, false);
    let sides = [(&nginx.url, nginx.process.pid()), (&claviger.url, claviger.process.pid())];
    println!("5 GiB up, through each");
    let [theirs, ours] = sides.map(|(url, group)| held::upload(&format!("{url}/upload/x"), &header, group, FIVE_GIB));
    table.add(Row::less("5 GiB up, unsigned, peak MiB", theirs, ours, Goal { must: 64.0, aim: 32.0 }));
    println!("{IDLE} idle connections, to each");
    let [theirs, ours] = sides.map(|(url, group)| held::idle(&format!("{url}/session/small"), &header, group, IDLE));
    table.add(Row::less("10,000 idle connections, MiB", theirs, ours, Goal { must: 60.0, aim: 25.0 }));
}

/// Five runs each, taking turns, so that a slow minute of the machine slows both.
fn measure(load: &Load, (theirs, ours): (&Side<'_>, &Side<'_>), seconds: u32) -> Row {
    let url = |side: &Side<'_>| format!("{}{}", if load.tls { side.tls_url } else { side.url }, load.path);
    let urls = (url(theirs), url(ours));
    let (theirs, ours) = (theirs.target(load, &urls.0), ours.target(load, &urls.1));
    let mut runs: (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for turn in 1..=RUNS {
        runs.0.push(load::run(theirs, seconds));
        runs.1.push(load::run(ours, seconds));
        println!("{}: {turn} of {RUNS}", load.what);
    }
    let (theirs, ours) = (median(&runs.0), median(&runs.1));
    Row::load(load.what, theirs, ours, load.goal, runs)
}

/// One row: what is asked and how, and the share of nginx's requests per CPU second that it is to reach.
#[derive(Clone, Copy)]
struct Load {
    what: &'static str,
    path: &'static str,
    shows: Shows,
    tls: bool,
    wire: Wire,
    goal: Option<Goal>,
}

/// How the caller says who it is.
#[derive(Clone, Copy)]
enum Shows {
    Ticket,
    Bearer,
}

const PLAIN: Load = Load { what: "", path: "", shows: Shows::Ticket, tls: false, wire: Wire::Http1, goal: None };

const LOADS: [Load; 6] = [
    Load { what: "session", path: "/session/small", goal: Some(Goal { must: 0.85, aim: 1.0 }), ..PLAIN },
    Load { what: "session, signed", path: "/signed/small", goal: Some(Goal { must: 0.75, aim: 0.87 }), ..PLAIN },
    Load {
        what: "bearer seen before",
        path: "/service/small",
        shows: Shows::Bearer,
        goal: Some(Goal { must: 0.8, aim: 0.95 }),
        ..PLAIN
    },
    Load {
        what: "session, TLS, HTTP/1.1",
        path: "/session/small",
        tls: true,
        goal: Some(Goal { must: 1.0, aim: 1.2 }),
        ..PLAIN
    },
    Load {
        what: "session, TLS, HTTP/2",
        path: "/session/small",
        tls: true,
        wire: Wire::Http2,
        goal: Some(Goal { must: 1.0, aim: 1.2 }),
        ..PLAIN
    },
    Load { what: "1 MiB down, signed", path: "/signed/large", goal: Some(Goal { must: 1.2, aim: 1.5 }), ..PLAIN },
];

const RUNS: usize = 5;
const SECONDS: u32 = 5;
const FIVE_GIB: u64 = 5 * 1024 * 1024 * 1024;
const IDLE: usize = 10_000;

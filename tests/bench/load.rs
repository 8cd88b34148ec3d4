//! One run of wrk or h2load, and what it cost the proxy.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// What is asked, of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The proxy's process group.
    pub(crate) group: u32,
    pub(crate) url: &'a str,
    /// `Name: value`.
    pub(crate) header: &'a str,
    pub(crate) wire: Wire,
}

/// What the load is spoken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wire {
    /// 64 connections of HTTP/1.1, by wrk.
    Http1,
    /// 8 connections of HTTP/2 with 8 requests each under way, by h2load.
    Http2,
}

/// What one run saw.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) requests: f64,
    /// Answers that were not 2xx or 3xx, and connections that failed.
    pub(crate) failed: f64,
    /// CPU seconds of the proxy: user and system, all threads and workers.
    pub(crate) cpu: f64,
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Resident memory right after the run.
    pub(crate) memory_mib: f64,
}

/// One thread's load, for so many seconds.
pub(crate) fn run(target: Target<'_>, seconds: u32) -> Run {
    let before = cpu_seconds(target.group);
    let mut command = match target.wire {
        Wire::Http1 => Command::new("wrk"),
        Wire::Http2 => Command::new("h2load"),
    };
    match target.wire {
        Wire::Http1 => command.args(["-t1", "-c64", "--latency", &format!("-d{seconds}s")]),
        Wire::Http2 => command.args(["-t1", "-c8", "-m8", &format!("-D{seconds}")]),
    };
    let output = command.args(["-H", target.header]).arg(target.url).output().expect("wrk and h2load are installed");
    let cpu = cpu_seconds(target.group) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = match target.wire {
        Wire::Http1 => Told::by_wrk(&text),
        Wire::Http2 => Told::by_h2load(&text),
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(told.requests > 0.0, "no answer came from {}: {}\n{text}{complaint}", target.url, output.status);
    let Told { requests, failed, per_second, p50_ms, p99_ms } = told;
    let (per_cpu_second, memory_mib) = (requests / cpu, memory_mib(target.group));
    Run { requests, failed, cpu, per_cpu_second, per_second, p50_ms, p99_ms, memory_mib }
}

/// What a load generator says of its run.
struct Told {
    requests: f64,
    failed: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Told {
    fn by_wrk(text: &str) -> Self {
        let statuses = number(text, |line| line.strip_prefix("Non-2xx or 3xx responses:"));
        let sockets: f64 = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Socket errors:"))
            .flat_map(|line| line.split(','))
            .filter_map(|part| part.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        Self {
            requests: number(text, |line| line.split_once(" requests in").map(|(count, _)| count)),
            failed: statuses + sockets,
            per_second: number(text, |line| line.strip_prefix("Requests/sec:")),
            p50_ms: milliseconds(text, "50%"),
            p99_ms: milliseconds(text, "99%"),
        }
    }

    /// It tells no percentiles.
    fn by_h2load(text: &str) -> Self {
        let part = |line: &str, name: &str| -> Option<f64> {
            line.split(',').find_map(|part| part.trim().strip_suffix(name)?.trim().parse().ok())
        };
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
        let (requests, statuses) = (line("requests: "), line("status codes: "));
        let failed = ["failed", "errored", "timeout"].iter().filter_map(|name| part(requests, name)).sum::<f64>();
        let refused = ["4xx", "5xx"].iter().filter_map(|name| part(statuses, name)).sum::<f64>();
        Self {
            requests: part(requests, "succeeded").unwrap_or_default(),
            failed: failed + refused,
            per_second: number(line("finished in "), |line| line.split(',').nth(1)?.trim().strip_suffix(" req/s")),
            p50_ms: 0.0,
            p99_ms: 0.0,
        }
    }
}

/// The run in the middle by requests per CPU second.
pub(crate) fn median(runs: &[Run]) -> Run {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.per_cpu_second.total_cmp(&b.per_cpu_second));
    sorted[sorted.len() / 2]
}

/// Resident memory of a process group, in MiB.
pub(crate) fn memory_mib(group: u32) -> f64 {
    let resident = |folder: &Path| {
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        number(&status, |line| line.strip_prefix("VmRSS:").and_then(|rest| rest.strip_suffix(" kB")))
    };
    members(group).map(|folder| resident(&folder)).sum::<f64>() / 1024.0
}

/// The most resident memory a process group ever had, in MiB.
pub(crate) fn peak_memory_mib(group: u32) -> f64 {
    let peak = |folder: &Path| {
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        number(&status, |line| line.strip_prefix("VmHWM:").and_then(|rest| rest.strip_suffix(" kB")))
    };
    members(group).map(|folder| peak(&folder)).sum::<f64>() / 1024.0
}

/// User and system time of a process group (proc(5): fields 14 and 15 of `stat`, in ticks).
pub(crate) fn cpu_seconds(group: u32) -> f64 {
    let ticks =
        |folder: &Path| -> f64 { fields(folder).iter().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum() };
    members(group).map(|folder| ticks(&folder)).sum::<f64>() / TICKS
}

/// The folders in `/proc` of a group's processes.
fn members(group: u32) -> impl Iterator<Item = std::path::PathBuf> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc").filter_map(|entry| Some(entry.ok()?.path()));
    processes.filter(move |folder| fields(folder).get(2).is_some_and(|of| *of == group.to_string()))
}

/// The fields of `stat` after the command's name, which may hold anything: the first is the state, field 3.
fn fields(folder: &Path) -> Vec<String> {
    let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    rest.split(' ').map(str::to_owned).collect()
}

/// The number in the first line that `find` finds it in; zero without one.
fn number(text: &str, find: impl Fn(&str) -> Option<&str>) -> f64 {
    text.lines().filter_map(|line| find(line.trim())).find_map(|found| found.trim().parse().ok()).unwrap_or_default()
}

/// A line of wrk's latency distribution, whatever its unit.
fn milliseconds(text: &str, percentile: &str) -> f64 {
    let latency = text.lines().find_map(|line| line.trim().strip_prefix(percentile)).unwrap_or_default().trim();
    let unit = |suffix: &str, factor: f64| Some(latency.strip_suffix(suffix)?.parse::<f64>().ok()? * factor);
    unit("us", 0.001).or_else(|| unit("ms", 1.0)).or_else(|| unit("s", 1000.0)).unwrap_or_default()
}

/// Linux shows times in hundredths of a second on every machine (USER_HZ).
const TICKS: f64 = 100.0;

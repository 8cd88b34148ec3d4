//! Memory: how much there is, how much we have, and what we do before it ends (A37).
//!
//! A process that takes more than it may is killed, with all that it was doing. So past 85 % connections are closed after
//! the request that they are at, and past 92 % no more than a few requests at a time are let in.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::crowd::{Crowd, Pressure};
use crate::telemetry::Metrics;

/// Looks at this process's memory once a second, and tells the crowd how near it is to its end. Never ends.
pub async fn mind_memory(crowd: Arc<Crowd>, metrics: Metrics) {
    metrics.describe("claviger_memory_bytes", None, "Memory that this process has (its resident set).");
    metrics.describe("claviger_memory_limit_bytes", None, "Memory that it may have; 0 where nothing limits it.");
    let used = metrics.gauge("claviger_memory_bytes", &[]);
    let most = metrics.gauge("claviger_memory_limit_bytes", &[]);
    let mut turns = interval(Duration::from_secs(1));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let limit = crowd.most().memory;
        let resident = resident_set();
        used.set(resident as f64);
        most.set(limit.unwrap_or_default() as f64);
        let pressure = limit.map_or(Pressure::None, |limit| pressure(resident, limit));
        if crowd.set_pressure(pressure) {
            match pressure {
                Pressure::None => tracing::info!(memory.bytes = resident, "there is memory enough again"),
                Pressure::High => {
                    tracing::warn!(
                        memory.bytes = resident,
                        memory.limit = limit,
                        "memory gets short: closing connections"
                    );
                }
                Pressure::Full => {
                    tracing::error!(
                        memory.bytes = resident,
                        memory.limit = limit,
                        "memory is short: refusing requests"
                    );
                }
            }
        }
    }
}

/// The limit that the system sets this process by its control group; none where it sets none (cgroups(7)).
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(|line| limit_of(line, Path::new("/sys/fs/cgroup"))).min()
}

/// By a line of `/proc/self/cgroup`: `0::/a/b` in version 2, `4:memory:/a/b` in version 1. Every group above limits too,
/// and inside a container the topmost may be all that can be seen.
fn limit_of(line: &str, mounted: &Path) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (folder, file) = match parts.next()? {
        "" => (mounted.to_owned(), "memory.max"),
        controllers if controllers.split(',').any(|one| one == "memory") => {
            (mounted.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = Path::new(parts.next()?.trim_start_matches('/'));
    let limit = |group: &Path| fs::read_to_string(folder.join(group).join(file)).ok()?.trim().parse().ok();
    // where there is none it says `max` in version 2, and a number near 2^63 in version 1
    group.ancestors().filter_map(limit).filter(|bytes| *bytes < 1 << 60).min()
}

fn pressure(resident: u64, limit: u64) -> Pressure {
    let percent = u128::from(resident) * 100 / u128::from(limit.max(1));
    match percent {
        0..85 => Pressure::None,
        85..92 => Pressure::High,
        _ => Pressure::Full,
    }
}

/// Bytes; 0 where the system does not say (proc_pid_statm(5): the second number, in pages).
fn resident_set() -> u64 {
    let Ok(statm) = fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_at_its_marks() {
        for (resident, expected) in [
            (0, Pressure::None),
            (849, Pressure::None),
            (850, Pressure::High),
            (919, Pressure::High),
            (920, Pressure::Full),
        ] {
            assert_eq!(pressure(resident, 1000), expected, "{resident}");
        }
        assert_eq!(pressure(u64::MAX, 0), Pressure::Full);
    }

    #[test]
    fn the_least_of_all_groups_limits() {
        let mounted = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("memory.max", "900\n"),
            ("a/memory.max", "max\n"),
            ("a/b/memory.max", "700\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/a/memory.limit_in_bytes", "800\n"),
        ] {
            let path = mounted.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for (line, limit) in [
            ("0::/a/b", Some(700)),
            ("0::/a", Some(900)),
            ("0::/", Some(900)),
            ("0::/gone/away", Some(900)),
            ("4:memory:/a", Some(800)),
            ("4:cpu,memory:/", None),
            ("3:cpu:/a", None),
            ("", None),
        ] {
            assert_eq!(limit_of(line, mounted.path()), limit, "{line}");
        }
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_set() > 1 << 20);
    }
}

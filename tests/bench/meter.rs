//! What single requests cost: a process's CPU time to the nanosecond, where [`load`](crate::load) has hundredths of a second.

use std::collections::BTreeMap;
use std::fs;

/// The CPU time of every thread of a process, as it was when asked.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: u32,
    threads: BTreeMap<String, u64>,
}

impl Meter {
    /// Begins to count.
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid, threads: threads(pid) }
    }

    /// Milliseconds of CPU since then. A thread that has ended since had been idle for long.
    pub(crate) fn milliseconds(&self) -> f64 {
        let since = |(thread, now): (String, u64)| now - self.threads.get(&thread).copied().unwrap_or_default();
        let nanoseconds: u64 = threads(self.pid).into_iter().map(since).sum();
        std::time::Duration::from_nanos(nanoseconds).as_secs_f64() * 1000.0
    }
}

/// Time on a CPU by thread: the first field of `schedstat` (Linux, Documentation/scheduler/sched-stats).
fn threads(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let spent = |folder: fs::DirEntry| {
        let told = fs::read_to_string(folder.path().join("schedstat")).ok()?;
        Some((folder.file_name().into_string().ok()?, told.split(' ').next()?.parse().ok()?))
    };
    tasks.filter_map(|task| spent(task.ok()?)).collect()
}

//! How much memory a process holds, now and at most.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Resident memory in MiB; 0 where the process is gone.
pub fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
    line.and_then(|kib| kib.trim().parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// The same when it does not change any more: all that was to come has come.
pub async fn settled_mib(pid: u32) -> f64 {
    let (mut beat, mut before) = (tokio::time::interval(SETTLING), f64::NEG_INFINITY);
    for _ in 0..20 {
        beat.tick().await;
        let now = resident_mib(pid);
        if (now - before).abs() < 0.5 {
            break;
        }
        before = now;
    }
    before
}

/// Looks at a process's memory all the time, on a thread of its own.
pub struct Peak {
    stop: Sender<()>,
    thread: JoinHandle<f64>,
}

impl Peak {
    pub fn watch(pid: u32) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut peak = 0.0_f64;
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(resident_mib(pid));
            }
            peak.max(resident_mib(pid))
        });
        Self { stop, thread }
    }

    /// The most it was, in MiB.
    pub fn end(self) -> f64 {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

const SETTLING: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(10);

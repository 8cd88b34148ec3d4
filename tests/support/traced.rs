//! What a process asks the kernel for, as strace sees it: whom it calls, which files it opens, what it starts.

use std::fs;
use std::process::{Command, Stdio};

/// The calls of a process and all its threads, from its start.
pub struct Trace {
    file: tempfile::NamedTempFile,
}

impl Trace {
    /// None where there is no strace, or nobody may trace (ptrace(2)); says so.
    pub fn possible() -> Option<Self> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trace = Self { file };
        let [program, arguments @ ..] = &trace.program()[..] else { unreachable!("it has a name") };
        let tried = Command::new(program).args(arguments).arg("true").stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) && trace.so_far() > 0 {
            return Some(trace);
        }
        eprintln!("NOT TRACED: no strace here, or ptrace is not allowed; a listener and a pipe stand in for it.");
        None
    }

    /// What starts a process under it and becomes that process.
    pub fn program(&self) -> Vec<String> {
        let file = self.file.path().to_str().unwrap();
        let calls = format!("trace={}", CALLS.join(","));
        // the tracer is a grandchild (-D); only the calls that are looked at stop the process (--seccomp-bpf)
        let words = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", &calls, "-o", file];
        words.map(str::to_owned).to_vec()
    }

    /// A place in the trace: whatever was called before an answer stands before it, as each line is written before its
    /// call goes on.
    pub fn so_far(&self) -> usize {
        fs::read(self.file.path()).unwrap().len()
    }

    /// The calls after this place, without the ids of threads.
    pub fn since(&self, place: usize) -> Vec<String> {
        let trace = fs::read(self.file.path()).unwrap();
        let lines = String::from_utf8_lossy(&trace[place..]).into_owned();
        lines.lines().map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim_start()).to_owned()).collect()
    }
}

/// Everything that opens a file, makes a socket, calls somebody or starts a program; and the way around all of these.
const CALLS: [&str; 10] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "socket",
    "connect",
    "execve",
    "execveat",
    "io_uring_setup",
    "io_uring_enter",
];

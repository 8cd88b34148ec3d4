//! A program the tests started: its log, its memory and CPU time, and its certain end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A running program, ended when dropped and when the test itself dies, however that happens.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `program` with the arguments and environment that `dress` gives it; what it prints goes to `<logs>/<name>.log`.
    ///
    /// # Panics
    /// When the program is not there: a missing counterpart is a failure, never a skip.
    pub(crate) fn start(
        name: &str,
        program: impl AsRef<OsStr>,
        logs: &Path,
        dress: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let log = logs.join(format!("{name}.log"));
        let out = File::create(&log).expect("the log folder is writable");
        // The parent-death signal covers what `Drop` cannot: Ctrl-C, a killed test. A group of its own, because
        // Keycloak's launcher is a shell with the JVM as its child.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program.as_ref());
        dress(&mut command)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a log has two ends"))
            .stderr(out)
            .process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// The process id, which is its group's too.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the program has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Asks `probe` until it says yes.
    ///
    /// # Panics
    /// When the program ends first, or after `deadline`; with the end of its log.
    pub(crate) async fn ready(&mut self, deadline: Duration, mut probe: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        let mut beat = tokio::time::interval(BEAT);
        while !probe().await {
            let ended = self.child.try_wait().expect("a child can be asked");
            if ended.is_some() || begun.elapsed() > deadline {
                let state =
                    ended.map_or_else(|| "is not ready in time".to_owned(), |status| format!("ended: {status}"));
                panic!("{} {state}; {}:\n{}", self.name, self.log.display(), last_lines(&self.log(), 20));
            }
            beat.tick().await;
        }
    }

    /// Kills it at once, as the kernel would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

/// Sends a process a signal, or with a minus before its id the whole of its group.
fn signal(name: &str, whom: &str) {
    // Failure means that it is gone already, which is what was wanted.
    let _ = Command::new("bash").args(["-c", &format!("kill -{name} -- {whom}")]).stderr(Stdio::null()).status();
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.pid();
        signal("TERM", &pid.to_string());
        let (child, (told, ended)) = (&mut self.child, channel::<()>());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = child.wait();
                drop(told);
            });
            let _ = ended.recv_timeout(PATIENCE);
            // The rest of its group, where it has children; nothing, where all went well.
            signal("KILL", &format!("-{pid}"));
        });
    }
}

/// A port of loopback that nothing listened on a moment ago; programs that cannot be given port 0 are given this.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// How often something is asked whether it is ready: the bench tells to the millisecond how long that took.
const BEAT: Duration = Duration::from_millis(1);

/// How long a program may take to end politely.
const PATIENCE: Duration = Duration::from_secs(10);

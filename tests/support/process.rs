//! The real binary as a child process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;

/// `claviger serve`, stopped by its process id when dropped.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    told: watch::Receiver<usize>,
}

impl Process {
    /// Starts it; its log is kept.
    pub fn start(config: &Path, environment: &[(&str, &str)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_claviger")), config, environment)
    }

    /// Starts it by a program with these arguments, which becomes what it starts.
    pub fn start_under(program: &[String], config: &Path, environment: &[(&str, &str)]) -> Self {
        let [program, arguments @ ..] = program else { return Self::start(config, environment) };
        let mut command = Command::new(program);
        command.args(arguments).arg(env!("CARGO_BIN_EXE_claviger"));
        Self::run(command, config, environment)
    }

    fn run(mut command: Command, config: &Path, environment: &[(&str, &str)]) -> Self {
        command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.envs(environment.iter().copied()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, told) = watch::channel(0);
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in log.lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                    tell.send_modify(|n| *n += 1);
                }
            }
        });
        Self { child, lines, told }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything logged so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Everything logged so far that is JSON.
    pub fn events(&self) -> Vec<Value> {
        self.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a logged event; fails when the process ends without one.
    pub async fn event(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(|process| process.events().into_iter().find(|event| wanted(event))).await
    }

    /// Waits for a logged line, of whatever form; fails when the process ends without one.
    pub async fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.until(|process| process.log().into_iter().find(|line| wanted(line))).await
    }

    /// Waits until this is found, looking at each line that is logged; fails when the process ends before.
    pub async fn until<T>(&self, find: impl Fn(&Self) -> Option<T>) -> T {
        let mut told = self.told.clone();
        loop {
            told.borrow_and_update();
            if let Some(found) = find(self) {
                return found;
            }
            let more = tokio::time::timeout(std::time::Duration::from_secs(30), told.changed()).await;
            assert!(matches!(more, Ok(Ok(()))), "the event did not come; the log:\n{}", self.log().join("\n"));
        }
    }

    /// Where the listener called `name` is.
    pub async fn address(&self, name: &str) -> SocketAddr {
        let event = self.event(|e| e["message"] == "listening" && e["listener"] == name).await;
        event["address"].as_str().unwrap().parse().unwrap()
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Asks it to read its config again.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.id().to_string()]).status().unwrap().success());
    }

    /// Kills it: it can finish nothing.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

/// Lets this process, and those it starts from here on, have so many descriptors open; many systems give 1,024.
pub fn allow_descriptors(count: u32) {
    let (id, soft) = (std::process::id().to_string(), format!("--nofile={count}:"));
    let status = Command::new("prlimit").args(["--pid", &id, &soft]).status().unwrap();
    assert!(status.success(), "this system allows fewer than {count} open descriptors");
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

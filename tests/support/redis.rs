//! A real Redis, with TLS and a password, that can be stopped, stalled and started again where it was.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::place::Place;

/// A `redis-server` of one's own. It keeps nothing: each start is an empty one.
pub struct RedisServer {
    place: Place,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts it, where this machine has one; says so where not.
    pub async fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: there is no redis-server here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(folder.path().join("redis.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("redis.key"), made.signing_key.serialize_pem()).unwrap();
        let mut server = Self { place: Place::reserve(), folder, child: None };
        server.start_again().await;
        Some(server)
    }

    /// Starts it where it was, with nothing in it.
    pub async fn start_again(&mut self) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let config = format!(
            "port 0\ntls-port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\ndir {dir}\n\
             tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\ntls-auth-clients no\n\
             user default off\nuser {USER} on >{PASSWORD} ~claviger:* +@all\n",
            port = self.at().port(),
            dir = self.folder.path().display(),
            certificate = file("redis.crt"),
            key = file("redis.key"),
        );
        std::fs::write(file("redis.conf"), config).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(file("redis.conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        while tokio::net::TcpStream::connect(self.at()).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Kills it: what it had is gone.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stalls it, or lets it go on: it takes connections and answers nothing meanwhile.
    pub fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Where it is.
    pub fn at(&self) -> SocketAddr {
        self.place.at()
    }

    /// Runs a command there.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &self.at().port().to_string(), "--tls", "--no-auth-warning", "--raw"]);
        cli.arg("--cacert").arg(self.folder.path().join("redis.crt")).args(["--user", USER, "--pass", PASSWORD]);
        let output = cli.args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The `[session]` section, and the keys that go with it.
    pub fn section(&self) -> String {
        format!(
            r#"
[session]
kind = "redis"
url = "rediss://{at}"
username = "{USER}"
password = {{ env = "REDIS_PASSWORD" }}
ca = "{ca}"
outage = "{{outage}}"

[keys]
session = [{{ env = "SESSION_KEY" }}]
cookie = [{{ env = "COOKIE_KEY" }}]
minted = [{{ env = "MINTED_KEY" }}]
"#,
            at = self.at(),
            ca = self.folder.path().join("redis.crt").display()
        )
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

pub const USER: &str = "claviger";
pub const PASSWORD: &str = "canary-of-redis";

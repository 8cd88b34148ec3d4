//! A real Redis, with TLS and a password.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{Running, free_port};

/// A `redis-server` that keeps nothing: a start is an empty one.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    folder: PathBuf,
    process: Option<Running>,
}

impl Redis {
    /// Starts it.
    pub(crate) async fn start(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("the folder is writable");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(folder.join("redis.crt"), made.cert.pem()).expect("the folder is writable");
        fs::write(folder.join("redis.key"), made.signing_key.serialize_pem()).expect("the folder is writable");
        let mut redis = Self { port: free_port(), folder, process: None };
        redis.start_again().await;
        redis
    }

    /// Starts it where it was.
    pub(crate) async fn start_again(&mut self) {
        let (port, folder) = (self.port, self.folder.display());
        let config = format!(
            "port 0\ntls-port {port}\nbind 127.0.0.1\nsave \"\"\nappendonly no\ndir {folder}\n\
             tls-cert-file {folder}/redis.crt\ntls-key-file {folder}/redis.key\ntls-ca-cert-file {folder}/redis.crt\n\
             tls-auth-clients no\nuser default off\nuser claviger on >{PASSWORD} ~claviger:* +@all\n"
        );
        let file = self.folder.join("redis.conf");
        fs::write(&file, config).expect("the folder is writable");
        let mut process = Running::start("redis", "redis-server", &self.folder, |command| command.arg(&file));
        process.ready(START, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        self.process = Some(process);
    }

    /// Stops it.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// The `[session]` section of a claviger that keeps its sessions here.
    pub(crate) fn section(&self) -> String {
        let ca = ca(&self.folder);
        format!(
            r#"
[session]
kind = "redis"
url = "rediss://127.0.0.1:{}"
username = "claviger"
password = {{ env = "REDIS_PASSWORD" }}
ca = "{}"
"#,
            self.port,
            ca.display()
        )
    }
}

fn ca(folder: &Path) -> PathBuf {
    folder.join("redis.crt")
}

pub(crate) const PASSWORD: &str = "the-contract-redis-password";
const START: Duration = Duration::from_secs(10);

//! How tools ask the agent, which is started where it does not run.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::{Home, Keys, Refused, Status, Underway};
use crate::web::BoxError;

/// Asks the agent of this user.
#[derive(Clone, Debug)]
pub struct Client {
    home: Home,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent says no: why, and what to do.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// It does not run, and can't be started.
    #[error("the agent can't be started: {0}")]
    NotStarted(String),
    /// It does not run.
    #[error("the agent does not run")]
    NotRunning,
    /// It does not answer as it should.
    #[error("the agent does not answer as it should")]
    Agent(#[source] BoxError),
}

impl Client {
    /// For the agent of this home.
    pub fn new(home: Home) -> Self {
        Self { home }
    }

    /// Starts the agent where it does not run.
    ///
    /// # Errors
    /// Why it does not start, in its own words.
    pub async fn start(&self) -> Result<(), ClientError> {
        if self.connect().await.is_ok() {
            return Ok(());
        }
        let log = self.home.socket.with_extension("log");
        let mut agent = self.spawn(&log).map_err(|error| ClientError::NotStarted(error.to_string()))?;
        let late = Instant::now() + START;
        loop {
            if self.connect().await.is_ok() {
                return Ok(());
            }
            // whoever else was asked at the same time has started another, which is as good
            let is_gone = matches!(agent.try_wait(), Ok(Some(_)) | Err(_));
            if (is_gone && self.connect().await.is_err()) || Instant::now() > late {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let said = said.trim().strip_prefix("claviger: ").unwrap_or_else(|| said.trim());
                let said = if said.is_empty() { "it said nothing" } else { said };
                if is_gone && said.contains(RUNNING) && Instant::now() < late {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                return Err(ClientError::NotStarted(said.to_owned()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Who is logged in.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status").await
    }

    /// Keys for a profile.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn keys(&self, profile: &str) -> Result<Keys, ClientError> {
        self.ask(Method::GET, &below("/v1/credentials", profile)).await
    }

    /// Begins a login, or joins the one under way.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn begin(&self, profile: &str) -> Result<Underway, ClientError> {
        self.ask(Method::POST, &below("/v1/logins", profile)).await
    }

    /// Waits until the login under way has come to something.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with what went wrong.
    pub async fn wait(&self, profile: &str) -> Result<Status, ClientError> {
        self.ask(Method::GET, &below("/v1/logins", profile)).await
    }

    /// Ends the login that a profile uses. False: there was none.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn leave(&self, profile: &str) -> Result<bool, ClientError> {
        self.ask(Method::DELETE, &below("/v1/logins", profile)).await
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.home.socket).await
    }

    async fn ask<A: DeserializeOwned>(&self, method: Method, path: &str) -> Result<A, ClientError> {
        let broken = |error: BoxError| ClientError::Agent(error);
        let stream = self.connect().await.map_err(|_| ClientError::NotRunning)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.into()))?;
        let driver = tokio::spawn(connection);
        let request = http::Request::builder().method(method).uri(path).header(header::HOST, "agent");
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| broken(e.into()))?;
        let response = sender.send_request(request).await.map_err(|e| broken(e.into()))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|e| broken(e.into()))?.to_bytes();
        driver.abort();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| broken(e.into()));
        }
        let refused = serde_json::from_slice(&body).map_err(|e| broken(e.into()))?;
        Err(ClientError::Refused(refused))
    }

    /// In a process group of its own, so that Ctrl-C in a terminal does not end it; what it says goes to a file beside the
    /// socket.
    fn spawn(&self, log: &PathBuf) -> io::Result<Child> {
        if let Some(folder) = log.parent() {
            std::os::unix::fs::DirBuilderExt::mode(fs::DirBuilder::new().recursive(true), 0o700).create(folder)?;
        }
        let log = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent").arg("--config").arg(&self.home.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        command.spawn()
    }
}

/// Names of profiles are lower-case letters, digits and -; anything else is none.
fn below(path: &str, profile: &str) -> String {
    let is_name = !profile.is_empty() && profile.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    format!("{path}/{}", if is_name { profile } else { "-" })
}

const START: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);
/// See `StartError::Running`.
const RUNNING: &str = "running already";

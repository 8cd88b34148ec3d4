//! moto in its enforcing mode: an S3 and an STS that check signatures, session tokens and IAM policies.

use std::process::Command;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::Value;
use url::Url;

use super::Site;
use crate::agent::Agent;
use crate::process::{Running, free_port};

/// A running moto with one user, who may take one role, which may use one of two buckets.
#[derive(Debug)]
pub(crate) struct Moto {
    pub(crate) url: String,
    pub(crate) role: String,
    id: String,
    secret: String,
    _process: Running,
}

/// What the role may use, and what it may not.
pub(crate) const BUCKET: &str = "reports";
pub(crate) const FORBIDDEN: &str = "secrets";

impl Moto {
    /// Starts it, makes the account, and has it ask for signatures from then on.
    pub(crate) async fn start(site: &Site<'_>) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut process = Running::start("moto", site.program("moto_server"), &site.kept, |command| {
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()])
        });
        let home = Url::parse(&format!("{url}/moto-api/")).expect("a URL");
        process.ready(START, async || Agent::new().open(&home).await.is_ok()).await;
        let mut setup = Command::new(site.program("python"));
        let made = setup.arg(Site::script("moto_account.py")).arg(&url).output().expect("python starts");
        let told: Value = serde_json::from_slice(&made.stdout)
            .unwrap_or_else(|_| panic!("moto has no account: {}", String::from_utf8_lossy(&made.stderr)));
        let enforce = Request::post(format!("{url}/moto-api/reset-auth")).body(Full::from("0")).expect("a request");
        let answer = Agent::new().send(enforce).await.expect("moto answers");
        assert!(answer.status.is_success(), "moto does not ask for signatures: {}", answer.text());
        let text = |key: &str| told[key].as_str().expect("the account is told").to_owned();
        Self { url, role: text("role"), id: text("id"), secret: text("secret"), _process: process }
    }

    /// The user's own keys, as claviger finds them.
    pub(crate) fn keys(&self) -> [(&'static str, &str); 2] {
        [("AWS_ACCESS_KEY_ID", &self.id), ("AWS_SECRET_ACCESS_KEY", &self.secret)]
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

const START: Duration = Duration::from_secs(60);

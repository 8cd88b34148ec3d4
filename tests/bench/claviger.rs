//! Claviger as a small site runs it: its own provider and STS, three routes to the same upstream.

use std::fs;
use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::agent::Agent;
use crate::process::{Running, free_port};

/// A running claviger of one worker.
#[derive(Debug)]
pub(crate) struct Claviger {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    pub(crate) process: Running,
}

impl Claviger {
    /// Starts `binary` and waits for the first 200 of a public route.
    pub(crate) async fn start(name: &str, binary: &Path, upstream: &str, access_log: bool, kept: &Path) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let folder = kept.join(name);
        fs::create_dir_all(&folder).expect("the folder is writable");
        let config = include_str!("claviger.toml")
            .replace("@port@", &port.to_string())
            .replace("@provider_port@", &free_port().to_string())
            .replace("@authority_port@", &free_port().to_string())
            .replace("@upstream@", upstream)
            .replace("@access@", &access_log.to_string());
        let file = folder.join("claviger.toml");
        fs::write(&file, config).expect("writable");
        fs::write(folder.join("users.toml"), include_str!("users.toml")).expect("writable");
        let mut process = Running::start(name, binary, kept, |command| command.arg("serve").arg(&file));
        let public = Url::parse(&format!("{url}/public/small")).expect("a URL");
        process.ready(START, async || Agent::new().open(&public).await.is_ok_and(|answer| answer.status == 200)).await;
        Self { url, process }
    }

    /// Logs in at the built-in provider; the ticket as a `Cookie` header has it.
    pub(crate) async fn log_in(&self) -> String {
        let mut person = Agent::new();
        let app = Url::parse(&format!("{}/session/small", self.url)).expect("a URL");
        let page = person.follow(&app, |_| false).await.expect("the login page comes");
        let form = page.form().unwrap_or_else(|| panic!("no login form at {}: {}", page.url, page.text()));
        let landed = person.submit(&form.filled(&[("username", "alice"), ("password", PASSWORD)]), |_| false).await;
        let landed = landed.expect("the login goes through");
        assert!(landed.status == 200 && landed.url == app, "the login ends at {}: {}", landed.url, landed.text());
        let ticket = person.cookies("127.0.0.1").into_iter().find(|cookie| cookie.starts_with("claviger-"));
        ticket.expect("a ticket")
    }
}

const PASSWORD: &str = "correct horse battery staple";
const START: Duration = Duration::from_secs(30);

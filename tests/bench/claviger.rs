//! Claviger as a site runs it: one listener, a provider and an STS elsewhere, three routes to the same upstream.

use std::fs;
use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::agent::Agent;
use crate::other_side::{NAME, OtherSide, PASSWORD};
use crate::process::{Running, free_port};
use crate::ready::until_answered;

/// A running claviger of one worker.
#[derive(Debug)]
pub(crate) struct Claviger {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    pub(crate) process: Running,
    /// From spawn to the first 200.
    pub(crate) took: Duration,
    _other_side: OtherSide,
}

impl Claviger {
    /// Starts `binary` and waits for the first 200 of a public route.
    pub(crate) async fn start(name: &str, binary: &Path, upstream: &str, access_log: bool, kept: &Path) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let other_side = OtherSide::start(&url);
        let folder = kept.join(name);
        fs::create_dir_all(&folder).expect("the folder is writable");
        let config = include_str!("claviger.toml")
            .replace("@state@", &folder.join("state").to_string_lossy())
            .replace("@port@", &port.to_string())
            .replace("@provider@", &other_side.provider)
            .replace("@authority@", &other_side.authority)
            .replace("@upstream@", upstream)
            .replace("@access@", &access_log.to_string());
        let file = folder.join("claviger.toml");
        fs::write(&file, config).expect("writable");
        let start = || Running::start(name, binary, kept, |command| command.arg("serve").arg(&file));
        let (process, took) = until_answered(start, &format!("{url}/public/small")).await;
        Self { url, process, took, _other_side: other_side }
    }

    /// Logs in at the provider; the ticket as a `Cookie` header has it.
    pub(crate) async fn log_in(&self) -> String {
        let mut person = Agent::new();
        let app = Url::parse(&format!("{}/session/small", self.url)).expect("a URL");
        let page = person.follow(&app, |_| false).await.expect("the login page comes");
        let form = page.form().unwrap_or_else(|| panic!("no login form at {}: {}", page.url, page.text()));
        let landed = person.submit(&form.filled(&[("username", NAME), ("password", PASSWORD)]), |_| false).await;
        let landed = landed.expect("the login goes through");
        assert!(landed.status == 200 && landed.url == app, "the login ends at {}: {}", landed.url, landed.text());
        let name = format!("claviger-{}=", app.port().expect("a port"));
        person.cookies("127.0.0.1").into_iter().find(|cookie| cookie.starts_with(&name)).expect("a ticket")
    }
}

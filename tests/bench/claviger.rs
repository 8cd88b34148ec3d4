//! Claviger as a site runs it: one listener, a provider and an STS elsewhere, three routes to the same upstream.

use std::fs;
use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::agent::Agent;
use crate::certificate::Certificate;
use crate::other_side::{NAME, OtherSide, PASSWORD};
use crate::process::{Running, free_port};
use crate::ready::until_answered;

/// A running claviger of one worker.
#[derive(Debug)]
pub(crate) struct Claviger {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    /// The same by https, HTTP/1.1 and HTTP/2.
    pub(crate) tls_url: String,
    pub(crate) process: Running,
    /// From spawn to the first 200.
    pub(crate) took: Duration,
    pub(crate) other_side: OtherSide,
}

impl Claviger {
    /// Starts `binary` and waits for the first 200 of a public route.
    pub(crate) async fn start(
        name: &str,
        binary: &Path,
        upstream: &str,
        sink: &str,
        access_log: bool,
        kept: &Path,
    ) -> Self {
        let (port, tls_port) = (free_port(), free_port());
        let url = format!("http://127.0.0.1:{port}");
        let Certificate { chain, key } = Certificate::in_folder(kept);
        let other_side = OtherSide::start(&url);
        let folder = kept.join(name);
        fs::create_dir_all(&folder).expect("the folder is writable");
        let config = include_str!("claviger.toml")
            .replace("@state@", &folder.join("state").to_string_lossy())
            .replace("@port@", &port.to_string())
            .replace("@tls-port@", &tls_port.to_string())
            .replace("@chain@", &chain.to_string_lossy())
            .replace("@key@", &key.to_string_lossy())
            .replace("@provider@", &other_side.provider)
            .replace("@issuer@", &other_side.issuer.url)
            .replace("@authority@", &other_side.authority)
            .replace("@upstream@", upstream)
            .replace("@sink@", sink)
            .replace("@access@", &access_log.to_string());
        let file = folder.join("claviger.toml");
        fs::write(&file, config).expect("writable");
        let start = || Running::start(name, binary, kept, |command| command.arg("serve").arg(&file));
        let (process, took) = until_answered(start, &format!("{url}/public/small")).await;
        Self { url, tls_url: format!("https://127.0.0.1:{tls_port}"), process, took, other_side }
    }

    /// Logs in at the provider; the ticket, without its cookie's name.
    pub(crate) async fn log_in(&self) -> String {
        let mut person = Agent::new();
        let app = Url::parse(&format!("{}/session/small", self.url)).expect("a URL");
        let page = person.follow(&app, |_| false).await.expect("the login page comes");
        let form = page.form().unwrap_or_else(|| panic!("no login form at {}: {}", page.url, page.text()));
        let landed = person.submit(&form.filled(&[("username", NAME), ("password", PASSWORD)]), |_| false).await;
        let landed = landed.expect("the login goes through");
        assert!(landed.status == 200 && landed.url == app, "the login ends at {}: {}", landed.url, landed.text());
        let name = format!("claviger-{}=", app.port().expect("a port"));
        let cookies = person.cookies("127.0.0.1").into_iter();
        cookies.filter_map(|cookie| Some(cookie.strip_prefix(&name)?.to_owned())).next().expect("a ticket")
    }

    /// The header that shows a ticket, as browsers send it to the plain listener or to the one with TLS.
    pub(crate) fn cookie(&self, ticket: &str, tls: bool) -> String {
        let port = self.url.rsplit(':').next().expect("a port");
        let name = if tls { "__Host-claviger".to_owned() } else { format!("claviger-{port}") };
        format!("Cookie: {name}={ticket}")
    }
}

//! `claviger demo`: the whole product in one process, and each of its ways to log in.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use http::StatusCode;

use crate::support::browser::Browser;
use crate::support::client::Answer;

/// A demo on ports of its own; stopped by its process id when dropped.
struct Demo {
    child: Child,
    url: String,
}

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.args(["demo", "--address", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = told.find_map(|line| line.trim().strip_prefix("Open").map(|url| url.trim().to_owned()));
        std::thread::spawn(move || told.for_each(drop));
        Self { child, url: url.expect("it says what to open") }
    }

    /// Somebody chooses this way to log in, and does.
    async fn log_in(&self, label: &str, name: &str, password: &str) -> Answer {
        let mut browser = Browser::default();
        let chooser = browser.open(&self.url).await;
        let (before, _) = chooser.text().split_once(&format!("\">{label}<")).expect("the page offers it");
        let (_, way) = before.rsplit_once("href=\"").unwrap();
        let form = browser.open(&way.replace("&#38;", "&")).await;
        let answer = browser.submit(&form, &[("username", name), ("password", password)]).await;
        match answer.text().contains("name=\"SAMLResponse\"") {
            true => browser.submit(&answer, &[]).await,
            false => answer,
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // asked for it, it takes its state along
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn both_logins_lead_to_the_app_which_shows_the_way_that_was_taken() {
    let demo = Demo::start();
    for (label, source) in [("OpenID Connect", "oidc"), ("SAML", "saml")] {
        let page = demo.log_in(label, "alice", "wonderland").await;
        assert_eq!(page.status, StatusCode::OK, "{label}: {}", page.text());
        for shown in [
            &format!("<dt>Logged in by</dt><dd>{source}</dd>"),
            "Signature verified",
            "assumed-role/demo-finance/alice@example.com",
        ] {
            assert!(page.text().contains(shown), "{label}: {shown}: {}", page.text());
        }
        let page = demo.log_in(label, "mallory", "marlinspike").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{label}: {}", page.text());
    }
}

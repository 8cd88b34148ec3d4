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
    async fn log_in(&self, browser: &mut Browser, label: &str, name: &str, password: &str) -> Answer {
        let chooser = browser.open(&self.url).await;
        let (before, _) = chooser.text().split_once(&format!("\">{label}<")).expect("the page offers it");
        let (_, way) = before.rsplit_once("href=\"").unwrap();
        let form = browser.open(&way.replace("&#38;", "&")).await;
        let answer = browser.submit(&form, &[("username", name), ("password", password)]).await;
        go_on(browser, answer).await
    }
}

/// The provider's page that posts its response is submitted, where there is one.
async fn go_on(browser: &mut Browser, answer: Answer) -> Answer {
    if answer.text().contains("name=\"SAMLResponse\"") { browser.submit(&answer, &[]).await } else { answer }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // asked for it, it takes its state along
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// The page says by which login and by which call of STS they came, and who STS says that they are.
fn shows(page: &Answer, login: &str, call: &str) {
    assert_eq!(page.status, StatusCode::OK, "{login}, {call}: {}", page.text());
    for shown in [
        &format!("<dt>Logged in by</dt><dd>{login}</dd>"),
        &format!("<dt>Keys by</dt><dd>{call}<br>"),
        &format!("<strong>{call}</strong>"),
        "Signature verified",
        "assumed-role/demo-finance/alice@example.com",
        "department = finance",
    ] {
        assert!(page.text().contains(shown), "{login}, {call}: {shown}: {}", page.text());
    }
}

#[tokio::test]
async fn both_logins_lead_to_the_app_which_shows_the_ways_that_were_taken() {
    let demo = Demo::start();
    for label in ["OpenID Connect", "SAML"] {
        let mut browser = Browser::default();
        let page = demo.log_in(&mut browser, label, "alice", "wonderland").await;
        shows(&page, label, "AssumeRoleWithWebIdentity");
        let page = browser.open(&format!("{}by/own-keys", demo.url)).await;
        shows(&page, label, "AssumeRole");
        // whoever came by OpenID Connect is sent for a SAML response, and is not asked for the password again
        let page = browser.open(&format!("{}by/saml", demo.url)).await;
        let page = go_on(&mut browser, page).await;
        shows(&page, "SAML", "AssumeRoleWithSAML");

        let page = demo.log_in(&mut Browser::default(), label, "mallory", "marlinspike").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{label}: {}", page.text());
    }
}

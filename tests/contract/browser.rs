//! A real Chromium, one step at a time.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// One person's browser, driven by `browser.mjs`; closed when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    steps: ChildStdin,
    outcomes: Lines<BufReader<ChildStdout>>,
    /// The driver ends with its input, and Chromium with the driver.
    _driver: Child,
}

impl Browser {
    /// A browser that has been nowhere; screenshots go to `shots`.
    pub(crate) fn start(cache: &Path, shots: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/browser.mjs");
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "node"])
            .arg(script)
            .arg(cache)
            .arg(shots)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let steps = driver.stdin.take().expect("stdin is piped");
        let outcomes = BufReader::new(driver.stdout.take().expect("stdout is piped")).lines();
        Self { steps, outcomes, _driver: driver }
    }

    /// Opens a page, and says where that led: `{ status, url, title, text }`.
    pub(crate) async fn open(&mut self, url: &str) -> Value {
        self.step(json!({ "step": "open", "url": url })).await
    }

    /// Follows the link or presses the button that says `words` (a regular expression).
    pub(crate) async fn press(&mut self, words: &str) -> Value {
        self.step(json!({ "step": "press", "words": words })).await
    }

    /// Fills in Keycloak's form.
    pub(crate) async fn login(&mut self, name: &str, password: &str) -> Value {
        self.step(json!({ "step": "login", "name": name, "password": password })).await
    }

    /// Fills in a provider's form; where that led in the end, once the address begins with `until`.
    #[cfg(feature = "saml")]
    pub(crate) async fn sign_in(&mut self, name: &str, password: &str, until: &str) -> Value {
        self.step(json!({ "step": "sign_in", "name": name, "password": password, "until": until })).await
    }

    /// Presses the button that says `words`; where that led in the end, once the address begins with `until`.
    #[cfg(feature = "saml")]
    pub(crate) async fn press_until(&mut self, words: &str, until: &str) -> Value {
        self.step(json!({ "step": "press_until", "words": words, "until": until })).await
    }

    /// Whether the page has a field for a password.
    #[cfg(feature = "saml")]
    pub(crate) async fn asks_for_a_password(&mut self) -> bool {
        self.step(json!({ "step": "asks_for_a_password" })).await["asks"] == true
    }

    /// What a script on the page gets: `{ status, text }`.
    pub(crate) async fn fetch(&mut self, method: &str, path: &str, body: Option<&str>) -> Value {
        self.step(json!({ "step": "fetch", "method": method, "path": path, "body": body })).await
    }

    /// Shows a page of a stranger's under this address, as its server gave it out before.
    pub(crate) async fn page_at(&mut self, url: &str) -> Value {
        self.step(json!({ "step": "page_at", "url": url })).await
    }

    /// Has the page try to read an address in every way there is; what it got to see by each.
    pub(crate) async fn read(&mut self, target: &str, token: &str) -> Value {
        self.step(json!({ "step": "read", "target": target, "token": token })).await
    }

    /// Saves the page in two sizes; whether the smaller one has to be scrolled sideways.
    pub(crate) async fn shot(&mut self, name: &str) -> bool {
        self.step(json!({ "step": "shot", "name": name })).await["scrolls_sideways"] == true
    }

    /// The cookies that the browser would send to `url`, as name and value.
    pub(crate) async fn cookies(&mut self, url: &str) -> Vec<(String, String)> {
        let answer = self.step(json!({ "step": "cookies", "url": url })).await;
        let text = |cookie: &Value, key| cookie[key].as_str().unwrap_or_default().to_owned();
        let cookies = answer["cookies"].as_array().map(Vec::as_slice).unwrap_or_default();
        cookies.iter().map(|cookie| (text(cookie, "name"), text(cookie, "value"))).collect()
    }

    /// How many headers that carry AWS keys or signatures the browser has sent so far.
    pub(crate) async fn key_headers(&mut self) -> u64 {
        self.step(json!({ "step": "keys" })).await["keys"].as_u64().expect("a count")
    }

    /// A step that fails comes back as `{ error }`, which no row expects.
    async fn step(&mut self, step: Value) -> Value {
        let line = format!("{step}\n");
        self.steps.write_all(line.as_bytes()).await.expect("the driver listens");
        let outcome = tokio::time::timeout(PATIENCE, self.outcomes.next_line()).await;
        let line = outcome.expect("a step ends in time").expect("readable").expect("the driver goes on");
        serde_json::from_str(&line).expect("an outcome is JSON")
    }
}

/// More than any step's own bound in `browser.mjs`.
const PATIENCE: Duration = Duration::from_secs(60);

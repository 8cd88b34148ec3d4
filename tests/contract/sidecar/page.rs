//! A22: pages of somebody else's, in a real Chromium, try to read the credential port.

use serde_json::Value;

use super::Site;
use super::claviger::{Sidecar, TOKEN};
use crate::browser::Browser;
use crate::process::free_port;
use crate::report::Report;

/// A page of another origin, and one whose name has come to mean this machine (DNS rebinding), so that the browser takes
/// the port for the page's own. Both even know the token.
pub(crate) async fn check(site: &Site<'_>, sidecar: &Sidecar) -> Report {
    let mut report = Report::default();
    let mut browser = Browser::start(site.cache, &site.kept);
    let port = sidecar.port_for_pages();
    let target = format!("http://127.0.0.1:{port}/v1/credentials");
    let before = sidecar.refused_pages().await;

    browser.page_at(&format!("http://evil.test:{}/", free_port())).await;
    let seen = browser.read(&target, TOKEN).await;
    for (by, _) in READS {
        report.equal(&format!("A22, another origin: {by}"), "nothing", text(&seen, by));
    }
    browser.page_at(&format!("http://evil.test:{port}/")).await;
    let seen = browser.read(&format!("http://evil.test:{port}/v1/credentials"), TOKEN).await;
    for (by, expected) in READS {
        report.equal(&format!("A22, a rebound name: {by}"), expected, text(&seen, by));
    }
    let opened = browser.open(&target).await;
    let error = opened["error"].as_str().unwrap_or("none: there is a page").lines().next().unwrap_or_default();
    // Chromium's name for a refusal without a body
    let is_refused = error.contains("ERR_HTTP_RESPONSE_CODE_FAILURE");
    report.row("A22, opened by hand", "ERR_HTTP_RESPONSE_CODE_FAILURE", error, is_refused);
    let refused = sidecar.refused_pages().await - before;
    // a browser that does not even ask would prove nothing; preflights and images count as well
    report.row("A22: requests of pages that claviger refused", "at least 12", refused, refused >= 12);
    report
}

fn text<'a>(seen: &'a Value, by: &str) -> &'a str {
    seen[by].as_str().or_else(|| seen["error"].as_str()).unwrap_or("no outcome")
}

/// What `browser.mjs` tries, and what comes of it where the browser lets the page read the answer.
const READS: [(&str, &str); 7] = [
    ("fetch", "403, 0 bytes"),
    ("fetch with the token", "403, 0 bytes"),
    ("fetch without CORS", "403, 0 bytes"),
    ("image", "nothing"),
    ("script", "nothing"),
    ("frame", "nothing"),
    ("form", "nothing"),
];

//! Two people in real browsers: the way in, what each may see, and the way out.

use std::path::Path;

use bytes::Bytes;
use http::Request;
use http::header::COOKIE;
use http_body_util::Full;
use serde_json::Value;

use crate::agent::Agent;
use crate::browser::Browser;
use crate::keycloak::{ALICE, BOB, Person, REALM};
use crate::minio::{ALICES_BUCKETS, BOBS_BUCKETS, bucket_names, elements};
use crate::report::Report;

/// Alice works in her bucket, Bob sees another set, and what remains of Alice's visit opens nothing.
///
/// What remains is given back: the values of her cookies, which no log may hold.
pub(crate) async fn check(proxy: &str, cache: &Path, kept: &Path, report: &mut Report) -> Vec<String> {
    let mut alice = Browser::start(cache, kept);
    enter(&mut alice, proxy, ALICE, &ALICES_BUCKETS, report).await;
    work(&mut alice, report).await;
    elsewhere(&mut alice, proxy, report).await;
    let mut bob = Browser::start(cache, kept);
    enter(&mut bob, proxy, BOB, &BOBS_BUCKETS, report).await;
    let theirs = bob.fetch("GET", "/ledger/2026.txt", None).await;
    report.equal("bob gets alice's object", 403, status(&theirs));
    let remains = leave(&mut alice, proxy, report).await;
    let still = bob.fetch("GET", "/", None).await;
    report.equal("bob goes on after alice's logout", 200, status(&still));
    pages(&mut alice, proxy, report).await;
    remains
}

async fn enter(browser: &mut Browser, proxy: &str, person: Person, buckets: &[&str], report: &mut Report) {
    let name = person.name;
    let chooser = browser.open(&format!("{proxy}/")).await;
    let offered = ["corp", "partners"].iter().all(|realm| text(&chooser).contains(realm));
    report.row(
        &format!("{name} is offered the providers"),
        "corp and partners",
        origin_and_path(url(&chooser)),
        offered,
    );
    let sideways = browser.shot("chooser").await;
    report.equal("the chooser scrolls sideways on a phone", false, sideways);
    let form = browser.press(REALM).await;
    let at_keycloak = url(&form).contains("/realms/corp/");
    report.row(&format!("{name} is sent to log in at"), "Keycloak", origin_and_path(url(&form)), at_keycloak);
    let app = browser.login(name, person.password).await;
    report.equal(&format!("{name} comes back to the app"), format!("{proxy}/"), url(&app).to_owned());
    let list = browser.fetch("GET", "/", None).await;
    let seen = bucket_names(text(&list)).join(", ");
    report.equal(&format!("{name} sees the buckets"), buckets.join(", "), seen);
}

async fn work(browser: &mut Browser, report: &mut Report) {
    let put = browser.fetch("PUT", "/ledger/2026.txt", Some("seven coins")).await;
    report.equal("alice puts an object", 200, status(&put));
    let listed = browser.fetch("GET", "/ledger?list-type=2", None).await;
    let keys = elements(text(&listed), "Key").collect::<Vec<_>>().join(", ");
    report.equal("alice lists her bucket", "2026.txt".to_owned(), keys);
    let got = browser.fetch("GET", "/ledger/2026.txt", None).await;
    report.equal("alice gets the object", "seven coins", text(&got));
    let beyond = browser.fetch("GET", "/telescope?list-type=2", None).await;
    report.equal("alice lists a bucket of bob's", 403, status(&beyond));
    report.equal("headers with keys or signatures that her browser sent", 0, browser.key_headers().await);
}

/// One login serves many hosts: the second asks for nothing.
async fn elsewhere(browser: &mut Browser, proxy: &str, report: &mut Report) {
    let other = format!("{}/", proxy.replace("127.0.0.1", "localhost"));
    let there = browser.open(&other).await;
    report.equal("on another host of claviger's, alice lands on", &*other, url(&there));
    let list = browser.fetch("GET", "/", None).await;
    report.equal("and sees the buckets", ALICES_BUCKETS.join(", "), bucket_names(text(&list)).join(", "));
}

async fn leave(browser: &mut Browser, proxy: &str, report: &mut Report) -> Vec<String> {
    let other = proxy.replace("127.0.0.1", "localhost");
    let (saved, elsewhere) = (browser.cookies(proxy).await, browser.cookies(&other).await);
    report.equal("before the logout, her cookies alone get", 200, replay(proxy, &saved).await);
    report.equal("and on the other host", 200, replay(&other, &elsewhere).await);
    let out = browser.open(&format!("{proxy}/.claviger/logout")).await;
    // A plain visit only asks: anyone's page could have led here.
    let out = if saved == browser.cookies(proxy).await { browser.press("log ?out|sign ?out").await } else { out };
    let landed = origin_and_path(url(&out));
    report.row("alice logs out, and ends at", "claviger's own page", &landed, landed.starts_with(proxy));
    browser.shot("signed-out").await;
    report.equal("after the logout, the same cookies get", 401, replay(proxy, &saved).await);
    report.equal("and on the other host", 401, replay(&other, &elsewhere).await);
    let again = browser.open(&format!("{proxy}/")).await;
    report.equal("alice's browser sees buckets after it", 0, bucket_names(text(&again)).len());
    // Not at Keycloak either: its own session is over, so nobody comes back without a password.
    let form = browser.press(REALM).await;
    report.row(
        "logging in again asks for",
        "a password",
        origin_and_path(url(&form)),
        url(&form).contains("/realms/corp/"),
    );
    saved.into_iter().chain(elsewhere).map(|(_, value)| value).collect()
}

async fn pages(browser: &mut Browser, proxy: &str, report: &mut Report) {
    let error = browser.open(&format!("{proxy}/.claviger/callback?state=forged&code=forged")).await;
    report.equal("a forged callback", 400, status(&error));
    let sideways = browser.shot("error").await;
    report.equal("the error page scrolls sideways on a phone", false, sideways);
}

/// The status of a script's request with these cookies and nothing else, over a connection of its own.
async fn replay(proxy: &str, cookies: &[(String, String)]) -> u64 {
    let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get(format!("{proxy}/")).header(COOKIE, cookies.join("; ")).header("accept", "*/*");
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    Agent::new().send(request).await.map_or(0, |answer| answer.status.as_u16().into())
}

fn status(outcome: &Value) -> u64 {
    outcome["status"].as_u64().unwrap_or_default()
}

fn text(outcome: &Value) -> &str {
    outcome["text"].as_str().or_else(|| outcome["error"].as_str()).unwrap_or_default()
}

fn url(outcome: &Value) -> &str {
    outcome["url"].as_str().unwrap_or_default()
}

/// Without the query, which is long and never the same.
fn origin_and_path(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

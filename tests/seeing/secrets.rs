//! A36: no secret in a log, in a metric or on a page, however much is logged and whatever goes wrong.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::json;

use super::plan;
use crate::login::{callback, with_query};
use crate::support::browser::Browser;
use crate::support::client;
use crate::support::world::{World, person_with_password, until};

/// Everything that must not be found anywhere, with where it comes from.
#[derive(Default)]
struct Secrets(BTreeSet<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &str) {
        // what is shorter could be a part of any word
        if secret.len() >= 8 {
            self.0.insert((what.to_owned(), secret.to_owned()));
            self.0.insert((what.to_owned(), form_urlencoded::byte_serialize(secret.as_bytes()).collect()));
        }
    }

    /// The parameters of a query or a form that are secrets.
    fn add_parameters(&mut self, text: &str) {
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if PARAMETERS.contains(&&*name) {
                self.add(&name, &value);
            }
        }
    }

    /// All that a browser was given and sent.
    fn add_browser(&mut self, browser: &Browser) {
        for (url, answer) in &browser.history {
            self.add_parameters(url.query().unwrap_or_default());
            self.add_parameters(answer.location().split_once('?').map_or("", |(_, query)| query));
            for line in answer.headers.get_all("set-cookie") {
                let (_, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                self.add("cookie", value);
            }
        }
    }

    /// All that provider and STS were told, and answered.
    fn add_world(&mut self, world: &World) {
        for said in world.idp_tap.said().iter().filter(|said| said.target.starts_with("/token")) {
            self.add_parameters(&said.asked);
            if let Some(answer) = serde_json::from_str::<serde_json::Value>(&said.answered).unwrap().as_object() {
                for (name, value) in answer.iter().filter(|(name, _)| name.ends_with("_token")) {
                    self.add(name, value.as_str().unwrap());
                }
            }
        }
        for said in world.sts_tap.said() {
            self.add_parameters(&said.asked);
            for name in ["SecretAccessKey", "SessionToken"] {
                let found = said.answered.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<'));
                if let Some((secret, _)) = found {
                    self.add(name, secret);
                }
            }
        }
        for seen in world.upstream.seen() {
            let signed = seen.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
            self.add("signature", signed.rsplit_once("Signature=").map_or("", |(_, signature)| signature));
        }
        for entry in std::fs::read_dir(world.file("state")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            text.lines().filter(|line| !line.starts_with("-----")).for_each(|line| self.add("a key of ours", line));
        }
    }

    fn are_not_in(&self, text: &str, place: &str) {
        for (what, secret) in &self.0 {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{what} `{secret}` is in {place}: {}", line.unwrap_or_default());
        }
    }
}

const PARAMETERS: [&str; 12] = [
    "code",
    "state",
    "nonce",
    "ask",
    "id_token_hint",
    "code_verifier",
    "client_secret",
    "refresh_token",
    "password",
    "seal",
    "WebIdentityToken",
    "canary",
];
const CANARY: &str = "canary-8c1f40d2";

#[tokio::test]
async fn a36_no_secret_is_logged_counted_or_shown() {
    let (client_secret, password) = (format!("{CANARY}-client"), format!("{CANARY}-password"));
    let zoe = person_with_password("zoe", &password, json!({ "groups": ["staff"], "department": "engineering" }));
    let mut world = plan("").log("trace").client_secret(&client_secret).people([zoe]).start().await;
    let mut zoe = Browser::default();

    // the ordinary way, with a wrong password first
    let page = zoe.open(&world.url("/?canary=canary-8c1f40d2-query")).await;
    let page = zoe.submit(&page, &[("username", "zoe"), ("password", &format!("{CANARY}-wrong"))]).await;
    let answer = zoe.submit(&page, &[("username", "zoe"), ("password", &password)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let own = [
        ("authorization", "Bearer canary-8c1f40d2-bearer"),
        ("x-amz-security-token", "canary-8c1f40d2-token"),
        ("x-api-key", "canary-8c1f40d2-key"),
    ];
    for (method, path, status) in [
        (Method::PUT, "/bucket/key?canary=canary-8c1f40d2-query", 200),
        (Method::POST, "/direct?canary=canary-8c1f40d2-query", 200),
        (Method::POST, "/open", 200),
        (Method::GET, "/staff", 200),
        (Method::GET, "/finance", 403),
        (Method::GET, "/.claviger/me", 200),
        (Method::GET, "/.claviger/nothing?canary=canary-8c1f40d2-query", 404),
    ] {
        let answer = zoe.fetch(method, &world.url(path), &own, "canary-8c1f40d2-body").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }

    // what goes wrong
    for change in ["code", "state", "iss", "error"] {
        let mut browser = zoe.clone();
        let back = callback(&mut browser, &world.url("/.claviger/login"), "zoe").await;
        let wrong = with_query(&back, |pairs| {
            pairs.retain(|(name, _)| name != change);
            // an error code is no secret: it is logged and shown
            let value = if change == "error" { "access_denied".to_owned() } else { format!("{CANARY}-{change}") };
            pairs.push((change.to_owned(), value));
        });
        assert_eq!(browser.step(wrong.as_str()).await.status, StatusCode::BAD_REQUEST, "{change}");
        zoe.history.extend(browser.history.drain(zoe.history.len()..));
    }
    let changed = world.cookie(&zoe).replace('=', "=x");
    assert_eq!(world.get("/", &changed).await.status, StatusCode::UNAUTHORIZED);
    let back = callback(&mut zoe, &world.url("/.claviger/login"), "zoe").await;
    world.idp.stop().await;
    assert_eq!(zoe.step(back.as_str()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    world.idp.start();
    until(async || zoe.step(back.as_str()).await.status, |status| status.is_redirection()).await;
    world.sts.stop().await;
    let path = world.url("/direct/");
    until(async || zoe.fetch(Method::GET, &path, &[], "").await.status, |status| *status != 200).await;
    world.sts.start();
    world.app.stop().await;
    assert_eq!(zoe.fetch(Method::GET, &world.url("/open"), &own, "").await.status, StatusCode::BAD_GATEWAY);
    let raw = "GET /open?canary=canary-8c1f40d2-raw HTTP/1.1\r\nhost: a\r\nhost: canary-8c1f40d2-host\r\n\r\n";
    client::raw(world.at, raw.as_bytes()).await;

    // and out
    let page = zoe.open(&world.url("/.claviger/logout")).await;
    zoe.submit(&page, &[]).await;
    let metrics = world.admin("/metrics").await.text().to_owned();
    world.claviger.terminate();
    assert!(world.claviger.wait().success());

    let mut secrets = Secrets::default();
    secrets.add("every canary", CANARY);
    secrets.add_browser(&zoe);
    secrets.add_world(&world);
    let kinds: BTreeSet<&str> = secrets.0.iter().map(|(what, _)| what.as_str()).collect();
    for expected in
        ["SecretAccessKey", "SessionToken", "WebIdentityToken", "access_token", "refresh_token", "code", "cookie"]
    {
        assert!(kinds.contains(expected), "{expected} is looked for: {kinds:?}");
    }
    let log = world.claviger.log().join("\n");
    secrets.are_not_in(&log, "the log");
    secrets.are_not_in(&metrics, "the metrics");
    let ours = |url: &url::Url| url.origin().ascii_serialization() == world.origin;
    for (url, answer) in zoe.history.iter().filter(|(url, _)| ours(url)) {
        // the upstream repeats what it was asked, which is its own affair
        if !answer.text().starts_with("{\"body_length\"") {
            secrets.are_not_in(answer.text(), url.path());
        }
    }
    // the log does say who, and with which key
    assert!(log.contains("sub-zoe") && log.contains("\"access_key.id\":\"ASIA"), "{log}");
}

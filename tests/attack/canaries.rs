//! A36: secrets by every way in, everything logged that can be, and none of them in a log, a metric or a page.

use std::collections::BTreeMap;

use http::Method;
use serde_json::json;

use crate::report::Report;
use crate::site::{SIGNED, Site};
use crate::support::browser::Browser;
use crate::support::client::{self, headers, raw};
use crate::support::world::person_with_password;

pub async fn check(report: Report) {
    let zoe = person_with_password("zoe", &canary("password"), json!({ "groups": ["staff"], "department": "finance" }));
    let site = Site::with(SIGNED, |plan| plan.log("trace").client_secret(&canary("client-secret")).people([zoe])).await;
    let world = &site.world;
    let mut browser = Browser::default();
    let mut pages: Vec<(String, String)> = Vec::new();

    // the ordinary way, with a wrong password first
    let page = browser.open(&world.url(&format!("/?q={}", canary("query")))).await;
    let page = browser.submit(&page, &[("username", "zoe"), ("password", &canary("wrong-password"))]).await;
    browser.submit(&page, &[("username", "zoe"), ("password", &canary("password"))]).await;
    let ticket = world.cookie(&browser);
    let own = [
        ("authorization", canary("bearer")),
        ("proxy-authorization", canary("proxy")),
        ("x-amz-security-token", canary("token")),
        ("x-api-key", canary("api-key")),
        ("cookie", format!("app={}; {ticket}", canary("cookie"))),
        ("referer", format!("http://a.test/?{}", canary("referer"))),
    ];
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (method, path) in [
        (Method::PUT, "/store/bucket/key"),
        (Method::POST, "/public/x"),
        (Method::GET, "/private"),
        (Method::GET, "/public/../x"),
        (Method::GET, "/.claviger/me"),
        (Method::GET, "/.claviger/login"),
        (Method::GET, "/.claviger/callback"),
        (Method::GET, "/.claviger/enter"),
        (Method::POST, "/.claviger/logout"),
        (Method::GET, "/.claviger/nothing"),
    ] {
        let target = format!("{path}?code={c}&state={c}&token={c}", c = canary("parameter"));
        let answer = client::send(world.at, method.clone(), &target, &headers(&own), canary("body")).await;
        // what a redirect to the provider must carry is not ours to hide, and a page of the app is the app's
        if path.starts_with("/.claviger") || answer.status.is_client_error() {
            pages.push((format!("{method} {path}"), String::from_utf8_lossy(&answer.body).into_owned()));
        }
    }
    // what is no request
    for text in [
        format!("GET /{} HTTP/1.1\r\nhost: a\r\nhost: {}\r\n\r\n", canary("raw"), canary("host")),
        format!("{} / HTTP/1.1\r\nhost: a\r\n\r\n", canary("method")),
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\0\r\n\r\n", canary("header")),
        canary("garbage"),
    ] {
        let mut wire = crate::support::wire::Wire::to(world.at).await;
        wire.send(format!("{text}\r\n\r\n")).await;
        pages.push(("raw bytes".to_owned(), wire.rest().await));
    }
    raw(site.secure_at, canary("no-tls")).await;
    world.sts.stop().await;
    client::send(world.at, Method::GET, "/store/other", &headers(&own), canary("body")).await;
    world.app.stop().await;
    client::send(world.at, Method::GET, "/store/other", &headers(&own), canary("body")).await;

    let metrics = world.admin("/metrics").await.text().to_owned();
    let mut site = site;
    site.world.claviger.terminate();
    let ended = site.world.claviger.wait();
    report.equal("A36", "after all that, claviger ends with", "exit status: 0".to_owned(), ended.to_string());
    let log = site.world.claviger.log().join("\n");
    let (_, ticket) = ticket.split_once('=').unwrap();
    let mut secrets: BTreeMap<String, String> =
        CANARIES.iter().map(|what| ((*what).to_owned(), canary(what))).collect();
    secrets.insert("the ticket".to_owned(), ticket.to_owned());
    for said in site.world.idp_tap.said().iter().filter(|said| said.target.starts_with("/token")) {
        let answer: serde_json::Value = serde_json::from_str(&said.answered).unwrap();
        for name in ["id_token", "access_token", "refresh_token"] {
            secrets.insert(name.to_owned(), answer[name].as_str().unwrap_or("no such token").to_owned());
        }
    }
    for said in site.world.sts_tap.said() {
        for name in ["SecretAccessKey", "SessionToken"] {
            let found = said.answered.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<'));
            secrets.insert(name.to_owned(), found.map_or("no such key", |(secret, _)| secret).to_owned());
        }
    }
    for (what, secret) in &secrets {
        let in_log = log.lines().filter(|line| line.contains(secret.as_str())).count();
        let in_metrics = metrics.matches(secret.as_str()).count();
        let places: Vec<&str> =
            pages.iter().filter(|(_, text)| text.contains(secret.as_str())).map(|(place, _)| place.as_str()).collect();
        let seen = format!("{in_log}, {in_metrics}, {places:?}");
        report.equal("A36", format!("{what} in the log, in metrics, on pages"), "0, 0, []".to_owned(), seen);
    }
    let lines = log.lines().count();
    report.row("A36", "lines of log at `trace`", "some", lines, lines > 20 && log.contains("sub-zoe"));
}

/// A text that is nowhere else.
fn canary(what: &str) -> String {
    format!("canary-8c1f40d2-{what}")
}

const CANARIES: &[&str] = &[
    "client-secret",
    "password",
    "wrong-password",
    "query",
    "bearer",
    "proxy",
    "token",
    "api-key",
    "cookie",
    "referer",
    "parameter",
    "body",
    "host",
    "header",
    "garbage",
    "no-tls",
];

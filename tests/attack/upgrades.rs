//! A4: no tunnel before the upstream's own 101, and none that speaks HTTP.

use crate::report::Report;
use crate::site::Site;
use crate::support::client::raw;
use crate::support::routes::behind;
use crate::support::wire::{Behind, Wire};

pub async fn check(report: Report) {
    let site = Site::start().await;
    connect(&report, &site).await;
    pipelined(&report, &site).await;
    http_again(&report, &site).await;
    unasked(&report).await;
}

/// CVE-2026-71324.
async fn connect(report: &Report, site: &Site) {
    let hidden = "GET /public/hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for target in ["a.test:443", "127.0.0.1:80", &site.recorder.at.to_string(), "/public", "*", "http://a.test/"] {
        site.recorder.clear();
        let answer = raw(site.world.at, format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{hidden}")).await;
        let seen = format!("{} answers, the first {}; {} upstream", count(&answer), status(&answer), arrived(site));
        let refused = ["405", "400"].contains(&status(&answer)) && count(&answer) == 1 && arrived(site) == 0;
        report.row("A4", format!("CONNECT {target}, and a request behind it"), "405 or 400, closed", seen, refused);
    }
}

/// RUSTSEC-2026-0033: the upstream answers the upgrade with 200.
async fn pipelined(report: &Report, site: &Site) {
    let hidden = format!("GET /private HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.world.at);
    for protocol in ["websocket", "x", "h2c", "WebSocket, x", "TLS/1.0"] {
        for connection in ["Upgrade", "keep-alive, Upgrade", "x"] {
            site.recorder.clear();
            let asked = ask(site, protocol, connection);
            let answers = raw(site.world.at, format!("{asked}{hidden}")).await;
            let statuses = statuses(&answers).join(" ");
            let targets: Vec<String> = site.recorder.requests().into_iter().map(|seen| seen.target).collect();
            let name = format!("Upgrade: {protocol} by Connection: {connection}, a private request behind it");
            let seen = format!("{statuses}; upstream saw {}", targets.join(", "));
            report.equal("A4", name, "200 401; upstream saw /public/upgrade".to_owned(), seen);
        }
    }
}

/// h2c smuggling: what would carry requests that nobody decided on is never asked for.
async fn http_again(report: &Report, site: &Site) {
    for protocol in ["h2c", "H2C", "h2", "websocket, h2c", "h2c,websocket", "HTTP/2.0", "TLS/1.2, HTTP/1.1"] {
        site.recorder.clear();
        let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
        let asked =
            ask(site, protocol, "Upgrade, HTTP2-Settings").replace("Upgrade: ", &format!("{settings}Upgrade: "));
        let mut wire = Wire::to(site.world.at).await;
        wire.send(asked).await;
        wire.head().await;
        let told = site
            .recorder
            .requests()
            .iter()
            .any(|seen| ["upgrade", "http2-settings", "connection"].iter().any(|name| !seen.all(name).is_empty()));
        let seen = if told { "is told of it" } else { "is not told of it" };
        report.equal("A4", format!("Upgrade: {protocol}: the upstream"), "is not told of it", seen);
    }
    // HTTP/2 with prior knowledge, in the clear
    let answer = raw(site.world.at, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let refused = !answer.contains("HTTP/1.1 2") && !answer.contains('\0');
    report.row("A4", "HTTP/2's preface on a plain listener", "400 or a close", &answer, refused);
}

/// An upstream that switches protocols by itself.
async fn unasked(report: &Report) {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let upstream = Behind::answering(switch).await;
    let site = Site::with(&behind(&upstream.url()), |plan| plan).await;
    let asked = format!(
        "GET /behind HTTP/1.1\r\nHost: {0}\r\n\r\nGET /behind HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n",
        site.world.at
    );
    let answers = raw(site.world.at, asked).await;
    let statuses = statuses(&answers).join(" ");
    report.equal("A4", "an upstream answers 101 to a plain request", "502 502".to_owned(), statuses);
}

fn ask(site: &Site, protocol: &str, connection: &str) -> String {
    format!(
        "GET /public/upgrade HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\nUpgrade: {protocol}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        site.world.at
    )
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answers.get(at + 9..at + 12)).collect()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("nothing")
}

fn count(answer: &str) -> usize {
    answer.matches("HTTP/1.").count()
}

fn arrived(site: &Site) -> usize {
    site.recorder.count()
}

//! A28: an upstream that means ill gets nothing of ours, and nobody takes its half answers for whole ones.

use std::time::{Duration, Instant};

use tokio::time::interval;

use http::Method;

use crate::bystander::beside;
use crate::report::Report;
use crate::site::Site;
use crate::support::client::{self, headers, raw};
use crate::support::hostile::{NO_ANSWERS, cookies_like_ours};
use crate::support::routes::behind;
use crate::support::wire::{Behind, Wire};

pub async fn check(report: Report) {
    let site = Site::start().await;
    cookies(&report, &site).await;
    redirects(&report, &site).await;
    let none = NO_ANSWERS.iter().map(|(name, answer)| (*name, *answer, "502"));
    for (name, answer, expected) in none.chain(WHOLE.iter().copied()) {
        let seen = asked(&site, answer).await;
        report.equal("A28", format!("an upstream answers with {name}"), expected.to_owned(), seen);
    }
    floods(&report).await;
    for_ever(&report).await;
    let after = client::send(site.world.at, Method::GET, "/public", &headers(&[]), "").await.status;
    report.equal("A28", "and afterwards a request", 200, after.as_u16());
}

/// Cookies of our names are ours to set.
async fn cookies(report: &Report, site: &Site) {
    for cookie in cookies_like_ours(site.world.at.port()) {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: app=1\r\nSet-Cookie: {cookie}\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = client::send(site.world.at, Method::GET, &target(&answer), &headers(&[]), "").await;
        let all = |name: &str| {
            answer.headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" | ")
        };
        report.equal(
            "A28",
            format!("an upstream sets app=1 and {cookie}"),
            "app=1, 1 | 2".to_owned(),
            format!("{}, {}", all("set-cookie"), all("x-two")),
        );
    }
}

/// CVE-2026-41181, GHSA-945v-v9p3-v5xw.
async fn redirects(report: &Report, site: &Site) {
    let elsewhere = Behind::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let ticket = site.world.ticket("alice").await;
    for status in [301, 302, 303, 307, 308] {
        for method in [Method::GET, Method::PUT] {
            let answer = format!("HTTP/1.1 {status} X\r\nLocation: {}/x\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
            let sent = headers(&[("cookie", &ticket)]);
            let answer = client::send(site.world.at, method.clone(), &target(&answer), &sent, "").await;
            let seen = format!("{}, followed {} times", answer.status.as_u16(), elsewhere.heads().len());
            report.equal(
                "A28",
                format!("an upstream redirects a {method} by {status}"),
                format!("{status}, followed 0 times"),
                seen,
            );
        }
    }
}

/// Interim answers are no answer, however many there are and however long they go on.
async fn for_ever(report: &Report) {
    let flood = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        wire.flood(INTERIM).await;
    });
    let drip = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        let mut pace = interval(PACE);
        while wire.is_heard(INTERIM).await {
            pace.tick().await;
        }
    });
    for (what, status, upstream) in [("as fast as they are read", 502, flood.await), ("now and then", 504, drip.await)]
    {
        let more = behind(&upstream.url()) + "timeouts = { first_byte = \"1s\" }\n";
        let site = Site::with(&more, |plan| plan).await;
        let begun = Instant::now();
        let request = format!("GET /behind HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.world.at);
        let answer = raw(site.world.at, request).await;
        let seen = format!("{} after {:.1?}", answer.get(9..12).unwrap_or("nothing"), begun.elapsed());
        let met = answer.starts_with(&format!("HTTP/1.1 {status}")) && begun.elapsed() < Duration::from_secs(5);
        let expected = format!("{status}, where `first_byte` is 1s");
        report.row("A28", format!("interim answers for ever, {what}"), expected, seen, met);
    }
}

/// More than anybody needs, of what costs memory or time.
async fn floods(report: &Report) {
    for (name, piece, count) in
        [("interim answers", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 2_000), ("headers", "", 0)]
    {
        let head = if name == "headers" {
            format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(100_000))
        } else {
            String::new()
        };
        let flood: std::sync::Arc<str> =
            format!("{head}{}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", piece.repeat(count)).into();
        let upstream = Behind::answering(&flood).await;
        let flooded = Site::with(&behind(&upstream.url()), |plan| plan).await;
        let seen = beside(report, "A28", &format!("an upstream's flood of {name}"), &flooded, async {
            let asked = format!("GET /behind HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", flooded.world.at);
            let mut seen = std::collections::BTreeSet::new();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) {
                let answer = raw(flooded.world.at, &asked).await;
                seen.insert(
                    answer.rsplit("HTTP/1.1 ").next().and_then(|last| last.get(..3)).unwrap_or("nothing").to_owned(),
                );
            }
            seen
        })
        .await;
        let seen: Vec<String> = seen.into_iter().collect();
        let met = seen.iter().all(|status| ["200", "502"].contains(&&**status));
        report.row("A28", format!("a flood of {name} comes out as"), "200 or 502", seen.join(" "), met);
    }
}

/// The status, and whether the body came whole.
async fn asked(site: &Site, answer: &str) -> String {
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target(answer), site.world.at);
    let answer = raw(site.world.at, request).await;
    let count = answer.matches("HTTP/1.1 ").count();
    let status = answer.get(9..12).unwrap_or("nothing");
    if count == 1 { status.to_owned() } else { format!("{status}, and {count} answers") }
}

/// Makes the recording upstream answer so.
fn target(answer: &str) -> String {
    format!("/public?{}", form_urlencoded::Serializer::new(String::new()).append_pair("raw", answer).finish())
}

/// What has one reading, and more behind it.
const WHOLE: &[(&str, &str, &str)] = &[
    (
        "a second answer behind it",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX: evil\r\n\r\n",
        "200",
    ),
    ("a body to 204", "HTTP/1.1 204 No Content\r\nX: y\r\n\r\nevil", "204"),
];
const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
/// Often enough for a timer that each of them would set anew never to ring.
const PACE: Duration = Duration::from_millis(50);

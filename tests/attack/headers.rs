//! A1, A2, A6: whatever a request says of who asks, from where and for what, the upstream hears it from us or not at all.

use crate::recorder::Arrived;
use crate::report::Report;
use crate::site::Site;
use crate::support::client::{self, headers, raw};
use crate::support::hostile::FORGED_ORIGIN;

pub async fn check(report: Report) {
    let site = Site::start().await;
    let (alice, mallory) = (site.world.ticket("alice").await, site.world.ticket("mallory").await);
    identity(&report, &site, &alice, &mallory).await;
    hop_by_hop(&report, &site, &alice).await;
    trailers(&report, &site, &alice).await;
    claims(&report, &site).await;
    origin(&report, &site).await;
}

/// CVE-2025-64484, CVE-2026-39858, CVE-2024-45614, CVE-2026-30851: mallory has no groups, and nobody has nothing.
async fn identity(report: &Report, site: &Site, alice: &str, mallory: &str) {
    for (who, path, cookie, values) in [
        ("alice", "/", alice, ["sub-alice", "alice@example.com", "alice", "staff,finance"]),
        ("mallory, of no group,", "/", mallory, ["sub-mallory", "mallory@example.com", "mallory", ""]),
        ("alice at a public page", "/public", alice, [""; 4]),
        ("nobody", "/public", "", [""; 4]),
    ] {
        for (name, value) in VOUCHED.iter().zip(values) {
            let lines: String = spellings(name).map(|name| format!("{name}: admin\r\n").repeat(2)).collect();
            let seen = send(site, "GET", path, cookie, &lines, "").await;
            let seen = seen.map_or_else(|status| status, |seen| seen.all(name).join(" | "));
            report.equal("A1", format!("{who} sends {name} in every spelling"), value.to_owned(), seen);
        }
    }
}

/// CVE-2025-48865, GHSA-w9mr-28mw-j8hg.
async fn hop_by_hop(report: &Report, site: &Site, alice: &str) {
    let ours = "X-Forwarded-User, X-Forwarded-Email, X-Forwarded-Groups, X-Forwarded-For, X-Forwarded-Host, X-Request-Id, \
                Host, Content-Length";
    for connection in
        [format!("close, {ours}"), ours.to_lowercase(), ours.replace('-', "_"), format!("{ours}\r\nConnection: {ours}")]
    {
        let lines = format!("Connection: {connection}\r\n");
        let seen = send(site, "POST", "/", alice, &lines, "hi").await;
        let seen = seen.map_or_else(
            |status| status,
            |seen| {
                ["x-forwarded-user", "x-forwarded-groups", "x-forwarded-for", "content-length"]
                    .map(|name| seen.all(name).join(" | "))
                    .join(" ")
            },
        );
        let expected = "sub-alice staff,finance 127.0.0.1 2".to_owned();
        report.equal("A2", format!("Connection: {}", connection.replace("\r\n", " ")), expected, seen);
    }
    let lines = "Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: x\r\nProxy-Authorization: x\r\nProxy-Connection: x\r\nTE: gzip\r\n";
    let seen = send(site, "GET", "/public", "", lines, "").await;
    for name in ["connection", "x-mine", "keep-alive", "proxy-authorization", "proxy-connection", "te"] {
        let seen = seen.as_ref().map_or_else(Clone::clone, |seen| seen.all(name).join(" | "));
        report.equal("A2", format!("{name} goes no further"), String::new(), seen);
    }
}

/// RFC 9110 §6.5.1: some servers merge trailers into the head.
async fn trailers(report: &Report, site: &Site, alice: &str) {
    for name in
        ["X-Forwarded-User", "x_forwarded_user", "Authorization", "Host", "X-Forwarded-For", "Content-Length", "Cookie"]
    {
        site.recorder.clear();
        let (at, body) = (site.world.at, "1\r\nx\r\n0\r\n");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {at}\r\nCookie: {alice}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
             Trailer: {name}, X-Sum\r\n\r\n{body}{name}: admin\r\nX-Sum: 1\r\n\r\n"
        );
        let answer = raw(at, request).await;
        let seen = site.recorder.requests().last().map_or_else(
            || format!("{} and nothing upstream", answer.get(9..12).unwrap_or("nothing")),
            |seen| seen.trailers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", "),
        );
        report.equal("A1", format!("the trailers {name} and X-Sum"), "x-sum: 1".to_owned(), seen);
    }
}

/// CVE-2026-40575, CVE-2026-33495, CVE-2026-35051, CVE-2026-54763, CVE-2026-34457: from a peer that nobody believes.
async fn claims(report: &Report, site: &Site) {
    for agent in ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0"] {
        let refused = send(site, "GET", "/private", "", &format!("User-Agent: {agent}\r\n"), "").await.err();
        report.equal("A6", format!("a private page for {agent}"), "401".to_owned(), refused.unwrap_or_default());
    }
    for (name, value) in FORGED_ORIGIN {
        let lines: String = spellings(name).map(|name| format!("{name}: {value}\r\n")).collect();
        let refused = send(site, "GET", "/private", "", &lines, "").await.err().unwrap_or_else(|| "200".to_owned());
        report.equal("A6", format!("a private page with {name}: {value}"), "401".to_owned(), refused);
        let seen = send(site, "GET", "/public", "", &lines, "").await;
        let told = seen.map_or_else(|status| status, |seen| seen.all(name).join(" | "));
        let (at, name) = (site.world.at.to_string(), name.to_ascii_lowercase());
        let ours = match &*name {
            "x-forwarded-for" => "127.0.0.1",
            "x-forwarded-proto" => "http",
            "x-forwarded-host" => &at,
            _ => "",
        };
        report.equal("A6", format!("the upstream is told {name}"), ours.to_owned(), told);
    }
}

/// Where a login leads is configured, whatever the request says.
async fn origin(report: &Report, site: &Site) {
    for (name, value) in FORGED_ORIGIN {
        let mut sent =
            headers(&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")]);
        sent.extend(headers(&[(name, value)]));
        let answer = client::send(site.world.at, http::Method::GET, "/", &sent, "").await;
        let away = url::Url::parse(answer.location()).ok();
        let back = away.and_then(|away| {
            away.query_pairs().find(|(key, _)| key == "redirect_uri").map(|(_, back)| back.into_owned())
        });
        let expected = site.world.url("/.claviger/callback");
        report.equal("A6", format!("redirect_uri with {name}: {value}"), expected, back.unwrap_or_default());
    }
}

/// What arrived, or the status where nothing did.
async fn send(site: &Site, method: &str, path: &str, cookie: &str, lines: &str, body: &str) -> Result<Arrived, String> {
    site.recorder.clear();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    let at = site.world.at;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\n{cookie}{lines}{length}Connection: close\r\n\r\n{body}");
    let answer = raw(at, request).await;
    let arrived = site.recorder.requests().pop();
    arrived.ok_or_else(|| answer.get(9..12).unwrap_or("nothing").to_owned())
}

/// Every way to write a name that some server takes for the same.
fn spellings(name: &str) -> impl Iterator<Item = String> {
    let lower = name.to_lowercase();
    let spellings = [
        name.to_owned(),
        lower.clone(),
        name.to_uppercase(),
        name.replace('-', "_"),
        lower.replacen('-', "_", 1),
        name.replace('-', "."),
        lower.replacen('-', ".", 1).replace('-', "_"),
    ];
    spellings.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter()
}

const VOUCHED: [&str; 4] =
    ["X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups"];

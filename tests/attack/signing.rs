//! A29: nothing that a client signed survives, and what it says is signed for with the person's own keys.

use http::Method;

use crate::report::Report;
use crate::site::{SIGNED, Site};
use crate::support::client;
use crate::support::hostile::{PRESIGNED, THEIRS};

pub async fn check(report: Report) {
    let site = Site::with(SIGNED, |plan| plan).await;
    let mut alice = site.world.browser_of("alice").await;
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
        for (query, left) in [("", ""), ("list-type=2&prefix=%2f&", "?list-type=2&prefix=%2f")] {
            let path = "/store/bucket/a%20b";
            let sent: Vec<(&str, &str)> = THEIRS.iter().chain(KEPT).copied().collect();
            let target = format!("{path}?{query}{PRESIGNED}");
            let body = if [Method::PUT, Method::POST].contains(&method) { "hello" } else { "" };
            let answer = alice.fetch(method.clone(), &site.world.url(&target), &sent, body).await;
            let name = |what: &str| format!("{method} with {query}a presigned query: {what}");
            report.equal("A29", name("is answered"), 200, answer.status.as_u16());
            let seen = site.world.upstream.last();
            report.equal("A29", name("arrives as"), format!("{path}{left}"), seen.target.clone());
            let told = format!("{:?}", seen.headers).to_lowercase();
            let found: Vec<&str> =
                ["theirs", "20000101", "bearer"].into_iter().filter(|text| told.contains(text)).collect();
            report.equal("A29", name("what is left of theirs"), "nothing".to_owned(), or_nothing(&found));
            let lost: Vec<&str> = KEPT
                .iter()
                .filter(|(name, value)| seen.all(name) != [*value] || !seen.signed_headers().contains(name))
                .map(|(name, _)| *name)
                .collect();
            report.equal(
                "A29",
                name("what is lost of the rest, or not signed"),
                "nothing".to_owned(),
                or_nothing(&lost),
            );
            let caller = site.world.signer(&seen, "s3").await;
            let caller = caller["subject"].as_str().unwrap_or_default().to_owned();
            report.equal("A29", name("signed by"), "idp/sub-alice".to_owned(), caller);
        }
    }
    let before = site.world.upstream.seen().len();
    let sent = client::headers(THEIRS);
    let answer = client::send(site.world.at, Method::GET, &format!("/store/x?{PRESIGNED}"), &sent, "").await;
    let seen = format!("{}, {} upstream", answer.status.as_u16(), site.world.upstream.seen().len() - before);
    report.equal("A29", "a signature of nobody's", "401, 0 upstream".to_owned(), seen);
}

fn or_nothing(found: &[&str]) -> String {
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

const KEPT: &[(&str, &str)] = &[
    ("x-amz-meta-colour", "blue"),
    ("x-amz-target", "Service.Call"),
    ("x-amz-acl", "private"),
    ("x-amz-tagging", "a=b"),
];

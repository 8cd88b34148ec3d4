//! A29: nothing that a client signed survives, and what it says is signed for with the person's own keys.

use http::Method;

use crate::report::Report;
use crate::site::{SIGNED, Site};
use crate::support::upstream::Seen;

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
                .filter(|(name, value)| seen.all(name) != [*value] || !is_signed(&seen, name))
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
    let sent = crate::support::client::headers(THEIRS);
    let answer =
        crate::support::client::send(site.world.at, Method::GET, &format!("/store/x?{PRESIGNED}"), &sent, "").await;
    let seen = format!("{}, {} upstream", answer.status.as_u16(), site.world.upstream.seen().len() - before);
    report.equal("A29", "a signature of nobody's", "401, 0 upstream".to_owned(), seen);
}

fn is_signed(seen: &Seen, name: &str) -> bool {
    let authorization = seen.all("authorization").join(" ");
    let names =
        authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    names.split(';').any(|signed| signed == name)
}

fn or_nothing(found: &[&str]) -> String {
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

const THEIRS: &[(&str, &str)] = &[
    ("authorization", "AWS4-HMAC-SHA256 Credential=THEIRS/20260101/eu-west-1/s3/aws4_request, Signature=00"),
    ("authorization", "Bearer theirs"),
    ("x-amz-date", "20000101T000000Z"),
    ("x_amz_date", "20000101T000000Z"),
    ("x-amz-security-token", "theirs"),
    ("x.amz.security.token", "theirs"),
    ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ("x_amz_content_sha256", "theirs"),
    ("x-amz-region-set", "*"),
];
const KEPT: &[(&str, &str)] = &[
    ("x-amz-meta-colour", "blue"),
    ("x-amz-target", "Service.Call"),
    ("x-amz-acl", "private"),
    ("x-amz-tagging", "a=b"),
];
const PRESIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=THEIRS&x-amz-date=20000101T000000Z\
                         &X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00&X-Amz-Security-Token=theirs\
                         &X%2DAmz-Content-Sha256=theirs";

//! A5: the path that is decided on is the path that goes on.

use crate::report::Report;
use crate::site::Site;
use crate::support::client::raw;

/// `/public` is open to anyone and everything else is not; nobody is logged in.
const CASES: &[(&str, &str)] = &[
    ("/public", "passes as /public"),
    ("/public/", "passes as /public/"),
    ("/public/a?x=/../admin&y=%2f..", "passes as /public/a?x=/../admin&y=%2f.."),
    ("/%70ublic/x", "passes as /public/x"),
    ("/publi%63/%61%2Db%7e", "passes as /public/a-b~"),
    ("/public/%C3%A4", "passes as /public/%C3%A4"),
    ("/public/a%20b%3fc", "passes as /public/a%20b%3Fc"),
    ("/public/...", "passes as /public/..."),
    ("/admin", "401"),
    ("/admin?/public/", "401"),
    ("/admin?x=/public/x", "401"),
    ("/Public/x", "401"),
    ("/PUBLIC/x", "401"),
    ("/publicx", "401"),
    ("/public.", "401"),
    ("/public%20/x", "401"),
    ("/x/public/x", "401"),
    ("/%61dmin", "401"),
    ("/public/../admin", "400"),
    ("/public/..", "400"),
    ("/public/./x", "400"),
    ("/public/%2e%2e/admin", "400"),
    ("/public/%2E./admin", "400"),
    ("/public/.%2e/admin", "400"),
    ("/public/..%2fadmin", "400"),
    ("/public/..%2Fadmin", "400"),
    ("/public%2f..%2fadmin", "400"),
    ("/public%2fadmin", "400"),
    ("/public/%252e%252e/admin", "400"),
    ("/public/%25%32%65%25%32%65/admin", "400"),
    ("/public/..;/admin", "400"),
    ("/public/..;a=b/admin", "400"),
    ("/public/;/../admin", "400"),
    ("/public/..%3b/admin", "400"),
    ("/public;/admin", "400"),
    ("/public/..\\admin", "400"),
    ("/public/..%5cadmin", "400"),
    ("/public\\..\\admin", "400"),
    ("//public/x", "400"),
    ("//admin", "400"),
    ("/public//../admin", "400"),
    ("/./public/x", "400"),
    ("/admin%23/public", "400"),
    ("/admin#/public", "400"),
    ("/public%00/x", "400"),
    ("/public/%0d%0aX:%20y", "400"),
    ("/public/%7f", "400"),
    ("/public/%", "400"),
    ("/public/%2", "400"),
    ("/public/%zz", "400"),
    ("/public/%u002e%u002e/admin", "400"),
    ("/public/%c0%ae%c0%ae/admin", "400"),
    ("/public/%e0%80%ae%e0%80%ae/admin", "400"),
    ("/public/%ff", "400"),
    ("/public/\u{ff0e}\u{ff0e}/admin", "passes as /public/%EF%BC%8E%EF%BC%8E/admin"),
    ("/.claviger/../admin", "404"),
    ("/%2eclaviger/me", "404"),
    ("/.CLAVIGER/me", "401"),
];

pub async fn check(report: Report) {
    let site = Site::start().await;
    for (target, expected) in CASES {
        for target in [(*target).to_owned(), format!("http://{}{target}", site.world.at)] {
            site.recorder.clear();
            let lines = format!(" HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.world.at);
            let answer = raw(site.world.at, [b"GET ", target.as_bytes(), lines.as_bytes()].concat()).await;
            let status = answer.get(9..12).unwrap_or("nothing");
            let seen = match &site.recorder.requests()[..] {
                [] => status.to_owned(),
                [arrived] if status == "200" => format!("passes as {}", arrived.target),
                more => format!("{status}, and {} upstream", more.len()),
            };
            report.equal("A5", target, (*expected).to_owned(), seen);
        }
    }
}

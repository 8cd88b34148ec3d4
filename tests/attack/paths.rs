//! A5: the path that is decided on is the path that goes on.

use crate::report::Report;
use crate::site::Site;
use crate::support::client::raw;
use crate::support::hostile::PATHS;

pub async fn check(report: Report) {
    let site = Site::start().await;
    for (target, expected) in PATHS {
        let expected = expected.map_or_else(|status| status.to_string(), |path| format!("passes as {path}"));
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
            report.equal("A5", target, expected.clone(), seen);
        }
    }
}

//! The load that a profile-guided build learns from: mixed, like a day at a site, and none of the rows that are measured.

use std::path::Path;
use std::process::Command;

use crate::claviger::Claviger;
use crate::sink::Sink;

/// Runs `binary` under the load and ends it politely, so that it writes its profile.
pub(crate) async fn train(binary: &Path, upstream: &str, kept: &Path) {
    let sink = Sink::start();
    for access_log in [false, true] {
        let claviger = Claviger::start("claviger", binary, upstream, &sink.url, access_log, kept).await;
        let ticket = claviger.log_in().await;
        for (base, tls) in [(&claviger.url, false), (&claviger.tls_url, true)] {
            let cookie = claviger.cookie(&ticket, tls);
            let bearer = format!("Authorization: Bearer {}", claviger.other_side.issuer.token());
            mixed(base, &cookie, &bearer, kept);
            if tls {
                for path in ["/session/page", "/signed/page", "/signed/script"] {
                    multiplexed(&format!("{base}{path}"), &cookie);
                }
                multiplexed(&format!("{base}/service/page"), &bearer);
            }
        }
    }
}

/// Pages, scripts, uploads, strangers and services in turn, with the headers of a browser.
fn mixed(base: &str, cookie: &str, bearer: &str, kept: &Path) {
    let script = kept.join("mixed.lua");
    std::fs::write(&script, include_str!("mixed.lua")).expect("the folder is writable");
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c24", &format!("-d{SECONDS}s"), "-s"]).arg(script).args([base, "--", cookie, bearer]);
    let output = wrk.output().expect("wrk is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn multiplexed(url: &str, header: &str) {
    let mut h2load = Command::new("h2load");
    h2load.args(["-t1", "-c6", "-m5", &format!("-D{SECONDS}"), "-H", "accept-language: en", "-H", header, url]);
    let output = h2load.output().expect("h2load is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Long enough for a profile in which every branch of the day has its weight.
const SECONDS: u32 = 4;

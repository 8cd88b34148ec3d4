//! The contract: claviger against a real Keycloak, a real MinIO, moto, AWS's own clients and a real browser.
//!
//! `make contract` runs it; `cargo test` does not, because it needs programs that a Rust toolchain does not bring.
//! It ends with a table of what was expected and what was seen, and fails when any row is not met. Logs and
//! screenshots stay in `target/contract/`.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on says where and why")]
#![expect(clippy::print_stdout, reason = "the table is for the person who ran it")]

mod agent;
mod browser;
mod counterparts;
mod keycloak;
mod minio;
mod people;
mod process;
mod proxy;
mod redis;
mod report;
#[cfg(feature = "saml")]
mod saml_logins;
#[cfg(feature = "saml")]
mod saml_provider;
mod sidecar;
#[cfg(feature = "saml")]
mod simplesaml;
mod steady;
/// What other tests stand on as well.
#[cfg(feature = "saml")]
#[path = "../support"]
#[expect(dead_code, unreachable_pub, clippy::unwrap_used, reason = "they have other rules, and more uses")]
mod support {
    pub(crate) mod saml_attacks;
}
mod two;
#[cfg(feature = "saml")]
mod xmlsec;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::keycloak::{ALICE, BOB, CLIENT_SECRET, Keycloak, REALM};
use crate::minio::Minio;
use crate::process::free_port;
use crate::proxy::Proxy;
use crate::report::Report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cache = PathBuf::from(std::env::args_os().nth(1).expect("the first argument is the cache folder"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("contract");
    drop(std::fs::remove_dir_all(&kept));
    std::fs::create_dir_all(&kept).expect("the target folder is writable");

    let mut report = Report::default();
    // `-- CACHE saml` asks for this part alone
    #[cfg(feature = "saml")]
    xmlsec::check(&kept, &mut report).await;
    if std::env::args().nth(2).is_some_and(|only| only == "saml") {
        return end(&report);
    }
    let only = |part: &str| std::env::args().nth(2).is_some_and(|only| only == part);
    // The port is known before the proxy is there, because Keycloak and claviger name each other.
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let keycloak = Keycloak::start(&cache.join("keycloak/current"), &kept, &proxy).await;
    let minio =
        async || Minio::start(&cache.join("bin/minio"), &kept.join("minio"), &kept, &keycloak.issuer(REALM)).await;
    // `-- CACHE sidecar` asks for this part alone
    if only("sidecar") {
        report.append(sidecar::check(&keycloak, &minio().await, &proxy, &cache, &kept).await);
        return end(&report);
    }
    #[cfg(feature = "saml")]
    saml_logins::check(&keycloak, &cache, &kept, &mut report).await;
    // `-- CACHE saml-logins` asks for what is so far
    if only("saml-logins") {
        return end(&report);
    }
    // `-- CACHE two` asks for this part alone
    two::check(&keycloak, &kept, &mut report).await;
    if only("two") {
        return end(&report);
    }
    let minio = minio().await;
    counterparts::check(&keycloak, &minio, &proxy, &mut report).await;
    let claviger = Proxy::start(&proxy, &keycloak, &minio, &kept).await;
    let cookies = people::check(&proxy, &cache, &kept, &mut report).await;
    // side by side: what each has to live through is time
    let sidecar = sidecar::check(&keycloak, &minio, &proxy, &cache, &kept);
    let (sidecar, ()) =
        Box::pin(futures_util::future::join(sidecar, steady::check(&proxy, &claviger, &mut report))).await;
    report.append(sidecar);
    secrets(&claviger.log(), &cookies, &mut report);
    end(&report)
}

fn end(report: &Report) -> ExitCode {
    println!("\n{}", report.table());
    if report.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nothing that opens anything may be in a log (A36): no secret we know, and nothing that looks like a token.
fn secrets(log: &str, cookies: &[String], report: &mut Report) {
    let known = [CLIENT_SECRET, ALICE.password, BOB.password, "eyJ"];
    let known = known.into_iter().chain(cookies.iter().map(String::as_str));
    let found = known.filter(|secret| log.contains(secret)).count();
    report.row("secrets and tokens in claviger's log", 0, found, found == 0 && !log.is_empty());
}

//! The sidecar: unmodified boto3 and AWS CLI get their keys at every kind of endpoint, and use them at MinIO and moto.
//!
//! Keycloak's tokens live for a minute and MinIO's keys no longer than they do, so that in the five minutes of the window
//! each client lives through several rotations, side by side with all others. Meanwhile a real Chromium tries to read the
//! port, and a network namespace has the addresses that SDKs take for granted.

mod apps;
mod claviger;
mod kinds;
mod moto;
mod namespace;
mod page;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::interval;

use crate::keycloak::{ALICE, CLIENT_SECRET, Keycloak, REALM};
use crate::minio::Minio;
use crate::report::Report;
use crate::sidecar::apps::{App, Place};
use crate::sidecar::claviger::Sidecar;
use crate::sidecar::kinds::{Client, KINDS};
use crate::sidecar::moto::Moto;

/// What every part of it needs to know.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) keycloak: &'a Keycloak,
    pub(crate) minio: &'a Minio,
    /// Where Keycloak's codes are read off redirects; nobody needs to listen there.
    pub(crate) callback: String,
    pub(crate) cache: &'a Path,
    /// A folder for this part alone.
    pub(crate) kept: PathBuf,
}

/// The whole of it, in about as long as the window is. The rows are told apart, because others are asked meanwhile.
pub(crate) async fn check(keycloak: &Keycloak, minio: &Minio, proxy: &str, cache: &Path, kept: &Path) -> Report {
    let kept = kept.join("sidecar");
    std::fs::create_dir_all(&kept).expect("the folder is writable");
    let site = Site { keycloak, minio, callback: format!("{proxy}/.claviger/callback"), cache, kept };
    site.rotate_token().await;
    let platform = async {
        let mut pace = interval(TOKEN_EVERY);
        pace.tick().await;
        loop {
            pace.tick().await;
            site.rotate_token().await;
        }
    };
    tokio::select! {
        report = Box::pin(all(&site)) => report,
        () = platform => unreachable!("a platform goes on for ever"),
    }
}

async fn all(site: &Site<'_>) -> Report {
    let mut report = Report::default();
    let moto = Moto::start(site).await;
    let sidecar = Sidecar::start(site, &moto).await;
    let secret = sidecar.secret_keys().await;
    site.make_large();
    let mut apps = Vec::new();
    for (nth, (kind, client)) in KINDS.iter().flat_map(|kind| Client::ALL.map(|client| (kind, client))).enumerate() {
        let clues = sidecar.clues(kind, client);
        let url = if kind.signs_anew { &sidecar.url } else { &site.minio.url };
        apps.push(App::new(site, kind.name, client, Place::minio(url), clues, LARGE_APART * nth as u32));
    }
    for client in Client::ALL {
        let clues = sidecar.clues_of(&KINDS[0], "moto");
        apps.push(App::new(site, "moto", client, Place::moto(&moto), clues, Duration::ZERO));
    }
    let (window, page, namespace) = tokio::join!(
        futures_util::future::join_all(apps.iter().map(App::run)),
        page::check(site, &sidecar),
        namespace::check(site),
    );
    window.into_iter().for_each(|rows| report.append(rows));
    report.append(page);
    report.append(namespace);
    for (kind, client) in KINDS.iter().flat_map(|kind| Client::ALL.map(|client| (kind, client))) {
        let rotations = sidecar.keys_of(&kind.endpoint(client)).len().saturating_sub(1);
        let what = format!("{}, {}: rotations in the window", kind.name, client.name());
        report.row(&what, "at least 4", rotations, rotations >= 4);
    }
    let log = sidecar.log();
    let known = [CLIENT_SECRET, ALICE.password, claviger::TOKEN, moto.secret(), "eyJ"];
    let found =
        known.into_iter().chain(secret.iter().map(String::as_str)).filter(|secret| log.contains(secret)).count();
    report.row("sidecar: secrets and tokens in its log", 0, found, found == 0 && !log.is_empty());
    report
}

impl Site<'_> {
    /// Puts a new token of Alice's where the platform does: whole at once, as a kubelet does it.
    async fn rotate_token(&self) {
        let token = self.keycloak.id_token(REALM, ALICE, &self.callback).await;
        let next = self.kept.join("next.jwt");
        std::fs::write(&next, token).expect("the folder is writable");
        std::fs::rename(next, self.token_file()).expect("the folder is writable");
    }

    /// The workload's own token.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.kept.join("workload.jwt")
    }

    /// What is uploaded: 200 MiB of which no two blocks are the same.
    pub(crate) fn large(&self) -> PathBuf {
        self.kept.join("large")
    }

    fn make_large(&self) {
        let words = (0..LARGE as u64 / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        std::fs::write(self.large(), words.collect::<Vec<u8>>()).expect("the folder is writable");
    }

    /// A program of the clients' own surroundings.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.cache.join("clients/bin").join(name)
    }

    /// A script beside this file.
    pub(crate) fn script(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/sidecar").join(name)
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        // nobody looks at 200 MiB of noise afterwards
        drop(std::fs::remove_file(self.large()));
    }
}

/// A third of what a token lives for.
const TOKEN_EVERY: Duration = Duration::from_secs(20);

/// How long clients live through rotations.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// By how much each begins with its large files after the one before, so that two cores can do it.
const LARGE_APART: Duration = Duration::from_secs(20);

const LARGE: usize = 200 * 1024 * 1024;

//! An app beside claviger: a process of its own, with nothing but a few variables to find its credentials by.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use super::kinds::Client;
use super::moto::{BUCKET, FORBIDDEN, Moto};
use super::{Site, WINDOW};
use crate::report::Report;

/// One client, what it is to do, and where it finds its keys.
#[derive(Debug)]
pub(crate) struct App {
    what: String,
    client: Client,
    plan: Value,
    clues: Vec<(&'static str, String)>,
    python: PathBuf,
    folder: PathBuf,
}

/// An S3, and how long it is asked.
#[derive(Debug)]
pub(crate) struct Place {
    url: String,
    bucket: &'static str,
    forbidden: &'static str,
    seconds: u64,
    presigns: bool,
}

impl Place {
    /// For the whole window; `url` is MinIO's, or claviger's before it.
    pub(crate) fn minio(url: &str) -> Self {
        let (url, seconds) = (url.to_owned(), WINDOW.as_secs());
        Self { url, bucket: "ledger", forbidden: "telescope", seconds, presigns: true }
    }

    /// Once through: its keys live for an hour. Where moto asks for signatures, it has 500 for every one in a query.
    pub(crate) fn moto(moto: &Moto) -> Self {
        Self { url: moto.url.clone(), bucket: BUCKET, forbidden: FORBIDDEN, seconds: 0, presigns: false }
    }
}

impl App {
    /// An app with a folder of its own; it begins with large files after `large_after`.
    pub(crate) fn new(
        site: &Site<'_>,
        door: &str,
        client: Client,
        place: Place,
        clues: Vec<(&'static str, String)>,
        large_after: Duration,
    ) -> Self {
        let name = format!("{door}-{}", client.name());
        let folder = site.kept.join(&name);
        fs::create_dir_all(&folder).expect("the folder is writable");
        // Without this, clients presign with SigV2 for services that are not AWS's.
        fs::write(folder.join("config"), "[default]\ns3 =\n  signature_version = s3v4\n  addressing_style = path\n")
            .expect("the folder is writable");
        let (pace, least) = match client {
            Client::Boto3 => (1.0, WINDOW.as_secs() / 6),
            Client::Cli => (4.0, WINDOW.as_secs() / 50),
        };
        let plan = json!({
            "name": name, "url": place.url, "bucket": place.bucket, "forbidden": place.forbidden,
            "scratch": folder.join("file"), "large": site.large(), "large_after": large_after.as_secs(),
            "seconds": place.seconds, "pace": pace, "least": least, "presigns": place.presigns,
        });
        let what = format!("{door}, {}", client.name());
        Self { what, client, plan, clues, python: site.program("python"), folder }
    }

    /// Its rows.
    pub(crate) async fn run(&self) -> Report {
        let mut report = Report::default();
        let log = fs::File::create(self.folder.join("log")).expect("the folder is writable");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(&self.python)
            .arg(Site::script("clients.py"))
            .args([self.client.name(), &self.plan.to_string()])
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
            .env("HOME", &self.folder)
            .env("AWS_CONFIG_FILE", self.folder.join("config"))
            .envs(self.clues.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(WINDOW + LATER, child).await;
        let (ended, said) = match &output {
            Ok(Ok(output)) => (output.status.to_string(), String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(Err(error)) => (error.to_string(), String::new()),
            Err(_) => ("is not ready in time".to_owned(), String::new()),
        };
        rows(&self.what, &said, &mut report);
        report.equal(&format!("{}: the program", self.what), "exit status: 0".to_owned(), ended);
        report
    }
}

/// A row for each line that a script said.
pub(super) fn rows(who: &str, said: &str, report: &mut Report) {
    for line in said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |key: &str| line[key].as_str().map_or_else(|| line[key].to_string(), str::to_owned);
        let what = format!("{who}: {}", text("what"));
        let expected = match &*text("what") {
            "another bucket" => "AccessDenied",
            "turns in the window" => "as many as there is time for",
            "failed among them" => "0",
            _ => "as it was put",
        };
        report.row(&what, expected, text("seen"), line["ok"] == true);
    }
}

/// What a turn may take beyond the window.
const LATER: Duration = Duration::from_secs(180);

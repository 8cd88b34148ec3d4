//! Claviger itself: the binary as people run it, between Keycloak and MinIO.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::agent::Agent;
use crate::keycloak::{CLIENT_ID, CLIENT_SECRET, Keycloak, OTHER_REALM, REALM};
use crate::minio::{Minio, REGION};
use crate::process::Running;

/// A running `claviger serve`.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Running,
}

impl Proxy {
    /// Starts claviger on `url`, offering both realms, with MinIO behind it.
    pub(crate) async fn start(url: &str, keycloak: &Keycloak, minio: &Minio, kept: &Path) -> Self {
        let file = kept.join("claviger.toml");
        fs::write(&file, config(url, keycloak, minio, kept)).expect("the folder is writable");
        let mut process = Running::start("claviger", env!("CARGO_BIN_EXE_claviger"), kept, |command| {
            command.arg("serve").arg(&file).env("OIDC_SECRET", CLIENT_SECRET)
        });
        let me = Url::parse(&format!("{url}/.claviger/me")).expect("a URL");
        process.ready(START, async || Agent::new().open(&me).await.is_ok()).await;
        Self { process }
    }

    /// The access key ids that claviger got from MinIO so far, as its audit lines name them; a renewal is a new one.
    pub(crate) fn access_keys(&self) -> BTreeSet<String> {
        let log = self.process.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let issued = lines.filter(|line| line["message"] == "credentials were issued");
        issued.filter_map(|line| line["access_key.id"].as_str().map(str::to_owned)).collect()
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// No `duration`: DurationSeconds is not sent then, and MinIO's keys end with the ID token.
fn config(url: &str, keycloak: &Keycloak, minio: &Minio, kept: &Path) -> String {
    let address = url.trim_start_matches("http://");
    let identity = |name: &str| {
        let issuer = keycloak.issuer(name);
        format!(
            r#"
[identity.{name}]
kind = "oidc"
issuer = "{issuer}"
client_id = "{CLIENT_ID}"
client_secret = {{ env = "OIDC_SECRET" }}
"#
        )
    };
    let (corp, partners, minio) = (identity(REALM), identity(OTHER_REALM), &minio.url);
    format!(
        r#"
state_dir = "{state}"

[listen.main]
address = "{address}"
public_url = "{url}"
{corp}{partners}
[session]
lifetime = "8h"

[credentials.minio]
kind = "web_identity"
region = "{REGION}"
endpoint = "{minio}"

[route.store]
host = ["127.0.0.1", "localhost"]
upstream = "{minio}"
allow = "signed-in"
role = "arn:minio:iam:::role/contract"
inject = {{ kind = "sigv4", service = "s3", region = "{REGION}" }}
"#,
        state = kept.join("state").display()
    )
}

const START: Duration = Duration::from_secs(30);

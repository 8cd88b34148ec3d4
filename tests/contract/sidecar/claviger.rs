//! Claviger as a sidecar: endpoints and no listener, a token from a file, two services that issue keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::Full;
use serde_json::Value;
use url::Url;

use super::Site;
use super::kinds::{Client, KINDS, Kind};
use super::moto::Moto;
use crate::agent::Agent;
use crate::minio::REGION;
use crate::process::{Running, free_port};

/// A running claviger.
#[derive(Debug)]
pub(crate) struct Sidecar {
    process: Running,
    /// By the endpoint's name.
    ports: BTreeMap<String, u16>,
    token_file: PathBuf,
    /// The plain listener, where requests are signed anew; without a slash.
    pub(crate) url: String,
    admin: String,
}

/// What clients show at endpoints that ask for it.
pub(crate) const TOKEN: &str = "b2e51f7c0a3d4968b2e51f7c0a3d4968";

impl Sidecar {
    /// An endpoint for each client of each kind, one for keys of moto's, and one that pages try to read.
    pub(crate) async fn start(site: &Site<'_>, moto: &Moto) -> Self {
        let token_file = site.kept.join("token");
        fs::write(&token_file, TOKEN).expect("the folder is writable");
        let (mut ports, listener, admin) = (BTreeMap::new(), free_port(), free_port());
        let mut config = format!(
            "state_dir = \"{state}\"\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\n\
             [listen.main]\naddress = \"127.0.0.1:{listener}\"\n\
             [identity.workload]\nkind = \"token_file\"\npath = \"{token}\"\n\
             [credentials.minio]\nkind = \"web_identity\"\nregion = \"{REGION}\"\nendpoint = \"{minio}\"\n\
             [credentials.moto]\nkind = \"assume_role\"\nregion = \"{REGION}\"\nendpoint = \"{moto}\"\nbase = [\"environment\"]\n\
             [identity.signed]\nkind = \"sigv4\"\n\
             [route.store]\nhost = \"127.0.0.1\"\nidentity = [\"signed\"]\nupstream = \"{minio}\"\nallow = \"signed-in\"\n\
             credentials = \"minio\"\nrole = \"{ROLE}\"\n\
             inject = {{ kind = \"sigv4\", service = \"s3\", region = \"{REGION}\" }}\n",
            state = site.kept.join("state").display(),
            token = site.token_file().display(),
            minio = site.minio.url,
            moto = moto.url,
        );
        let mut add = |name: String, kind: &Kind, issuer: &str, role: &str| {
            let port = free_port();
            config.push_str(&kind.section(&name, port, issuer, role, &token_file));
            ports.insert(name, port);
        };
        for kind in KINDS {
            for client in Client::ALL {
                add(kind.endpoint(client), kind, "minio", ROLE);
            }
        }
        add("moto".to_owned(), &KINDS[0], "moto", &moto.role);
        add(FOR_PAGES.to_owned(), &KINDS[0], "minio", ROLE);
        let file = site.kept.join("claviger.toml");
        fs::write(&file, config).expect("the folder is writable");
        let mut process = Running::start("sidecar", env!("CARGO_BIN_EXE_claviger"), &site.kept, |command| {
            command.arg("serve").arg(&file).envs(moto.keys())
        });
        let port = ports[FOR_PAGES];
        process.ready(START, async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        let [url, admin] = [listener, admin].map(|port| format!("http://127.0.0.1:{port}"));
        Self { process, ports, token_file, url, admin }
    }

    /// What a client of that kind has in its environment.
    pub(crate) fn clues(&self, kind: &Kind, client: Client) -> Vec<(&'static str, String)> {
        self.clues_of(kind, &kind.endpoint(client))
    }

    /// The same, of an endpoint by its name.
    pub(crate) fn clues_of(&self, kind: &Kind, endpoint: &str) -> Vec<(&'static str, String)> {
        kind.clues(self.ports[endpoint], &self.token_file)
    }

    /// The port that pages try to read.
    pub(crate) fn port_for_pages(&self) -> u16 {
        self.ports[FOR_PAGES]
    }

    /// What no log may hold: the secret key and the session token that are handed out now.
    pub(crate) async fn secret_keys(&self) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/v1/credentials", self.port_for_pages());
        let request = Request::get(url).header(AUTHORIZATION, TOKEN).body(Full::default()).expect("a request");
        let answer = Agent::new().send(request).await.expect("claviger answers");
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |key: &str| told[key].as_str().unwrap_or_else(|| panic!("no keys: {}", answer.text())).to_owned();
        ["SecretAccessKey", "Token"].map(text).to_vec()
    }

    /// The access key ids that an endpoint has handed out.
    pub(crate) fn keys_of(&self, endpoint: &str) -> BTreeSet<String> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["endpoint"] == endpoint && line["message"] == "credentials were handed out")
            .filter_map(|line| line["aws.access_key_id"].as_str().map(str::to_owned))
            .collect()
    }

    /// How many requests of pages were refused, by claviger's own count.
    pub(crate) async fn refused_pages(&self) -> u64 {
        let metrics = Url::parse(&format!("{}/metrics", self.admin)).expect("a URL");
        let told = Agent::new().open(&metrics).await.expect("claviger answers").text();
        let name = format!("claviger_endpoint_requests_total{{endpoint=\"{FOR_PAGES}\",verdict=\"refused\"}} ");
        let count = told.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        count.unwrap_or_else(|| panic!("nothing is counted: {told}"))
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// Policy mode or not, MinIO takes the token's policy; the role is for the audit line.
const ROLE: &str = "arn:minio:iam:::role/contract";
const FOR_PAGES: &str = "for-pages";
const START: Duration = Duration::from_secs(30);

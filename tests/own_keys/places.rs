//! Where machines and containers get keys of their own: the EKS pod identity agent's endpoint, and IMDSv2 as EC2 has it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use claviger::aws::AssumedRole;
use claviger::clock::rfc3339;
use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::tls::{Handshakes, ServerIdentity};
use claviger::web::{self, Connection, Request, Response};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

/// Both, at an address of their own.
pub struct Places {
    scheme: &'static str,
    at: SocketAddr,
    desk: Arc<Desk>,
    _workers: Workers,
}

/// A request that came.
#[derive(Clone)]
pub struct Asked {
    pub line: String,
    headers: HeaderMap,
}

#[derive(Default)]
struct Desk {
    keys: Mutex<Option<Value>>,
    asked: Mutex<Vec<Asked>>,
}

impl Places {
    /// They have no keys yet.
    pub fn start() -> Self {
        Self::serving("http", None)
    }

    /// The same by https, with this certificate and key.
    pub fn secure(certificate: &Path, key: &Path) -> Self {
        Self::serving(
            "https",
            Some(Handshakes::new(ServerIdentity::load(certificate, key).unwrap().server_config(&[b"http/1.1"]))),
        )
    }

    fn serving(scheme: &'static str, tls: Option<Handshakes>) -> Self {
        let (workers, listener) = (Workers::start(1).unwrap(), Listener::bind(([127, 0, 0, 1], 0).into()).unwrap());
        let (at, desk) = (listener.local_addr().unwrap(), Arc::new(Desk::default()));
        let manner = Manner { tls, ..Manner::plain("places", &Metrics::new()) };
        workers.serve(listener, manner, Arc::clone(&desk) as Arc<dyn Handler>);
        Self { scheme, at, desk, _workers: workers }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.at)
    }

    /// From now on these are given, and said to end then.
    pub fn give(&self, keys: &AssumedRole, ends: SystemTime) {
        *self.desk.keys.lock().unwrap() = Some(json!({
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key.expose(),
            "Token": keys.session_token.expose(),
            "Expiration": rfc3339(ends),
        }));
    }

    /// What came so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.desk.asked.lock().unwrap().clone()
    }
}

impl Asked {
    /// A header's value; empty where it has none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

#[async_trait]
impl Handler for Desk {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let headers = request.headers().clone();
        let asked = Asked { line: format!("{method} {path}"), headers };
        let token = asked.header("x-aws-ec2-metadata-token").to_owned();
        let lives = asked.header("x-aws-ec2-metadata-token-ttl-seconds").parse::<u32>();
        self.asked.lock().unwrap().push(asked);
        let text = |status, text: &str| web::answer(status, "text/plain", text.to_owned());
        match (&method, path.strip_prefix("/latest/meta-data/iam/security-credentials/")) {
            (&Method::PUT, _) if path == "/latest/api/token" && lives.is_ok_and(|s| (1..=21_600).contains(&s)) => {
                text(StatusCode::OK, "imds-token")
            }
            (&Method::GET, None) if path == "/v1/credentials" => self.keys(),
            (&Method::GET, Some(_)) if token != "imds-token" => text(StatusCode::UNAUTHORIZED, ""),
            (&Method::GET, Some("")) => text(StatusCode::OK, "machine-role"),
            (&Method::GET, Some("machine-role")) => self.keys(),
            _ => text(StatusCode::NOT_FOUND, ""),
        }
    }
}

impl Desk {
    fn keys(&self) -> Response {
        match &*self.keys.lock().unwrap() {
            Some(keys) => web::json(StatusCode::OK, keys),
            // a failure as IMDS has them, with 200
            None => web::json(StatusCode::OK, &json!({"Code": "Failed", "SecretAccessKey": "not-for-the-log"})),
        }
    }
}

//! Verify mode: clients sign with keys of ours, claviger checks that to the last byte, and signs anew with the real ones.

mod bodies;
mod forged;

use std::net::SocketAddr;
use std::time::Duration;

use claviger::clock::{Clock as _, SystemClock};
use claviger::secret::Secret;
use claviger::sigv4::chunked::Chain;
use claviger::sigv4::{Keys, Payload, Signer};
use http::{HeaderValue, Method, StatusCode, request};
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::client::{Answer, headers, send};
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[identity.workload]
kind = "token_file"
path = "workload.jwt"

[identity.signed]
kind = "sigv4"
endpoints = ["app"]

[endpoint.app]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
keys = "own"

[endpoint.other]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
keys = "own"

[endpoint.real]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"

[route.s3]
host = "*"
identity = ["signed"]
upstream = "{upstream}"
tolerate = ["empty-segment", "encoded-slash"]
credentials = "direct"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.api]
host = "*"
path = "/api"
identity = ["signed"]
upstream = "{upstream}"
credentials = "direct"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1", body_limit = "64KiB" }

[route.people]
host = "*"
path = "/people"
identity = ["idp"]
upstream = "{upstream}"
credentials = "direct"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A key as an SDK holds it.
struct Key {
    id: String,
    secret: Secret,
    token: HeaderValue,
}

impl Key {
    /// As the endpoint of this name hands it out.
    async fn of(world: &World, endpoint: &str) -> Self {
        let at = world.claviger.address(&format!("endpoint.{endpoint}")).await;
        let answer = send(at, Method::GET, "/v1/credentials", &headers(&[("authorization", TOKEN)]), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let told = answer.json();
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        let token = text("Token").parse().unwrap();
        Self { id: text("AccessKeyId"), secret: Secret::new(text("SecretAccessKey")), token }
    }

    /// Signs as the SDK for this service does.
    fn sign(&self, parts: &mut request::Parts, payload: &Payload, sent: Sent<'_>) -> Option<Chain> {
        let signer = Signer::new(sent.service.parse().unwrap(), sent.region.parse().unwrap());
        let keys = Keys { access_key_id: &self.id, secret: &self.secret, session_token: Some(&self.token) };
        let now = SystemClock.now();
        let now = match sent.late {
            late @ 0.. => now - Duration::from_secs(late.unsigned_abs()),
            early => now + Duration::from_secs(early.unsigned_abs()),
        };
        signer.sign(parts, payload, &keys, now).unwrap()
    }
}

/// How a client signs.
#[derive(Clone, Copy)]
struct Sent<'a> {
    service: &'a str,
    region: &'a str,
    /// Seconds before now.
    late: i64,
}

const S3: Sent<'_> = Sent { service: "s3", region: "eu-west-1", late: 0 };

async fn world() -> World {
    world_of(ROUTES).await
}

async fn world_of(routes: &str) -> World {
    let world = Plan::with_routes(routes).file("token", TOKEN).start().await;
    world.log_in(&mut Browser::default(), &world.url("/people"), "alice").await;
    let said = world.idp_tap.said();
    let tokens = said.iter().rev().filter_map(|said| serde_json::from_str::<Value>(&said.answered).ok());
    let token = tokens.filter_map(|answer| answer["id_token"].as_str().map(str::to_owned)).next().unwrap();
    std::fs::write(world.file("new"), token).unwrap();
    std::fs::rename(world.file("new"), world.file("workload.jwt")).unwrap();
    world
}

/// A head for claviger, to be signed.
fn head(at: SocketAddr, method: Method, target: &str, lines: &[(&str, &str)]) -> request::Parts {
    let mut request = http::Request::builder().method(method).uri(target).header("host", at.to_string());
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

async fn send_signed(world: &World, parts: request::Parts, body: impl Into<Vec<u8>>) -> Answer {
    send(world.at, parts.method.clone(), &parts.uri.to_string(), &parts.headers, body).await
}

//! `[endpoint.<name>]`: what an unmodified SDK gets, and what nobody else does.

use std::net::SocketAddr;

use http::Method;
use serde_json::Value;

use crate::support::client::{Answer, headers, send};
use crate::support::routes::DIRECT;
use crate::support::world::{Plan, World};

mod container;
mod imds;
mod pods;
mod running;
mod socket;

/// A workload whose platform gives it Alice's tokens.
const WORKLOAD: &str = r#"
[identity.workload]
kind = "token_file"
path = "workload.jwt"

[endpoint.app]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"

[endpoint.instance]
kind = "imds"
address = "127.0.0.1:0"
region = "eu-west-1"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"

[endpoint.local]
kind = "container"
socket = "app.sock"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
"#;

/// Endpoints for a role that STS gives to nobody.
const STRANGERS: &str = r#"
[endpoint.stranger]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/nobodys"

[endpoint.outcast]
kind = "imds"
address = "127.0.0.1:0"
region = "eu-west-1"
availability_zone = "eu-west-1c"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/nobodys"
"#;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NEXT_TOKEN: &str = "fedcba9876543210fedcba9876543210";
const CREDENTIALS: &str = "/v1/credentials";

/// A world in which claviger has its own identity, and the address of `app`.
async fn world() -> (World, SocketAddr) {
    world_with("").await
}

async fn world_with(more: &str) -> (World, SocketAddr) {
    let world = Plan::with_routes(&[DIRECT, WORKLOAD, more].concat()).file("token", TOKEN).start().await;
    let at = world.claviger.address("endpoint.app").await;
    (world, at)
}

/// Headers that no SDK of this workload sends with a request for `at` (A22).
fn of_others(at: SocketAddr) -> Vec<(&'static str, String)> {
    let hosts = [
        "evil.test".to_owned(),
        format!("evil.test:{}", at.port()),
        format!("localhost:{}", at.port().wrapping_add(1)),
        format!("127.0.0.1.nip.io:{}", at.port()),
        format!("{at}."),
    ];
    let others = [
        ("origin", "http://127.0.0.1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "no-cors"),
        ("x-forwarded-for", "192.0.2.7"),
        ("forwarded", "for=192.0.2.7"),
    ];
    let others = others.map(|(name, value)| (name, value.to_owned()));
    hosts.map(|host| ("host", host)).into_iter().chain(others).collect()
}

/// Puts a token of Alice's where the platform does.
async fn give_token(world: &World) {
    world.ticket("alice").await;
    let said = world.idp_tap.said();
    let tokens = said.iter().rev().filter_map(|said| serde_json::from_str::<Value>(&said.answered).ok());
    let token = tokens.filter_map(|answer| answer["id_token"].as_str().map(str::to_owned)).next().unwrap();
    write(world, "workload.jwt", &token);
}

/// As a platform rotates a file.
fn write(world: &World, name: &str, text: &str) {
    std::fs::write(world.file("new"), text).unwrap();
    std::fs::rename(world.file("new"), world.file(name)).unwrap();
}

async fn ask(at: SocketAddr, path: &str, token: &str) -> Answer {
    send(at, Method::GET, path, &headers(&[("authorization", token), ("accept", "application/json")]), "").await
}

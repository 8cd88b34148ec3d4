//! Callers who don't log in: services that show a token, and clients that show a certificate.

use http::{HeaderMap, Method};

use crate::support::client::{self, Answer};
use crate::support::world::World;

mod certificates;
pub mod ends;
mod forged;
pub mod issuer;
mod keys;
mod several;
mod tokens;

/// For whoever is known by whatever they show, and for people alone; the upstream is told who it was.
const KNOWN: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"

[route.app.inject]
kind = "headers"
set = { X-User = "{subject.source}/{subject.id}", X-Department = "{claims.department}", X-Name = "{claims.common_name}" }

[route.people]
host = "*"
path = "/people"
upstream = "{upstream}"
allow = "signed-in"
identity = ["idp"]
inject = { kind = "headers", set = { X-User = "{subject.source}/{subject.id}" } }
"#;

/// What a caller with these headers gets at a path.
async fn ask(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    client::send(world.at, Method::GET, path, &client::headers(headers), "").await
}

/// What the bearer of a token gets at a path.
async fn ask_with(world: &World, path: &str, token: &str) -> Answer {
    ask(world, path, &[("authorization", &format!("Bearer {token}"))]).await
}

/// The code by which an answer's fault is known; empty where it is none.
fn fault(answer: &Answer) -> String {
    let is_fault = answer.status.is_client_error() || answer.status.is_server_error();
    let code = is_fault.then(|| answer.json()["error"].as_str().unwrap_or_default().to_owned());
    code.unwrap_or_default()
}

/// A header that the upstream saw last.
fn seen(world: &World, name: &str) -> Option<String> {
    let headers: HeaderMap = world.upstream.last().headers;
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

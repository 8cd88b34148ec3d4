//! An upstream that tells what it was sent.

use std::sync::Arc;

use async_trait::async_trait;
use claviger::server::Handler;
use claviger::web::{self, Body, Connection, Request, Response};
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use super::watched::until;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body broke off; then none of it is kept.
    pub broken: bool,
    pub trailers: HeaderMap,
}

impl Seen {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The names of the headers that its SigV4 signature covers; none where it has no signature.
    pub fn signed_headers(&self) -> Vec<&str> {
        let line = self.all("authorization").into_iter().find_map(|line| line.split_once("SignedHeaders="));
        line.map_or_else(Vec::new, |(_, rest)| rest.split(',').next().unwrap_or_default().split(';').collect())
    }
}

/// Everything an upstream has seen, and how it answers.
#[derive(Clone, Default)]
pub struct Upstream {
    seen: Arc<watch::Sender<Vec<Seen>>>,
}

impl Upstream {
    /// What arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until what arrived is as it should be.
    pub async fn until(&self, is_as_it_should_be: impl Fn(&[Seen]) -> bool) {
        until(&self.seen, |seen| is_as_it_should_be(seen)).await;
    }

    /// The last that arrived.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream has seen a request")
    }
}

#[async_trait]
impl Handler for Upstream {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let (body, trailers, broken) = match http_body_util::BodyExt::collect(body).await {
            Ok(read) => {
                let trailers = read.trailers().cloned().unwrap_or_default();
                (read.to_bytes().to_vec(), trailers, false)
            }
            Err(_) => (Vec::new(), HeaderMap::new(), true),
        };
        let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let seen = Seen { method: parts.method, target, headers: parts.headers, body, broken, trailers };
        let answer = json!({ "target": seen.target, "body_length": seen.body.len() });
        let asked: Vec<(String, String)> =
            form_urlencoded::parse(seen.target.split('?').nth(1).unwrap_or("").as_bytes()).into_owned().collect();
        self.seen.send_modify(|all| all.push(seen));
        let mut response = web::json(StatusCode::OK, &answer);
        for (key, value) in asked {
            match key.as_str() {
                "answer-status" => *response.status_mut() = value.parse().unwrap(),
                "answer-header" => {
                    let (name, value) = value.split_once('=').unwrap();
                    response.headers_mut().append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
                }
                "answer-bytes" => *response.body_mut() = Body::full(vec![b'x'; value.parse().unwrap()]),
                _ => {}
            }
        }
        response
    }
}

//! Keys for the child of `claviger exec`: the container endpoint of one process, as long as that runs.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;

use super::{Client, ClientError, Refused};
use crate::endpoint::objection;
use crate::secret::{Secret, random_token};
use crate::web::{self, Body, Response, chain};

/// The endpoint.
#[derive(Debug)]
pub struct Errand {
    listener: TcpListener,
    at: SocketAddr,
    site: Arc<Site>,
}

#[derive(Debug)]
struct Site {
    at: SocketAddr,
    token: Secret,
    client: Client,
    profile: String,
}

impl Errand {
    /// Binds a free port.
    ///
    /// # Errors
    /// The system's.
    pub async fn open(client: Client, profile: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let token = Secret::new(random_token(32));
        let site = Arc::new(Site { at, token, client, profile: profile.to_owned() });
        Ok(Self { listener, at, site })
    }

    /// What SDKs in the child find it by.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}{PATH}", self.at)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", self.site.token.expose().to_owned()),
        ]
    }

    /// Answers for ever.
    pub async fn serve(self) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let site = Arc::clone(&self.site);
            let service = service_fn(move |request| {
                let site = Arc::clone(&site);
                async move { Ok::<_, Infallible>(site.answer(&request).await) }
            });
            tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await });
        }
    }
}

impl Site {
    async fn answer(&self, request: &http::Request<Incoming>) -> Response {
        // a web page that asks learns nothing, not even what this is (A22, A23)
        if objection(request.headers(), self.at).is_some() {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        if request.method() != Method::GET || request.uri().path() != PATH {
            return say(StatusCode::NOT_FOUND, "NotFound", "there is nothing else here");
        }
        let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !shown.is_some_and(|shown| self.token.matches(shown)) {
            let message = "the Authorization header is not what is in AWS_CONTAINER_AUTHORIZATION_TOKEN";
            return say(StatusCode::UNAUTHORIZED, "Unauthorized", message);
        }
        match self.client.keys(&self.profile).await {
            Ok(keys) => json(StatusCode::OK, &keys),
            Err(ClientError::Refused(Refused { code, message })) => say(StatusCode::FORBIDDEN, &code, &message),
            Err(error) => say(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &chain(&error)),
        }
    }
}

fn say(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, &Refused { code: code.to_owned(), message: message.to_owned() })
}

fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    let mut response = web::answer(status, "application/json", serde_json::to_vec(answer).unwrap_or_default());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const PATH: &str = "/v1/credentials";
/// Where the system has no descriptors left it has some a moment later.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

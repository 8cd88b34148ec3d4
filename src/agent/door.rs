//! The agent's socket: HTTP with JSON, for this user alone.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};

use super::{Agent, Held, Keys, NotHeld, Refused, StartError, Underway, listen};
use crate::clock::rfc3339;
use crate::credentials::IssueError;
use crate::secret::Secret;
use crate::web::{self, Response, chain};

/// Answers on the socket until `stop`.
///
/// # Errors
/// A socket that can't be had.
pub async fn serve(agent: Arc<Agent>, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let socket = agent.home.socket.clone();
    let listener = listen(&socket)?;
    tracing::info!(socket = %socket.display(), config = %agent.home.config.display(), "listening");
    tokio::select! {
        () = accept(&agent, &listener) => {}
        () = stop => {}
    }
    let _ = std::fs::remove_file(&socket);
    agent.close().await;
    Ok(())
}

async fn accept(agent: &Arc<Agent>, listener: &UnixListener) {
    let own = rustix::process::getuid().as_raw();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // the socket's mode keeps others off, where the system heeds it (A25)
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own => drop(tokio::spawn(converse(Arc::clone(agent), stream))),
            Ok(peer) => tracing::warn!(peer.uid = peer.uid(), "another user was turned away"),
            Err(error) => tracing::warn!(error = chain(&error), "who asks can't be said"),
        }
    }
}

async fn converse(agent: Arc<Agent>, stream: UnixStream) {
    let service = service_fn(move |request| {
        let agent = Arc::clone(&agent);
        async move { Ok::<_, Infallible>(agent.answer(request).await) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Agent {
    async fn answer(&self, request: http::Request<Incoming>) -> Response {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["v1", "status"]) => json(StatusCode::OK, &self.status().await),
            (&Method::GET, ["v1", "credentials", profile]) => match self.keys(profile).await {
                Ok(held) => json(StatusCode::OK, &self.told(profile, &held)),
                Err(error) => refused(&error),
            },
            (&Method::POST, ["v1", "logins", profile]) => self.begin(profile).await,
            (&Method::GET, ["v1", "logins", profile]) => self.wait(profile).await,
            (&Method::DELETE, ["v1", "logins", profile]) => match self.profile(profile) {
                Ok(profile) => json(StatusCode::OK, &self.logins.end(&profile.source).await),
                Err(error) => refused(&error),
            },
            _ => say(
                StatusCode::NOT_FOUND,
                "NotFound",
                "there is no such question; is this claviger as new as the agent?",
            ),
        }
    }

    async fn begin(&self, name: &str) -> Response {
        let profile = match self.profile(name) {
            Ok(profile) => profile,
            Err(error) => return refused(&error),
        };
        match self.logins.begin(&profile.source).await {
            Ok((begun, is_new)) => {
                let identity = profile.source.to_string();
                json(StatusCode::OK, &Underway { identity, url: begun.url.to_string(), is_new })
            }
            Err(error) => say(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &chain(&error)),
        }
    }

    async fn wait(&self, name: &str) -> Response {
        let profile = match self.profile(name) {
            Ok(profile) => profile,
            Err(error) => return refused(&error),
        };
        match self.logins.outcome(&profile.source).await {
            Ok(()) => json(StatusCode::OK, &self.status().await),
            Err(reason) => say(StatusCode::FORBIDDEN, "LoginFailed", &reason),
        }
    }

    fn told(&self, profile: &str, held: &Held) -> Keys {
        let Held { grant, credentials } = held;
        let account = grant.role.account();
        let region = self.generation.profiles.get(profile).and_then(|profile| profile.region.as_ref());
        Keys {
            access_key_id: credentials.access_key_id.to_string(),
            secret_access_key: credentials.secret_access_key.clone(),
            token: Secret::new(credentials.session_token.to_str().unwrap_or_default()),
            expiration: rfc3339(credentials.expires),
            role_arn: grant.role.to_string(),
            account_id: (!account.is_empty()).then(|| account.to_owned()),
            region: region.map(ToString::to_string),
        }
    }
}

fn refused(error: &NotHeld) -> Response {
    let (status, code) = match error {
        NotHeld::NoProfile(_) => (StatusCode::NOT_FOUND, "NoProfile"),
        NotHeld::LoginWanted(_) => (StatusCode::UNAUTHORIZED, "LoginRequired"),
        NotHeld::Denied(_) => (StatusCode::FORBIDDEN, "AccessDenied"),
        NotHeld::Issue { source, .. } => match &**source {
            IssueError::Refused { code, .. } => (StatusCode::FORBIDDEN, &**code),
            IssueError::EvidenceExpired | IssueError::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
            }
        },
    };
    say(status, code, &chain(error))
}

fn say(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, &Refused { code: code.to_owned(), message: message.to_owned() })
}

fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    let text = serde_json::to_vec(answer).unwrap_or_default();
    web::answer(status, "application/json", text)
}

/// Where the system has no descriptors left it has some a moment later.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

//! `kind = "container"`: answers as the ECS agent and the EKS Pod Identity Agent do (SDK reference, "Container credential
//! provider").
//!
//! Clients find it by `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `_RELATIVE_URI`, and send what is in the file that
//! `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` names, verbatim, as `Authorization`. Whatever is not 200 they show to their
//! user with its body, so the body says what is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::counts::Verdict;
use super::ledger::Ledger;
use super::own::{Held, NotHeld, Own};
use super::place::Place;
use super::shelf::Shelf;
use super::{Asked, Binding, Endpoint, Materials, Standing, guard};
use crate::broker::Broker;
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::rfc3339;
use crate::credentials::IssueError;
use crate::files::{Rotated, RotatedError};
use crate::policy::{Ask, Denied, Explanation, HopSettings, RoleSettings, WantSettings};
use crate::secret::Secret;
use crate::web::{self, Body, Response, chain};

pub(super) const BUILT_IN: BuiltIn<dyn Endpoint, Materials> = BuiltIn {
    kind: "container",
    summary: "Answers SDKs as the ECS agent and the EKS Pod Identity Agent do.",
    example: include_str!("../../config/examples/endpoint/container.toml"),
    build: |settings, materials| Ok(Arc::new(Container::build(&settings, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainerSettings {
    address: Option<Place>,
    socket: Option<PathBuf>,
    #[serde(default)]
    users: Vec<u32>,
    token_file: Option<PathBuf>,
    identity: String,
    credentials: String,
    role: Option<String>,
    #[serde(default)]
    roles: Vec<RoleSettings>,
    session_name: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    transitive_tags: Vec<String>,
    source_identity: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    through: Vec<HopSettings>,
    external_id: Option<String>,
    policy: Option<String>,
    #[serde(default)]
    policy_arns: Vec<String>,
}

#[derive(Debug)]
struct Container {
    binding: Binding,
    /// Who may ask by the socket.
    users: Vec<u32>,
    /// What clients show. By a socket they may show nothing, as the system says who they are.
    token: Option<Rotated<Secret>>,
    own: Own,
    shelf: Shelf,
    ledger: Ledger,
}

/// Why a request gets no credentials.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    NoSdk(&'static str),
    #[error("the user {0} may not ask by this socket")]
    User(u32),
    #[error(
        "the Authorization header is missing, or not what is in the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    )]
    Token,
    #[error("the authorization token can't be checked")]
    TokenFile(#[source] RotatedError),
    #[error("there is /v1/credentials and /v1/credentials/<role>")]
    Unknown,
    #[error("credentials are asked for by GET")]
    Method,
    #[error(transparent)]
    NotHeld(NotHeld),
}

/// The answer's body, with the keys in the case that SDKs expect.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
    role_arn: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    account_id: &'a str,
}

impl Container {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        let settings: ContainerSettings = section.parse()?;
        let in_folder = |path: &PathBuf| section.surroundings.folder.join(path);
        let users = [&*settings.users, &[ROOT, geteuid().as_raw()]].concat();
        let binding = settings.binding(in_folder)?;
        let want = WantSettings {
            role: settings.role,
            roles: settings.roles,
            session_name: settings.session_name,
            tags: settings.tags,
            transitive_tags: settings.transitive_tags,
            source_identity: settings.source_identity,
            duration: settings.duration,
            through: settings.through,
            external_id: settings.external_id,
            policy: settings.policy,
            policy_arns: settings.policy_arns,
        };
        Ok(Self {
            binding,
            users,
            // not among the config's own files: a rotated token is no other config
            token: settings.token_file.as_ref().map(in_folder).map(Rotated::new),
            own: Own::build(&settings.identity, &settings.credentials, &want, materials)?,
            shelf: Shelf::default(),
            ledger: Ledger::open(&materials.metrics, section.name),
        })
    }

    async fn held(&self, asked: &Asked<'_>) -> Result<Held, Refusal> {
        let head = asked.head;
        if let Some(objection) = guard::objection(&head.headers, asked.at) {
            return Err(Refusal::NoSdk(objection));
        }
        // the system's word, which nobody can forge (A24)
        if let Some(user) = asked.connection.user.filter(|user| !self.users.contains(user)) {
            return Err(Refusal::User(user));
        }
        if let Some(file) = &self.token {
            let token = file.current(token).map_err(Refusal::TokenFile)?;
            if !shown(&head.headers).is_some_and(|shown| token.matches(shown)) {
                return Err(Refusal::Token);
            }
        }
        let wanted = match head.uri.path().strip_prefix("/v1/credentials").ok_or(Refusal::Unknown)? {
            "" => None,
            rest => Some(rest.strip_prefix('/').filter(|name| is_name(name)).ok_or(Refusal::Unknown)?),
        };
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        let peer = asked.connection.peer.ip();
        self.own.credentials(wanted, peer, asked.broker, asked.now).await.map_err(Refusal::NotHeld)
    }
}

impl ContainerSettings {
    /// Who connects to a port could be anybody on this machine and shows a token; of a socket the system knows.
    fn binding(&self, in_folder: impl Fn(&PathBuf) -> PathBuf) -> Result<Binding, SettingsError> {
        match (&self.address, &self.socket) {
            (Some(_), Some(_)) => Err(SettingsError::at("socket", "is there beside `address`; expected one of them")),
            (None, None) => {
                Err(SettingsError::at("address", "is missing; expected something like 127.0.0.1:9911, or a `socket`"))
            }
            (Some(_), None) if !self.users.is_empty() => Err(SettingsError::at(
                "users",
                "is of no use without `socket`: nobody knows whose a port's clients are",
            )),
            (Some(_), None) if self.token_file.is_none() => {
                Err(SettingsError::at("token_file", "is missing; expected the file of what clients show"))
            }
            (Some(place), None) => Ok(Binding::at(place.0)),
            (None, Some(path)) => Ok(Binding::Socket { path: in_folder(path), for_all: !self.users.is_empty() }),
        }
    }
}

#[async_trait]
impl Endpoint for Container {
    fn binding(&self) -> Binding {
        self.binding.clone()
    }

    async fn answer(&self, asked: Asked<'_>) -> Response {
        match self.held(&asked).await {
            Ok(held) => {
                self.ledger.count(Verdict::Served);
                let (body, is_new) = self.shelf.body(&held, asked.client(), asked.now, written);
                if is_new {
                    self.ledger.handed_out(&held, &asked);
                }
                let mut response = Response::new(Body::full(body));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(refusal) => {
                let (verdict, reason) = refusal.sort();
                self.ledger.refused(verdict, reason, &refusal, refusal.status(), &asked);
                refusal.answer()
            }
        }
    }

    fn explain(&self, ask: Ask<'_>) -> Option<Explanation> {
        Some(self.own.explain(ask))
    }

    fn lacks(&self) -> Option<String> {
        let token = self.token.as_ref().and_then(|file| file.current(token).err());
        token.map(|error| chain(&error)).or_else(|| self.own.lacks())
    }

    fn standing(&self) -> Standing {
        self.own.standing()
    }

    async fn tend(&self, broker: &Broker, now: SystemTime) {
        self.own.tend(broker, now, |held| self.ledger.at_hand(held)).await;
    }
}

impl Refusal {
    /// For the metrics, and for the log.
    fn sort(&self) -> (Verdict, &'static str) {
        match self {
            Self::NoSdk(objection) => (Verdict::Refused, objection),
            Self::User(_) => (Verdict::Refused, "another user asks"),
            Self::Token => (Verdict::Unauthorized, "the token is missing or wrong"),
            Self::TokenFile(_) => (Verdict::Failed, "the token can't be checked"),
            Self::Unknown => (Verdict::Unknown, "the path is unknown"),
            Self::Method => (Verdict::Unknown, "the method is another"),
            Self::NotHeld(error) => (Verdict::Failed, error.reason()),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoSdk(_) | Self::User(_) => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::NotHeld(NotHeld::Denied(Denied::RoleWanted(_))) => StatusCode::BAD_REQUEST,
            Self::NotHeld(NotHeld::Denied(_)) => StatusCode::FORBIDDEN,
            Self::NotHeld(NotHeld::Issue { source, .. }) if matches!(**source, IssueError::Refused { .. }) => {
                StatusCode::FORBIDDEN
            }
            Self::TokenFile(_) | Self::NotHeld(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn answer(&self) -> Response {
        let status = self.status();
        let (code, message) = match self {
            // a page must not even learn what this is (A22)
            Self::NoSdk(_) => return without_body(status),
            Self::User(_) => ("AccessDenied".to_owned(), self.to_string()),
            Self::Method => ("MethodNotAllowed".to_owned(), self.to_string()),
            Self::Token => ("Unauthorized".to_owned(), self.to_string()),
            Self::TokenFile(_) => ("ServiceUnavailable".to_owned(), self.to_string()),
            Self::Unknown => ("NotFound".to_owned(), self.to_string()),
            Self::NotHeld(error) => (error.code().to_string(), error.for_the_user()),
        };
        let mut response = web::json(status, &json!({ "code": code, "message": message }));
        if matches!(self, Self::Method) {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// The answer's body.
fn written(held: &Held) -> Vec<u8> {
    let (role, credentials) = (&held.grant.role, &held.credentials);
    let body = Answer {
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        token: credentials.session_token.to_str().unwrap_or_default(),
        expiration: rfc3339(credentials.expires),
        role_arn: role.as_str(),
        account_id: role.account(),
    };
    serde_json::to_vec(&body).unwrap_or_default() // of texts alone, it can be written
}

fn without_body(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// The only `Authorization`, as it is.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// What clients must show. Some send a trailing line end, which is then no header, and others leave it away: it is none of
/// the token.
fn token(text: &str) -> Result<Secret, String> {
    let token = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    match token.len() {
        SHORTEST.. if token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => Ok(Secret::new(token)),
        SHORTEST.. => Err("holds more than one line of printable ASCII".to_owned()),
        _ => Err(format!("holds a token of less than {SHORTEST} characters, which could be guessed")),
    }
}

/// As roles of IAM are named, and those of the config.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
}

const ROOT: u32 = 0;
/// 128 bits in base64 (A24).
const SHORTEST: usize = 22;

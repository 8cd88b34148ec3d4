//! `kind = "container"`: answers as the ECS agent and the EKS Pod Identity Agent do (SDK reference, "Container credential
//! provider").
//!
//! Clients find it by `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `_RELATIVE_URI`, and send what is in the file that
//! `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` names, verbatim, as `Authorization`. Whatever is not 200 they show to their
//! user with its body, so the body says what is wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::counts::{Counts, Verdict};
use super::own::{Held, NotHeld, Own};
use super::place::Place;
use super::{Asked, Endpoint, Materials, guard};
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::rfc3339;
use crate::credentials::IssueError;
use crate::files::{Rotated, RotatedError};
use crate::identity::{EvidenceError, IssuedKeys, IssuedTo};
use crate::policy::{Denied, HopSettings, RoleSettings, WantSettings};
use crate::secret::Secret;
use crate::telemetry::{AUDIT, Metrics};
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
    address: Place,
    token_file: PathBuf,
    identity: String,
    credentials: String,
    role: Option<String>,
    #[serde(default)]
    keys: Handed,
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

/// What clients get.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Handed {
    /// The credentials themselves.
    #[default]
    Issued,
    /// Keys of ours that stand for them here, and nowhere else.
    Own,
}

#[derive(Debug)]
struct Container {
    name: Arc<str>,
    place: Place,
    /// What clients show.
    token: Rotated<Secret>,
    own: Own,
    /// Hands out keys of ours, where it hands out none of the service's.
    keys: Option<IssuedKeys>,
    /// The keys that were handed out last: others are worth a line.
    last: ArcSwapOption<Arc<str>>,
    counts: Counts,
}

/// Why a request gets no credentials.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    NoSdk(&'static str),
    #[error(
        "the Authorization header is missing, or not what is in the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    )]
    Token,
    #[error("the authorization token can't be checked")]
    TokenFile(#[source] RotatedError),
    #[error("there is /v1/credentials and /v1/credentials/<role>, by GET")]
    Unknown,
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
        let metrics: &Metrics = &materials.metrics;
        Ok(Self {
            name: section.name.into(),
            place: settings.address,
            // not among the config's own files: a rotated token is no other config
            token: Rotated::new(section.surroundings.folder.join(settings.token_file)),
            own: Own::build(&settings.identity, &settings.credentials, &want, materials)?,
            keys: (settings.keys == Handed::Own).then(|| materials.keys.clone()),
            last: ArcSwapOption::empty(),
            counts: Counts::register(metrics, section.name),
        })
    }

    async fn held(&self, asked: &Asked<'_>) -> Result<Held, Refusal> {
        let head = asked.head;
        if let Some(objection) = guard::objection(&head.headers, asked.at) {
            return Err(Refusal::NoSdk(objection));
        }
        let token = self.token.current(token).map_err(Refusal::TokenFile)?;
        if !shown(&head.headers).is_some_and(|shown| token.matches(shown)) {
            return Err(Refusal::Token);
        }
        let rest = head.uri.path().strip_prefix("/v1/credentials").filter(|_| head.method == Method::GET);
        let wanted = match rest.ok_or(Refusal::Unknown)? {
            "" => None,
            rest => Some(rest.strip_prefix('/').filter(|name| is_name(name)).ok_or(Refusal::Unknown)?),
        };
        let peer = asked.connection.peer.ip();
        self.own.credentials(wanted, peer, asked.broker, asked.now).await.map_err(Refusal::NotHeld)
    }

    /// A line for keys that were not the last ones already.
    fn tell_of(&self, held: &Held, asked: &Asked<'_>) {
        let (grant, credentials) = (&held.grant, &held.credentials);
        if self.last.load().as_deref() == Some(&credentials.access_key_id) {
            return;
        }
        self.last.store(Some(Arc::new(Arc::clone(&credentials.access_key_id))));
        tracing::info!(
            target: AUDIT,
            {
                endpoint = &*self.name, client = %asked.connection.peer.ip(),
                subject.source = &*grant.subject.source, subject.id = &*grant.subject.id,
                aws.role = grant.role.as_str(), aws.access_key_id = &*credentials.access_key_id,
                aws.expires = rfc3339(credentials.expires),
            },
            "credentials were handed out"
        );
    }

    /// A key of ours: it ends when those do that it stands for.
    fn answer_with_own(&self, keys: &IssuedKeys, held: &Held) -> Response {
        let (grant, until) = (&held.grant, held.credentials.expires);
        let issued = keys.issue(&IssuedTo {
            source: Arc::clone(&grant.subject.source),
            id: Arc::clone(&grant.subject.id),
            endpoint: Arc::clone(&self.name),
            role: grant.role.as_str().into(),
            until,
        });
        answer_of(&Answer {
            access_key_id: &issued.access_key_id,
            secret_access_key: issued.secret.expose(),
            token: issued.session_token.expose(),
            expiration: rfc3339(until),
            role_arn: grant.role.as_str(),
            account_id: grant.role.account(),
        })
    }

    fn tell_of_refusal(&self, refusal: &Refusal, asked: &Asked<'_>) {
        tracing::warn!(
            target: AUDIT,
            {
                endpoint = &*self.name, client = %asked.connection.peer.ip(), error = chain(refusal),
                status = refusal.status().as_u16(),
            },
            "no credentials were handed out"
        );
    }
}

#[async_trait]
impl Endpoint for Container {
    fn address(&self) -> SocketAddr {
        self.place.0
    }

    async fn answer(&self, asked: Asked<'_>) -> Response {
        match self.held(&asked).await {
            Ok(held) => {
                self.counts.count(Verdict::Served);
                self.tell_of(&held, &asked);
                match &self.keys {
                    None => answer(&held),
                    Some(keys) => self.answer_with_own(keys, &held),
                }
            }
            Err(refusal) => {
                self.counts.count(refusal.verdict());
                self.tell_of_refusal(&refusal, &asked);
                refusal.answer()
            }
        }
    }
}

impl Refusal {
    fn verdict(&self) -> Verdict {
        match self {
            Self::NoSdk(_) => Verdict::Refused,
            Self::Token => Verdict::Unauthorized,
            Self::Unknown => Verdict::Unknown,
            Self::TokenFile(_) | Self::NotHeld(_) => Verdict::Failed,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoSdk(_) => StatusCode::FORBIDDEN,
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
            Self::Token => ("Unauthorized".to_owned(), self.to_string()),
            Self::TokenFile(_) => ("ServiceUnavailable".to_owned(), self.to_string()),
            Self::Unknown => ("NotFound".to_owned(), self.to_string()),
            Self::NotHeld(error) => (error.code().to_string(), for_the_user(error)),
        };
        web::json(status, &json!({ "code": code, "message": message }))
    }
}

/// What the SDK's user is told: STS's code and the role, and what STS said of it. Where a file is named the reason is for
/// the log alone.
fn for_the_user(error: &NotHeld) -> String {
    match error {
        NotHeld::Nobody(EvidenceError::Unavailable(_)) => error.to_string(),
        error => chain(error),
    }
}

fn answer(held: &Held) -> Response {
    let (role, credentials) = (&held.grant.role, &held.credentials);
    answer_of(&Answer {
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        token: credentials.session_token.to_str().unwrap_or_default(),
        expiration: rfc3339(credentials.expires),
        role_arn: role.as_str(),
        account_id: role.account(),
    })
}

fn answer_of(answer: &Answer<'_>) -> Response {
    let Ok(body) = serde_json::to_vec(answer) else { return without_body(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(Body::full(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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

/// 128 bits in base64 (A24).
const SHORTEST: usize = 22;

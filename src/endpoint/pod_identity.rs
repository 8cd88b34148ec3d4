//! `kind = "pod_identity"`: answers pods as the EKS Pod Identity Agent does.
//!
//! Clients find it by `AWS_CONTAINER_CREDENTIALS_FULL_URI`, and send their service account's token, verbatim, as
//! `Authorization`. The token is who they are: what they get is by the rules for that pod alone, never the node's and never
//! another pod's. Whatever is not 200 SDKs show to their user with its body, which is plain text.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::counts::Verdict;
use super::ledger::Ledger;
use super::own::{Held, NotHeld, PATIENCE, first_of, hold};
use super::{Asked, Binding, Endpoint, Materials, guard};
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::clock::rfc3339;
use crate::credentials::{CredentialProvider, IssueError};
use crate::identity::{Identity, IdentitySource, Recognition};
use crate::policy::{Ask, Denied, Explanation, NormalPath, Policy, Wanted};
use crate::web::{Body, BoxError, Response};
use last::Last;
use settings::PodIdentitySettings;

mod last;
mod settings;

pub(super) const BUILT_IN: BuiltIn<dyn Endpoint, Materials> = BuiltIn {
    kind: "pod_identity",
    summary: "Answers pods as the EKS Pod Identity Agent does, by their own tokens.",
    example: include_str!("../../config/examples/endpoint/pod_identity.toml"),
    build: |settings, materials| Ok(Arc::new(PodIdentity::build(&settings, materials)?)),
};

#[derive(Debug)]
struct PodIdentity {
    binding: Binding,
    source: Arc<dyn IdentitySource>,
    provider: Arc<dyn CredentialProvider>,
    policy: Policy,
    last: Last,
    ledger: Ledger,
}

/// Why a request gets no credentials.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    NoSdk(&'static str),
    #[error("there is /v1/credentials")]
    Unknown,
    #[error("credentials are asked for by GET")]
    Method,
    #[error("the Authorization header is missing, or there are several")]
    NoToken,
    #[error("the token in the Authorization header is another issuer's")]
    OthersToken,
    #[error("the token in the Authorization header was refused: {0}")]
    Token(String),
    #[error("the token can't be checked now")]
    Undecided(#[source] BoxError),
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
    account_id: &'a str,
    expiration: String,
}

impl PodIdentity {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        let settings: PodIdentitySettings = section.parse()?;
        let source = settings.source(materials)?;
        let provider = settings.provider(materials)?;
        let want = settings.want(provider.can_tell())?;
        let told = Some((&*settings.credentials, provider.can_tell()));
        Ok(Self {
            binding: Binding::at(settings.address.0),
            policy: Policy::build(&settings.allow, Some(&want), told).map_err(first_of)?,
            source,
            provider,
            last: Last::default(),
            ledger: Ledger::open(&materials.metrics, section.name),
        })
    }

    async fn held(&self, asked: &Asked<'_>) -> Result<(Identity, Held), Refusal> {
        let head = asked.head;
        if let Some(objection) = guard::objection_for_pods(&head.headers, asked.at) {
            return Err(Refusal::NoSdk(objection));
        }
        let identity = self.identity(&head.headers).await?;
        if head.uri.path() != CREDENTIALS {
            return Err(Refusal::Unknown);
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        let denied = |denied| Refusal::NotHeld(NotHeld::Denied(denied));
        let path = NormalPath::parse(CREDENTIALS).map_err(|error| denied(Denied::Forbidden(error.to_string())))?;
        let (peer, now) = (asked.connection.peer.ip(), asked.now);
        let ask = Ask { identity: Some(&identity), method: &Method::GET, path: &path, peer, role: Wanted::Any, now };
        let permit = self.policy.decide(ask).map_err(denied)?;
        let held = hold(&permit, &identity, &self.provider, asked.broker, (PATIENCE, now)).await;
        Ok((identity, held.map_err(Refusal::NotHeld)?))
    }

    /// Whose the token is.
    async fn identity(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let token = shown(headers).ok_or(Refusal::NoToken)?;
        let judge = self.source.token_judge().ok_or(Refusal::OthersToken)?;
        if let Some(known) = judge.known(token) {
            return Ok(known);
        }
        match judge.judge(token).await {
            Recognition::Verified(identity) => Ok(identity),
            // keys of ours are no token of a cluster's
            Recognition::NotPresented | Recognition::Issued(_) => Err(Refusal::OthersToken),
            Recognition::Rejected(rejection) => Err(Refusal::Token(rejection.reason)),
            Recognition::Undecided(error) => Err(Refusal::Undecided(Box::new(error))),
        }
    }
}

#[async_trait]
impl Endpoint for PodIdentity {
    fn binding(&self) -> Binding {
        self.binding.clone()
    }

    async fn answer(&self, asked: Asked<'_>) -> Response {
        match self.held(&asked).await {
            Ok((identity, held)) => {
                self.ledger.count(Verdict::Served);
                if self.last.is_new(&identity, &held.credentials, asked.now) {
                    self.ledger.handed_out(&held, &asked);
                }
                let mut response = Response::new(Body::full(written(&held)));
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
        ask.identity.map(|_| self.policy.explain(ask))
    }

    fn lacks(&self) -> Option<String> {
        self.source.trouble()
    }
}

impl Refusal {
    /// For the metrics, and for the log.
    fn sort(&self) -> (Verdict, &'static str) {
        match self {
            Self::NoSdk(objection) => (Verdict::Refused, objection),
            Self::Unknown => (Verdict::Unknown, "the path is unknown"),
            Self::Method => (Verdict::Unknown, "the method is another"),
            Self::NoToken => (Verdict::Unauthorized, "there is no token"),
            Self::OthersToken => (Verdict::Unauthorized, "the token is another issuer's"),
            Self::Token(_) => (Verdict::Unauthorized, "the token is refused"),
            Self::Undecided(_) => (Verdict::Failed, "the token can't be checked"),
            Self::NotHeld(NotHeld::Denied(_)) => (Verdict::Failed, "the role is not the pod's"),
            Self::NotHeld(error) => (Verdict::Failed, error.reason()),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoSdk(_) => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoToken | Self::OthersToken | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::NotHeld(NotHeld::Denied(_)) => StatusCode::FORBIDDEN,
            Self::NotHeld(NotHeld::Issue { source, .. }) if matches!(**source, IssueError::Refused { .. }) => {
                StatusCode::FORBIDDEN
            }
            Self::Undecided(_) | Self::NotHeld(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn answer(&self) -> Response {
        let text = match self {
            // a page must not even learn what this is (A22)
            Self::NoSdk(_) => String::new(),
            Self::Unknown => format!("(ResourceNotFoundException): {self}\n"),
            Self::Method => format!("(InvalidRequestException): {self}\n"),
            // why it was refused is for the log: whoever forges tokens is told nothing
            Self::Token(_) => "(InvalidTokenException): the token in the Authorization header was refused\n".to_owned(),
            Self::NoToken | Self::OthersToken => format!("(InvalidTokenException): {self}\n"),
            Self::Undecided(_) => format!("(ServiceUnavailableException): {self}\n"),
            // rules speak of other pods
            Self::NotHeld(NotHeld::Denied(_)) => {
                "(AccessDeniedException): no role is this pod's; claviger's log says why\n".to_owned()
            }
            Self::NotHeld(error) => format!("({}): {}\n", error.code(), error.for_the_user()),
        };
        let mut response = Response::new(if text.is_empty() { Body::Empty } else { Body::full(text) });
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if !matches!(self, Self::NoSdk(_)) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if matches!(self, Self::Method) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// The answer's body, which is wiped when it has gone.
fn written(held: &Held) -> Bytes {
    let credentials = &held.credentials;
    let body = Answer {
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        token: credentials.session_token.to_str().unwrap_or_default(),
        account_id: held.grant.role.account(),
        expiration: rfc3339(credentials.expires),
    };
    let text = serde_json::to_vec(&body).unwrap_or_default(); // of texts alone, it can be written
    Bytes::from_owner(Zeroizing::new(text))
}

/// The only `Authorization`, as it is.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

const CREDENTIALS: &str = "/v1/credentials";

//! `kind = "imds"`: answers as the instance metadata service does, version 2 alone (EC2 User Guide, "Instance metadata").
//!
//! SDKs ask it when they find nothing else, or where `AWS_EC2_METADATA_SERVICE_ENDPOINT` leads. Each first gets a token by
//! PUT, which no page and no server that is tricked into a GET can do (A23). Who can connect gets keys: where the client
//! can show a token of the operator's, `container` is the better kind.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;

use super::counts::Verdict;
use super::ledger::Ledger;
use super::own::{NotHeld, Own};
use super::place::InstancePlace;
use super::shelf::Shelf;
use super::{Asked, Binding, Endpoint, Materials, Standing, guard};
use crate::arn::{Region, RoleArn};
use crate::broker::Broker;
use crate::built_in::{BuiltIn, Settings, SettingsError};
use crate::policy::{Ask, Explanation, HopSettings, WantSettings};
use crate::web::{Body, Response};
use instance::Instance;
use tokens::Tokens;

mod instance;
mod tokens;

pub(super) const BUILT_IN: BuiltIn<dyn Endpoint, Materials> = BuiltIn {
    kind: "imds",
    summary: "Answers SDKs as the EC2 instance metadata service does, version 2 alone.",
    example: include_str!("../../config/examples/endpoint/imds.toml"),
    build: |settings, materials| Ok(Arc::new(Imds::build(&settings, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImdsSettings {
    address: InstancePlace,
    hop_limit: Option<NonZero<u8>>,
    region: String,
    availability_zone: Option<String>,
    identity: String,
    credentials: String,
    role: Option<String>,
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
struct Imds {
    binding: Binding,
    tokens: Tokens,
    own: Own,
    /// The role as it is written, where it is the same whoever the workload is.
    written: Option<RoleArn>,
    instance: Instance,
    shelf: Shelf,
    extended: Shelf,
    ledger: Ledger,
}

/// What is asked for, below `/latest/`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted<'a> {
    /// A list of what there is below, or the text of a leaf.
    Text(&'static str),
    InstanceId,
    Zone,
    Region,
    Info,
    Document,
    /// The name of the role.
    Role,
    /// Its keys, and whether with the account's number.
    Keys(&'a str, bool),
}

/// Why a request gets nothing.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    NoSdk(&'static str),
    #[error(
        "the X-aws-ec2-metadata-token header is missing, or no token that is good now: PUT /latest/api/token for one"
    )]
    Token,
    #[error("tokens are for /latest/api/token alone")]
    Versioned,
    #[error("X-aws-ec2-metadata-token-ttl-seconds must be there once, from 1 to {LONGEST_TOKEN}")]
    Ttl,
    #[error("there is nothing")]
    Unknown,
    #[error("there is GET, and PUT for a token")]
    Method,
    #[error(transparent)]
    NotHeld(NotHeld),
}

impl Imds {
    fn build(section: &Settings<'_>, materials: &Materials) -> Result<Self, SettingsError> {
        let settings: ImdsSettings = section.parse()?;
        let region: Region =
            settings.region.parse().map_err(|error| SettingsError::at("region", format!("is no region: {error}")))?;
        let zone = settings.availability_zone.unwrap_or_else(|| format!("{}a", region.as_str()));
        if !zone.strip_prefix(region.as_str()).is_some_and(|rest| !rest.is_empty() && rest.is_ascii()) {
            let problem = format!("`{zone}` is not in the region; expected something like {}a", region.as_str());
            return Err(SettingsError::at("availability_zone", problem));
        }
        let written = settings.role.as_ref().and_then(|role| role.parse().ok());
        let want = WantSettings {
            role: settings.role,
            roles: Vec::new(),
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
        let own = Own::build(&settings.identity, &settings.credentials, &want, materials)?;
        let hop_limit = Some(settings.hop_limit.map_or(NEAREST, NonZero::get));
        Ok(Self {
            binding: Binding::Address { at: settings.address.0, hop_limit },
            tokens: Tokens::new(section.name),
            own: own.with_patience(PATIENCE),
            written,
            instance: Instance::new(section.name, region, zone, section.clock.now()),
            shelf: Shelf::default(),
            extended: Shelf::default(),
            ledger: Ledger::open(&materials.metrics, section.name),
        })
    }

    async fn told(&self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let head = asked.head;
        if let Some(objection) = guard::objection(&head.headers, asked.at) {
            return Err(Refusal::NoSdk(objection));
        }
        let path = head.uri.path();
        if head.method == Method::PUT {
            return self.token(path, &head.headers, asked.now);
        }
        // version 1, which asks without a token, is what servers are tricked into (A23)
        if !only(&head.headers, &TOKEN).is_some_and(|token| self.tokens.is_good(token, asked.now)) {
            return Err(Refusal::Token);
        }
        let wanted = Wanted::read(path).ok_or(Refusal::Unknown)?;
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Refusal::Method);
        }
        self.data(wanted, asked).await
    }

    fn token(&self, path: &str, headers: &HeaderMap, now: SystemTime) -> Result<Response, Refusal> {
        if path != "/latest/api/token" {
            return Err(if path.ends_with("/api/token") { Refusal::Versioned } else { Refusal::Method });
        }
        let asked = only(headers, &TTL).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let ttl = asked.and_then(|text| text.parse().ok()).filter(|ttl| (1..=LONGEST_TOKEN).contains(ttl));
        let ttl = ttl.ok_or(Refusal::Ttl)?;
        let mut response = text(StatusCode::OK, self.tokens.issue(Duration::from_secs(ttl), now));
        response.headers_mut().insert(TTL, HeaderValue::from(ttl));
        self.ledger.count(Verdict::Token);
        Ok(response)
    }

    async fn data(&self, wanted: Wanted<'_>, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let body = match wanted {
            Wanted::Text(body) => return Ok(self.said(text(StatusCode::OK, body))),
            Wanted::InstanceId => return Ok(self.said(text(StatusCode::OK, self.instance.id().to_owned()))),
            Wanted::Zone => return Ok(self.said(text(StatusCode::OK, self.instance.zone().to_owned()))),
            Wanted::Region => return Ok(self.said(text(StatusCode::OK, self.instance.region().to_owned()))),
            Wanted::Role => {
                let role = self.role(asked)?.role_name().to_owned();
                return Ok(self.said(text(StatusCode::OK, role)));
            }
            Wanted::Info => instance::info(&self.role(asked)?, asked.now),
            Wanted::Document => self.instance.document(self.role(asked)?.account(), asked.at),
            Wanted::Keys(role, is_extended) => return Ok(self.keys(role, is_extended, asked).await),
        };
        Ok(self.said(json(body)))
    }

    fn said(&self, response: Response) -> Response {
        self.ledger.count(Verdict::Told);
        response
    }

    /// The role, as it is written or as the workload's claims make it.
    fn role(&self, asked: &Asked<'_>) -> Result<RoleArn, Refusal> {
        match &self.written {
            Some(role) => Ok(role.clone()),
            None => {
                let grant = self.own.grant(None, asked.connection.peer.ip(), asked.now);
                grant.map(|grant| grant.role.clone()).map_err(Refusal::NotHeld)
            }
        }
    }

    /// Keys, or why there are none: SDKs read that in an answer with 200 alone.
    async fn keys(&self, role: &str, is_extended: bool, asked: &Asked<'_>) -> Response {
        let peer = asked.connection.peer.ip();
        match self.own.credentials(Some(role), peer, asked.broker, asked.now).await {
            Ok(held) => {
                self.ledger.count(Verdict::Served);
                let shelf = if is_extended { &self.extended } else { &self.shelf };
                let (body, is_new) =
                    shelf.body(&held, asked.client(), asked.now, |held| instance::keys(held, is_extended));
                if is_new {
                    self.ledger.handed_out(&held, asked);
                }
                json(body)
            }
            Err(error) => {
                self.ledger.refused(Verdict::Failed, error.reason(), &error, StatusCode::OK, asked);
                json(instance::no_keys(&error, asked.now))
            }
        }
    }
}

#[async_trait]
impl Endpoint for Imds {
    fn binding(&self) -> Binding {
        self.binding.clone()
    }

    async fn answer(&self, asked: Asked<'_>) -> Response {
        self.told(&asked).await.unwrap_or_else(|refusal| {
            let (verdict, reason) = refusal.sort();
            self.ledger.refused(verdict, reason, &refusal, refusal.status(), &asked);
            refusal.answer()
        })
    }

    fn explain(&self, ask: Ask<'_>) -> Option<Explanation> {
        Some(self.own.explain(ask))
    }

    fn lacks(&self) -> Option<String> {
        self.own.lacks()
    }

    fn standing(&self) -> Standing {
        self.own.standing()
    }

    async fn tend(&self, broker: &Broker, now: SystemTime) {
        self.own.tend(broker, now, |held| self.ledger.at_hand(held)).await;
    }
}

impl<'a> Wanted<'a> {
    /// As the service has it: lists are there with and without the slash at their end.
    fn read(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        Some(match path {
            "" => Self::Text("latest"),
            "/latest" => Self::Text("dynamic\nmeta-data"),
            "/latest/meta-data" => Self::Text("iam/\ninstance-id\nplacement/"),
            "/latest/meta-data/instance-id" => Self::InstanceId,
            "/latest/meta-data/placement" => Self::Text("availability-zone\nregion"),
            "/latest/meta-data/placement/availability-zone" => Self::Zone,
            "/latest/meta-data/placement/region" => Self::Region,
            "/latest/meta-data/iam" => Self::Text("info\nsecurity-credentials/\nsecurity-credentials-extended/"),
            "/latest/meta-data/iam/info" => Self::Info,
            "/latest/dynamic" => Self::Text("instance-identity/"),
            // its signatures are AWS's, and nobody else can make them
            "/latest/dynamic/instance-identity" => Self::Text("document"),
            "/latest/dynamic/instance-identity/document" => Self::Document,
            "/latest/meta-data/iam/security-credentials" | "/latest/meta-data/iam/security-credentials-extended" => {
                Self::Role
            }
            path => {
                let below = path.strip_prefix("/latest/meta-data/iam/security-credentials")?;
                let (name, is_extended) = match below.strip_prefix("-extended/") {
                    Some(name) => (name, true),
                    None => (below.strip_prefix('/')?, false),
                };
                Self::Keys(Some(name).filter(|name| !name.is_empty() && !name.contains('/'))?, is_extended)
            }
        })
    }
}

impl Refusal {
    /// For the metrics, and for the log.
    fn sort(&self) -> (Verdict, &'static str) {
        match self {
            Self::NoSdk(objection) => (Verdict::Refused, objection),
            Self::Versioned => (Verdict::Refused, "a token is asked for at a version"),
            Self::Ttl => (Verdict::Refused, "a token is asked for without a time"),
            Self::Token => (Verdict::Unauthorized, "the token is missing or not good"),
            Self::Unknown => (Verdict::Unknown, "the path is unknown"),
            Self::Method => (Verdict::Unknown, "the method is another"),
            Self::NotHeld(error) => (Verdict::Failed, error.reason()),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoSdk(_) | Self::Versioned => StatusCode::FORBIDDEN,
            Self::Ttl => StatusCode::BAD_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotHeld(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn answer(&self) -> Response {
        let status = self.status();
        match self {
            // a page must not even learn what this is (A22)
            Self::NoSdk(_) => {
                let mut response = Response::new(Body::Empty);
                *response.status_mut() = status;
                response
            }
            Self::NotHeld(error) => text(status, format!("{}\n", error.for_the_user())),
            refusal => {
                let mut response = text(status, format!("{} - {refusal}\n", status.as_u16()));
                if matches!(refusal, Self::Method) {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, PUT"));
                }
                response
            }
        }
    }
}

/// The header's only value.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = of_type("text/plain", body);
    *response.status_mut() = status;
    response
}

/// The service's own answers with JSON are of this type, and clients go by the path.
fn json(body: impl Into<Bytes>) -> Response {
    of_type("text/plain", body)
}

fn of_type(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::full(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
/// Six hours, the service's own bound, in seconds.
const LONGEST_TOKEN: u64 = 21_600;
/// The next router is the end, so that no container behind a bridge and nobody who is routed here gets an answer (A23).
const NEAREST: u8 = 1;
/// SDKs wait for this service for one second, and ask once.
const PATIENCE: Duration = Duration::from_millis(800);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_there_with_and_without_a_slash() {
        let keys = "/latest/meta-data/iam/security-credentials";
        for (path, wanted) in [
            ("/", Some(Wanted::Text("latest"))),
            (keys, Some(Wanted::Role)),
            ("/latest/meta-data/iam/security-credentials/", Some(Wanted::Role)),
            ("/latest/meta-data/iam/security-credentials/app", Some(Wanted::Keys("app", false))),
            ("/latest/meta-data/iam/security-credentials-extended/", Some(Wanted::Role)),
            ("/latest/meta-data/iam/security-credentials-extended/app", Some(Wanted::Keys("app", true))),
            ("/latest/meta-data/iam/security-credentials/app/more", None),
            ("/latest/meta-data/iam/security-credentials//", None),
            ("/latest/meta-data/iam/security-credentialsapp", None),
            ("/latest/meta-data/iam/security-credentials-extendedapp", None),
            ("/latest/dynamic/instance-identity/document", Some(Wanted::Document)),
            ("/latest/dynamic/instance-identity/pkcs7", None),
            ("/latest/dynamic/instance-identity/signature", None),
            ("/latest/dynamic/instance-identity/rsa2048", None),
            ("/2021-03-23/meta-data/instance-id", None),
            ("/latest/user-data", None),
            ("//latest", None),
        ] {
            assert_eq!(Wanted::read(path), wanted, "{path}");
        }
    }
}

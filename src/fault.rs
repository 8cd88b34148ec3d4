//! Every way a request can fail, and the one place that turns it into an answer and a log line.
//!
//! The public face is a status, a code and a sentence that says what to do. The reason, with its sources, goes to
//! the log, once. A new fault does not compile until someone has chosen its face.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{HeaderName, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use crate::credentials::IssueError;
use crate::generation::Unidentified;
use crate::identity::{EvidenceError, LoginError, Presented, Rejection};
use crate::inject::InjectError;
use crate::policy::Denied;
use crate::rate::TooMany;
use crate::session::StoreError;
use crate::upstream::UpstreamError;
use crate::web::{self, CollectError, Response, chain};

mod body;
mod help;
mod page;
mod rooms;
mod words;

pub use page::{LoggedIn, Reader};

use words::{capital, in_words, whole_seconds};

/// Why a request has no answer from upstream.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is one that two parsers could read differently, or not HTTP as we take it.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// No route has this host and path.
    #[error("no route")]
    NoRoute,
    /// The host is none of those that requests are sent on to.
    #[error("no route sends requests on to the host `{0}`")]
    Unlisted(String),
    /// It speaks for the workload, and no SDK of that workload sends such a request (A22, A23).
    #[error("it is not the workload's own request: {0}")]
    Astray(&'static str),
    /// The workload's own token is not there, or is not good now.
    #[error("the workload's own token is not good")]
    Workload(#[source] EvidenceError),
    /// A method this place does not take.
    #[error("the method is not allowed here")]
    Method,
    /// Nobody is logged in, and the caller is no browser that could be sent to log in.
    #[error("nobody is logged in")]
    Anonymous,
    /// Nobody is logged in, and nobody can log in on a host that no route names; at this URL they can.
    #[error("nobody is logged in, and no route names the host")]
    Elsewhere(Url),
    /// Something was presented, and it is bad.
    #[error("a presented credential was rejected")]
    Rejected(#[source] Rejection),
    /// Something was presented, and what it takes to judge it can't be had now.
    #[error("a presented credential can't be judged now")]
    Undecided(#[source] Unidentified),
    /// The policy says no.
    #[error("denied")]
    Denied(#[source] Denied),
    /// Another site has the browser ask for what would be signed with the person's role (A12).
    #[error("another site asks with the person's role")]
    CrossSite,
    /// The client or the person asks more often than they may.
    #[error("too many requests")]
    TooMany(#[source] TooMany),
    /// There are no credentials to be had.
    #[error("no credentials")]
    Issue(#[source] Arc<IssueError>),
    /// The person's token from the provider is wanted, and there is none that is good now.
    #[error("no token")]
    Token(#[source] EvidenceError),
    /// The body is larger than can be signed.
    #[error("the body can't be signed")]
    Body(#[source] CollectError),
    /// The request can't be dressed.
    #[error("nothing could be injected")]
    Inject(#[source] InjectError),
    /// The upstream does not answer as it should.
    #[error("no answer from upstream")]
    Upstream(#[source] UpstreamError),
    /// A login did not come back as it was sent out (A8).
    #[error("the login came back wrong: {0}")]
    BadLogin(String),
    /// A provider's logout message is not one that can be heeded.
    #[error("the logout was refused: {0}")]
    BadLogout(String),
    /// A login failed at the provider.
    #[error("the login failed")]
    Login(#[source] LoginError),
    /// The session store does not answer.
    #[error("no sessions")]
    Store(#[source] StoreError),
    /// Something of ours went wrong.
    #[error("{0}")]
    Internal(&'static str),
}

/// What the caller is shown.
#[derive(Debug)]
struct Face {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    text: String,
    retry_after: Option<Duration>,
    next: Next,
}

/// What the page offers.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Next {
    Nothing,
    LogIn,
    /// This URL.
    Open(Url),
    TryAgain,
    /// Another account, where they are logged in.
    SwitchUser,
}

impl Fault {
    /// The code by which logs, metrics and callers know this fault.
    pub fn code(&self) -> &'static str {
        self.face().code
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.face().status
    }

    /// Whether another account might get further, so that people want to know which one is theirs now.
    pub fn depends_on_the_account(&self) -> bool {
        self.face().next == Next::SwitchUser
    }

    /// The answer: a page for a person, JSON for a program. Logs the reason.
    pub fn answer(&self, request_id: &str, reader: Reader<'_>) -> Response {
        let face = self.face();
        self.log(&face, request_id);
        let mut response = match reader {
            // a page learns nothing from it (A22)
            _ if matches!(self, Self::Astray(_)) => web::answer(face.status, "text/plain; charset=utf-8", ""),
            Reader::Person(logged_in) => face.page(request_id, logged_in),
            Reader::Program => {
                let mut said = Map::from_iter([
                    ("error".to_owned(), json!(face.code)),
                    ("message".to_owned(), json!(face.text)),
                    ("request_id".to_owned(), json!(request_id)),
                ]);
                said.extend(self.roles().map(|names| ("roles".to_owned(), json!(names))));
                web::json(face.status, &Value::Object(said))
            }
        };
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(wait) = face.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if face.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §11.6.1: a 401 names a challenge; a bearer token is the one a program could bring
            let challenge = match self {
                // RFC 6750 §3.1; what is wrong with the token is for the log alone
                Self::Rejected(Rejection { presented: Presented::Bearer, .. }) => {
                    "Bearer realm=\"claviger\", error=\"invalid_token\""
                }
                _ => "Bearer realm=\"claviger\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }

    #[expect(clippy::too_many_lines, reason = "one exhaustive list is the point of this file")]
    fn face(&self) -> Face {
        let face = Face::new;
        if let Some(face) = self.of_the_body() {
            return face;
        }
        match self {
            Self::Malformed(what) => {
                face(400, "bad_request", "This request can't be understood", format!("{}.", capital(what)))
            }
            Self::NoRoute => face(
                404,
                "no_route",
                "Nothing is here",
                "No route of this proxy has this host and path. Check the address.".into(),
            ),
            Self::Unlisted(host) => face(
                403,
                "host_not_listed",
                "This host is not listed",
                format!(
                    "Requests are not sent on to `{host}`. Where it is an AWS service's host, add it to `host` of a route with \
                     upstream = \"as-asked\"."
                ),
            ),
            Self::Astray(_) => face(403, "not_the_workload", "Not from here", String::new()),
            Self::Workload(_) => face(
                503,
                "workload_unidentified",
                "This workload can't be identified now",
                "The token in the file that its [identity] section names is missing or has expired.".into(),
            )
            .after(RETRY),
            Self::Method => face(405, "method_not_allowed", "Not this method", "This method is not taken here.".into()),
            Self::Anonymous => {
                face(401, "login_required", "Log in first", "This needs a login, or a token that is accepted here.".into())
                    .with(Next::LogIn)
            }
            Self::Elsewhere(url) => face(
                401,
                "login_elsewhere",
                "Open this under its own address",
                "This needs a login, and nobody can log in under the name you came by.".into(),
            )
            .with(Next::Open(url.clone())),
            Self::Rejected(Rejection { presented: Presented::Bearer, .. }) => face(
                401,
                "invalid_token",
                "Not accepted",
                "The token that came with the request is not valid here. Get a new one.".into(),
            ),
            Self::Rejected(Rejection { presented: Presented::Certificate, .. }) => face(
                401,
                "invalid_certificate",
                "Not accepted",
                "The certificate that came with the connection is not valid here. Connect with another.".into(),
            ),
            Self::Rejected(Rejection { presented: Presented::Signature, .. }) => face(
                403,
                "invalid_signature",
                "Not accepted",
                "The signature of the request is not valid here. Sign with keys of this claviger's own endpoint, by a clock \
                 that is right."
                    .into(),
            ),
            Self::Undecided(_) => face(
                503,
                "issuer_unavailable",
                "Tokens can't be verified now",
                "The issuer of the token does not answer. This recovers by itself.".into(),
            )
            .after(RETRY),
            Self::Denied(Denied::Anonymous) => Self::Anonymous.face(),
            Self::Denied(Denied::Forbidden(_)) => face(
                403,
                "forbidden",
                "You may not open this",
                "No rule lets this request pass. Ask whoever runs this app, and give the request id.".into(),
            )
            .with(Next::SwitchUser),
            Self::Denied(Denied::Unfillable(what)) => face(
                403,
                "claims_missing",
                "Your account lacks something",
                format!("What your identity provider says of you does not make a valid AWS role session: {what}."),
            )
            .with(Next::SwitchUser),
            Self::Denied(Denied::RoleWanted(names)) => face(
                403,
                "role_wanted",
                "Choose a role",
                format!("Several roles are yours here: {}. Name one in the header {ROLE}.", names.join(", ")),
            ),
            Self::Denied(Denied::NotTheirRole(names)) => face(
                403,
                "role_not_yours",
                "This role is not yours",
                match names.as_slice() {
                    [] => "No role here is yours.".into(),
                    names => format!("These are: {}.", names.join(", ")),
                },
            ),
            Self::CrossSite => face(
                403,
                "cross_site",
                "Another site asked for this",
                "A page of another site had your browser send this request, which would have been signed with your AWS \
                 role. Nothing was sent. If you do want it, open the address yourself, or start from a page of this app."
                    .into(),
            ),
            Self::TooMany(too_many) => face(
                429,
                "too_many_requests",
                "Too many requests",
                format!(
                    "More is asked from here, or with your login, than this proxy allows. Try again in {}.",
                    in_words(too_many.retry_after)
                ),
            )
            .after(too_many.retry_after),
            Self::Issue(error) => match &**error {
                IssueError::Refused { role, code, .. } => face(
                    403,
                    "role_refused",
                    "AWS refused the role",
                    format!("The security token service refused the role {role} for you: {code}."),
                )
                .with(Next::SwitchUser),
                IssueError::EvidenceExpired => face(
                    401,
                    "login_expired",
                    "Log in again",
                    "The login is too old to get new AWS credentials. Open this app in a browser to log in again.".into(),
                )
                .with(Next::LogIn),
                IssueError::Unavailable { retry_after, .. } => face(
                    503,
                    "credentials_unavailable",
                    "AWS credentials can't be had now",
                    "The security token service or the identity provider does not answer. This recovers by itself."
                        .into(),
                )
                .after(retry_after.unwrap_or(RETRY)),
            },
            Self::Token(EvidenceError::Expired) => face(
                401,
                "login_expired",
                "Log in again",
                "The login is too old for the token that this app wants. Open it in a browser to log in again.".into(),
            )
            .with(Next::LogIn),
            Self::Token(EvidenceError::Unavailable(_)) => face(
                503,
                "token_unavailable",
                "The identity provider does not answer",
                "This app wants a token of yours that has ended and can't be renewed now. This recovers by itself."
                    .into(),
            )
            .after(RETRY),
            Self::Body(CollectError::TooLarge { limit }) => face(
                413,
                "body_too_large",
                "Too large to be signed",
                format!(
                    "This service needs the whole body hashed before it is sent, and it is larger than {limit} bytes."
                ),
            ),
            Self::Upstream(UpstreamError::TooLarge { limit }) => face(
                413,
                "body_too_large",
                "Too large",
                format!("The request's body is larger than the {limit} bytes that may be sent here."),
            ),
            Self::Body(CollectError::Broken(_)) | Self::Upstream(UpstreamError::Interrupted { .. }) => {
                face(400, "body_broken", "The upload broke off", "The request's body ended too early.".into())
                    .with(Next::TryAgain)
            }
            Self::Inject(InjectError::Unsignable(what)) => {
                face(400, "unsignable", "This request can't be signed", what.clone())
            }
            Self::Inject(InjectError::TooLarge { .. }) => face(
                500,
                "identity_too_large",
                "Too much is said of you",
                "What your identity provider says of you does not fit into the header in which this app is told of it. Ask \
                 whoever runs this app to tell it less, and give the request id."
                    .into(),
            ),
            Self::Inject(InjectError::Missing(_)) | Self::Internal(_) => face(
                500,
                "internal",
                "Something went wrong here",
                "This is a fault of the proxy. Give the request id to whoever runs it.".into(),
            ),
            Self::Upstream(UpstreamError::TimedOut { .. }) => face(
                504,
                "upstream_timeout",
                "The app takes too long",
                "The app behind this proxy did not answer in time. If it goes on like this, give the request id to whoever runs \
                 the app."
                    .into(),
            )
            .with(Next::TryAgain),
            // what is short here is ours, and given back in a moment (A37)
            Self::Upstream(error) if error.is_for_want_of_descriptors() => face(
                503,
                "overloaded",
                "There is too much to do at the moment",
                "This proxy has as many connections as it can hold. This recovers by itself.".into(),
            )
            .after(RETRY),
            Self::Upstream(UpstreamError::Unreachable { .. } | UpstreamError::Broken { .. }) => face(
                502,
                "upstream_unreachable",
                "The app does not answer",
                "The app behind this proxy can't be reached, or broke off. If it goes on like this, give the request id to \
                 whoever runs the app."
                    .into(),
            )
            .with(Next::TryAgain),
            Self::BadLogin(_) | Self::Login(LoginError::Refused(_) | LoginError::WouldAsk) => face(
                400,
                "login_invalid",
                "This login can't be completed",
                "It is too old, was already used, or was begun in another browser. Start again.".into(),
            )
            .with(Next::LogIn),
            Self::BadLogout(_) => face(
                400,
                "logout_invalid",
                "This logout can't be completed",
                "It is too old, was already used, or is not your identity provider's. Nothing was ended by it.".into(),
            ),
            Self::Login(LoginError::Declined(code)) => {
                face(400, "login_declined", "The identity provider declined", format!("It answered: {code}."))
                    .with(Next::LogIn)
            }
            Self::Login(LoginError::Unavailable(_)) => face(
                503,
                "provider_unavailable",
                "Logging in is not possible now",
                "The identity provider does not answer, or too many log in at once. This recovers by itself; sessions that \
                 exist go on."
                    .into(),
            )
            .after(RETRY),
            Self::Store(_) => face(
                503,
                "sessions_unavailable",
                "Sessions can't be looked up now",
                "The session store does not answer. This recovers by itself.".into(),
            )
            .after(RETRY),
        }
    }

    fn log(&self, face: &Face, request_id: &str) {
        if matches!(self, Self::TooMany(_)) {
            return; // a flood of requests must not become one of lines; the access line has the code
        }
        let reason = chain(self);
        match face.status.as_u16() {
            500 => tracing::error!(request.id = request_id, fault = face.code, reason, "a request failed by our fault"),
            501.. => {
                tracing::warn!(request.id = request_id, fault = face.code, reason, "a request could not be served")
            }
            _ => tracing::info!(request.id = request_id, fault = face.code, reason, "a request was refused"),
        }
    }
}

impl Face {
    fn new(status: u16, code: &'static str, title: &'static str, text: String) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, title, text, retry_after: None, next: Next::Nothing }
    }

    fn with(self, next: Next) -> Self {
        Self { next, ..self }
    }

    fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), next: Next::TryAgain, ..self }
    }
}

/// The header that carries a request's id, from us and to upstreams.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header in which a program names the role it wants, where a route offers several.
pub const ROLE: HeaderName = HeaderName::from_static("x-claviger-role");

/// When to come back where nobody knows better.
const RETRY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

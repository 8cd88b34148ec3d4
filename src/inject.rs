//! What is put on a request before it goes upstream.
//!
//! An injector does no I/O and is given everything it needs. The kinds are listed in [`BUILT_INS`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;

use crate::built_in::{BuiltIn, SettingsError};
use crate::credentials::Credentials;
use crate::identity::{Identity, SourceName, TokenKind};
use crate::secret::Secret;
use crate::web::Request;

mod bearer;
mod headers;
mod identity_jwt;
mod name;
mod sigv4;
mod token_header;
mod value;
mod vouched;

pub use identity_jwt::IdentityIssuer;
pub use sigv4::without_presigning;
pub use vouched::Vouched;

/// Every kind of `inject = { kind = … }`.
pub const BUILT_INS: &[BuiltIn<dyn Injector, Materials>] =
    &[headers::BUILT_IN, identity_jwt::BUILT_IN, bearer::BUILT_IN, sigv4::BUILT_IN];

/// What an injector may use, and what the route is that it is for.
#[derive(Clone, Debug)]
pub struct Materials {
    /// Signs identity JWTs; absent where no listener has a `public_url`.
    pub identity_issuer: Option<Arc<IdentityIssuer>>,
    /// What the route's upstream is called: scheme, host and, where it isn't the scheme's own, port. Absent where it has
    /// several addresses and no name of its own, or is the host that was asked for.
    pub upstream: Option<String>,
    /// An address of it that is reached in clear text over a network, if there is one.
    pub in_clear_text: Option<String>,
    /// The `[identity.<name>]` that count on the route.
    pub sources: Vec<SourceName>,
}

/// Puts something on a request. The same input gives the same bytes, but for ECDSA signatures.
pub trait Injector: Debug + Send + Sync {
    /// What must be at hand before [`Injector::inject`].
    fn needs(&self) -> Needs;

    /// What it needs of the body of a request that goes to this host, where that depends on the host.
    fn body_at(&self, _host: &str) -> BodyNeed {
        self.needs().body
    }

    /// The headers this injector vouches for: an upstream believes them because only we can have set them. On every
    /// route and before anything is injected the proxy removes them, in every [spelling](Vouched), from what clients
    /// send (A1).
    ///
    /// A header that proves itself is none of them: an app on another route may have an `Authorization` of its own,
    /// and no upstream takes an AWS signature on trust. An injector of such headers sees the client's (`sigv4` must,
    /// to tell how the body is framed) and leaves none of them, in any spelling.
    fn sets(&self) -> &[HeaderName];

    /// Every header it puts on, vouched for or not: no two injectors of a route put on the same.
    fn puts(&self) -> &[HeaderName] {
        self.sets()
    }

    /// Puts it on. The request's `Host` and target are already the upstream's, hop-by-hop headers are gone, and
    /// the body is [`Body::Empty`](crate::web::Body) or `Full` where [`Needs::body`] asked for it.
    fn inject(&self, request: Request, given: &Given<'_>) -> Result<Request, InjectError>;
}

/// What an injector needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Needs {
    /// Whether it needs AWS credentials, and with them a role.
    pub credentials: bool,
    /// Which of the provider's tokens it needs, where somebody is logged in.
    pub token: Option<TokenKind>,
    /// What it needs of the body.
    pub body: BodyNeed,
}

/// What an injector needs of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyNeed {
    /// Nothing: the body streams through.
    Nothing,
    /// All of it where it says that it is no longer than so many bytes; any other streams through.
    Small {
        /// In bytes.
        limit: usize,
    },
    /// All of it, up to a limit in bytes; a larger one is answered with 413.
    Whole {
        /// In bytes.
        limit: usize,
    },
}

impl Needs {
    /// What is on the request will do.
    pub const NOTHING: Self = Self { credentials: false, token: None, body: BodyNeed::Nothing };
}

/// What an injector is given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Who asks; absent on a public path.
    pub identity: Option<&'a Identity>,
    /// Their credentials, where [`Needs::credentials`] asked.
    pub credentials: Option<&'a Arc<Credentials>>,
    /// Their access token, where [`Needs::token`] asked for it.
    pub access_token: Option<&'a Secret>,
    /// Their ID token, where [`Needs::token`] asked for it.
    pub id_token: Option<&'a Secret>,
    /// Now.
    pub now: SystemTime,
}

impl<'a> Given<'a> {
    /// Nothing but the time.
    pub fn nothing(now: SystemTime) -> Self {
        Self { identity: None, credentials: None, access_token: None, id_token: None, now }
    }

    fn token(&self, kind: TokenKind) -> Option<&'a Secret> {
        match kind {
            TokenKind::Access => self.access_token,
            TokenKind::Id => self.id_token,
        }
    }
}

impl Materials {
    /// Refuses an upstream that tokens would reach in clear text over a network: whoever reads one there is that person
    /// at every service that takes it.
    fn keep_tokens_off_the_wire(&self) -> Result<(), SettingsError> {
        let Some(address) = &self.in_clear_text else { return Ok(()) };
        let problem = format!(
            "{address} is plain http, where everybody on the way can read the person's token; expected an https upstream, or \
             `plain_http = true` where the network itself is trusted"
        );
        Err(SettingsError::at("kind", problem))
    }
}

/// Why nothing could be put on.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The request is of a form that can't be signed; the text says which and what to do. Shown to the caller.
    #[error("{0}")]
    Unsignable(String),
    /// What is said of the person does not fit into a header that upstreams take. Nothing of it is left out in silence,
    /// as what is missing might be what the upstream denies by.
    #[error(
        "what it says of the person makes a header of {bytes} bytes, and {most} are the most; expected fewer `claims`"
    )]
    TooLarge {
        /// How long the header would be.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// What it needs was not given: a fault of ours.
    #[error("the injector was not given {0}")]
    Missing(&'static str),
}

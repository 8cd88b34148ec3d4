//! What is put on a request before it goes upstream.
//!
//! An injector does no I/O and is given everything it needs. The kinds are listed in [`BUILT_INS`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;

use crate::built_in::BuiltIn;
use crate::credentials::Credentials;
use crate::identity::Identity;
use crate::web::Request;

mod headers;
mod sigv4;
mod value;
mod vouched;

pub use vouched::Vouched;

/// Every kind of `inject = { kind = … }`.
pub const BUILT_INS: &[BuiltIn<dyn Injector, ()>] = &[headers::BUILT_IN, sigv4::BUILT_IN];

/// Puts something on a request. The same input gives the same bytes.
pub trait Injector: Debug + Send + Sync {
    /// What must be at hand before [`Injector::inject`].
    fn needs(&self) -> Needs;

    /// The headers this injector vouches for: an upstream believes them because only we can have set them. On every
    /// route and before anything is injected the proxy removes them, in every [spelling](Vouched), from what clients
    /// send (A1).
    ///
    /// A header that proves itself is none of them: an app on another route may have an `Authorization` of its own,
    /// and no upstream takes an AWS signature on trust. An injector of such headers sees the client's (`sigv4` must,
    /// to tell how the body is framed) and leaves none of them, in any spelling.
    fn sets(&self) -> &[HeaderName];

    /// Puts it on. The request's `Host` and target are already the upstream's, hop-by-hop headers are gone, and
    /// the body is [`Body::Empty`](crate::web::Body) or `Full` where [`Needs::body`] asked for the whole.
    fn inject(&self, request: Request, given: &Given<'_>) -> Result<Request, InjectError>;
}

/// What an injector needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Needs {
    /// Whether it needs AWS credentials, and with them a role.
    pub credentials: bool,
    /// What it needs of the body.
    pub body: BodyNeed,
}

/// What an injector needs of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyNeed {
    /// Nothing: the body streams through.
    Nothing,
    /// All of it, up to a limit in bytes; a larger one is answered with 413.
    Whole {
        /// In bytes.
        limit: usize,
    },
}

/// What an injector is given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Who asks; absent on a public path.
    pub identity: Option<&'a Identity>,
    /// Their credentials, where [`Needs::credentials`] asked.
    pub credentials: Option<&'a Arc<Credentials>>,
    /// Now.
    pub now: SystemTime,
}

/// Why nothing could be put on.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The request is of a form that can't be signed; the text says which and what to do. Shown to the caller.
    #[error("{0}")]
    Unsignable(String),
    /// What it needs was not given: a fault of ours.
    #[error("the injector was not given {0}")]
    Missing(&'static str),
}

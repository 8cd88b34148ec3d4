//! HTTP words that all doors share: requests, answers, bodies, cookies, hop-by-hop headers.

mod address;
mod byte_count;
pub mod xml;

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, request};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited};

pub use address::{is_loopback, network, network_of};
pub use byte_count::ByteCount;

use crate::tls::ClientCertificate;

/// An error whose kind does not matter to who passes it on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A request as every door sees it.
pub type Request = http::Request<Body>;
/// An answer as every door gives it.
pub type Response = http::Response<Body>;

/// A message's body: nothing, bytes at hand, a stream from the wire, or a stream of another making.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// All of it, at hand; taken when read.
    Full(Option<Bytes>),
    /// A stream straight from a connection.
    Incoming(hyper::body::Incoming),
    /// Anything else.
    Boxed(BoxBody<Bytes, BoxError>),
}

impl Body {
    /// A body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(Some(bytes)) }
    }

    /// A body of another making.
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<BoxError>,
    {
        Self::Boxed(body.map_err(Into::into).boxed())
    }

    /// Reads all of it, but no more than `limit` bytes.
    ///
    /// # Errors
    /// [`CollectError::TooLarge`] past the limit, [`CollectError::Broken`] when the stream fails.
    pub async fn collect(self, limit: usize) -> Result<Bytes, CollectError> {
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Full(bytes) if bytes.as_ref().map_or(0, Bytes::len) <= limit => Ok(bytes.unwrap_or_default()),
            Self::Full(_) => Err(CollectError::TooLarge { limit }),
            body => match Limited::new(body, limit).collect().await {
                Ok(collected) => Ok(collected.to_bytes()),
                Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(CollectError::TooLarge { limit }),
                Err(e) => Err(CollectError::Broken(e)),
            },
        }
    }
}

/// Why a body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It is longer than this place reads.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The stream broke off.
    #[error("the body broke off")]
    Broken(#[source] BoxError),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the bytes of a body may be secrets
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full(…)",
            Self::Incoming(_) => "Incoming(…)",
            Self::Boxed(_) => "Boxed(…)",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Self::Boxed(boxed) => Pin::new(boxed).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Boxed(boxed) => boxed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Boxed(boxed) => boxed.size_hint(),
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl From<Infallible> for Body {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The connection a request came on.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The listener's name: `main` in `[listen.main]`.
    pub listener: Arc<str>,
    /// The address at the other end of the socket, which may be a load balancer's.
    pub peer: SocketAddr,
    /// That address without its port, as headers have it: written once for all requests.
    pub peer_text: HeaderValue,
    /// Whether this connection itself is TLS.
    pub tls: bool,
    /// The certificate by which the client has shown in the handshake who it is.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The user whose process is at the other end of a Unix socket, by the system's word (SO_PEERCRED); `peer` is
    /// 127.0.0.1 then, without a port.
    pub user: Option<u32>,
}

impl Connection {
    /// A connection that a listener has accepted.
    pub fn new(listener: Arc<str>, peer: SocketAddr, tls: bool) -> Self {
        // an address is always a header value
        let peer_text = HeaderValue::try_from(peer.ip().to_canonical().to_string());
        let peer_text = peer_text.unwrap_or(HeaderValue::from_static(""));
        Self { listener, peer, peer_text, tls, certificate: None, user: None }
    }
}

/// Who calls and with what head: all that an identity source may look at.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Method, target, headers.
    pub head: &'a request::Parts,
    /// The connection.
    pub connection: &'a Connection,
}

impl Caller<'_> {
    /// The values of every cookie called `name`: there may be several, and a foreign one may come first (A10).
    pub fn cookies<'n>(&self, name: &'n str) -> impl Iterator<Item = &str> + use<'_, 'n> {
        cookies(&self.head.headers, name)
    }
}

/// The values of every cookie called `name`, in the order they were sent.
pub fn cookies<'h, 'n>(headers: &'h HeaderMap, name: &'n str) -> impl Iterator<Item = &'h str> + use<'h, 'n> {
    all_cookies(headers).filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

/// The names and values of all cookies, in the order they were sent.
pub fn all_cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim_matches(' ').split_once('='))
}

/// An error and its sources, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

/// Removes the headers that belong to one connection only, and those that `Connection` names (RFC 9110 §7.6.1).
///
/// It runs *before* anything is set, so that `Connection: x-forwarded-user` can't remove what we vouch for (A2).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut doomed: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if doomed.contains(&header::CONNECTION) {
        let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let named = named.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !is_usual(name));
        doomed.extend(named.filter_map(|name| name.parse::<HeaderName>().ok()));
    }
    for name in doomed {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    // most names are told apart by their length alone
    HOP_BY_HOP_LENGTHS & 1 << name.as_str().len().min(31) != 0 && HOP_BY_HOP.contains(name)
}

/// What `Connection` nearly always says, which names nothing more than goes anyway.
fn is_usual(option: &str) -> bool {
    ["keep-alive", "close", "upgrade"].iter().any(|usual| option.eq_ignore_ascii_case(usual))
}

/// Removes what no trailer may say, as framing, routing, authentication, cookies and the content's own description are
/// the head's (RFC 9110 §6.5.1): who merges trailers into the head would believe it (A1, A28).
pub fn strip_from_trailers(trailers: &mut HeaderMap) {
    HEAD_ONLY.iter().for_each(|name| drop(trailers.remove(name)));
}

/// Whether the request asks for another protocol on this connection (RFC 9110 §7.8).
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// An answer with a text body and its content type.
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A page of ours: HTML under a content policy without scripts, never framed, never stored (A11, A12).
pub fn page(status: StatusCode, html: impl Into<Bytes>) -> Response {
    let mut response = answer(status, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON answer that no cache keeps.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut response = answer(status, "application/json", value.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `303 See Other` to `location`, which no cache keeps. A location that can't be a header value gives 500.
pub fn redirect(location: &str) -> Response {
    let mut response = Response::new(Body::Empty);
    match HeaderValue::from_str(location) {
        Ok(value) => {
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(header::LOCATION, value);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What stands in the head and nowhere else.
pub static HEAD_ONLY: [HeaderName; 23] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::ORIGIN,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::RANGE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::WWW_AUTHENTICATE,
];

/// Bit `n` is set where a name has `n` bytes.
const HOP_BY_HOP_LENGTHS: u32 = 1 << 2 | 1 << 7 | 1 << 10 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19;

/// No scripts at all; styles only inline, as each page carries its own. Forms may lead on to the identity provider,
/// which browsers check against `form-action` on redirects too, so that one is left open to http(s).
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; \
     base-uri 'none'; form-action 'self' http: https:; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cookie_of_a_name_is_found() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; t=first;t=second"));
        headers.append(header::COOKIE, HeaderValue::from_static("xt=no; t=third"));
        assert_eq!(cookies(&headers, "t").collect::<Vec<_>>(), ["first", "second", "third"]);
    }

    #[test]
    fn connection_removes_what_it_names() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Foo"));
        headers.insert("x-foo", HeaderValue::from_static("1"));
        headers.insert("x-bar", HeaderValue::from_static("1"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-bar"]);
    }

    #[test]
    fn a_chain_names_every_cause() {
        let inner = CollectError::Broken(CollectError::Broken("the peer went away".into()).into());
        assert_eq!(chain(&inner), "the body broke off: the body broke off: the peer went away");
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let mut headers: HeaderMap =
            HOP_BY_HOP.iter().map(|name| (name.clone(), HeaderValue::from_static("x"))).collect();
        headers.insert("x-bar", HeaderValue::from_static("1"));
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-bar"]);
    }

    #[tokio::test]
    async fn a_body_past_the_limit_is_refused() {
        assert_eq!(Body::full("1234").collect(4).await.unwrap(), "1234");
        assert!(matches!(Body::full("12345").collect(4).await, Err(CollectError::TooLarge { limit: 4 })));
    }
}

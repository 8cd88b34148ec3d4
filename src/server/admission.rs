//! What a request must be before a handler sees it: one host, one target, no ambiguity (A3, A4).

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Incoming};

use super::limits::Limits;
use super::refusals::Reason;
use super::served::Timed;
use crate::web::{self, Body, Request, Response};

/// The request in the form that [`Handler`](super::Handler) promises, or why it is refused. `room` is whether there is
/// room for it.
pub(super) fn admit(
    mut request: http::Request<Incoming>,
    limits: &Arc<Limits>,
    room: Result<(), Reason>,
) -> Result<Request, Box<(Refused, http::Request<Incoming>)>> {
    let sound = room.map_err(Refused::Full).and_then(|()| normalise(&mut request)).and_then(|()| {
        // hyper sees to it in HTTP/1; cookies are counted as one, however many crumbs they came in
        if request.headers().len() > limits.headers { Err(Refused::TooMany) } else { Ok(()) }
    });
    if let Err(refused) = sound {
        return Err(Box::new((refused, request)));
    }
    let http2 = request.version() == Version::HTTP_2;
    Ok(request.map(|body| match body {
        body if body.is_end_stream() => Body::Empty,
        body if http2 => Body::Boxed(BoxBody::new(Timed::new(body, Arc::clone(limits)))),
        body => Body::Incoming(body),
    }))
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// There is no room for it now.
    Full(Reason),
    /// It has too many header lines.
    TooMany,
    /// CONNECT.
    Method,
    /// Anything that two readers might read differently.
    Ambiguous(&'static str),
}

impl Refused {
    /// Why, in logs and metrics.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Full(reason) => reason,
            Self::TooMany => Reason::Head,
            Self::Method => Reason::Method,
            Self::Ambiguous(_) => Reason::Ambiguous,
        }
    }

    /// What the client is told.
    #[cold]
    pub(super) fn answer(self, version: Version) -> Response {
        let mut response = match self {
            Self::Full(_) => {
                let mut response = web::answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too busy\n");
                response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
                response
            }
            Self::TooMany => web::answer(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, TEXT, "too many header fields\n"),
            Self::Method => {
                let mut response = web::answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, NO_TUNNELS);
                response.headers_mut().insert(header::ALLOW, METHODS);
                response
            }
            Self::Ambiguous(reason) => web::answer(StatusCode::BAD_REQUEST, TEXT, format!("bad request: {reason}\n")),
        };
        // whatever follows on this connection may be read in two ways as well; HTTP/2 has frames instead
        if version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn normalise<B>(request: &mut http::Request<B>) -> Result<(), Refused> {
    // a tunnel through us to anywhere: never (A4, CVE-2026-71324)
    if request.method() == Method::CONNECT {
        return Err(Refused::Method);
    }
    // methods are case-sensitive (RFC 9110 §9.1), but not every upstream or policy knows
    if request.method().as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Refused::Ambiguous("the method is not in upper case"));
    }
    check_spellings(request.headers())?;
    if request.version() < Version::HTTP_2 {
        check_transfer_encoding(request.headers())?;
    } else {
        join_cookies(request.headers_mut());
    }
    let host = host_of(request)?;
    if let Cow::Owned(value) = host {
        request.headers_mut().insert(header::HOST, value);
    }
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
    let path = request.uri().path();
    if path.starts_with('/') || (path == "*" && request.method() == Method::OPTIONS) {
        Ok(())
    } else {
        Err(Refused::Ambiguous("the target is not a path"))
    }
}

/// The one host, from `Host` and the target together (RFC 9112 §3.2, RFC 9113 §8.3.1). A target with a host of its own
/// must agree with `Host`: we route by one of them, and the upstream may look at the other (A3).
fn host_of<B>(request: &http::Request<B>) -> Result<Cow<'_, HeaderValue>, Refused> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refused::Ambiguous("there is more than one Host"));
    }
    let authority = match (request.uri().scheme_str(), request.uri().authority()) {
        (_, None) => None,
        (Some("http" | "https"), Some(authority)) => Some(authority.as_str()),
        _ => return Err(Refused::Ambiguous("the target is neither a path nor an http URL")),
    };
    match (host, authority) {
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(Cow::Borrowed(host)),
        (Some(host), Some(authority)) if host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => {
            if is_authority(host.as_bytes()) { Ok(Cow::Borrowed(host)) } else { Err(MALFORMED_HOST) }
        }
        (Some(_), Some(_)) => Err(Refused::Ambiguous("Host differs from the target's host")),
        (None, Some(authority)) if request.version() == Version::HTTP_2 && is_authority(authority.as_bytes()) => {
            HeaderValue::from_str(authority).map(Cow::Owned).map_err(|_| MALFORMED_HOST)
        }
        (None, _) => Err(Refused::Ambiguous("there is no Host")),
        _ => Err(MALFORMED_HOST),
    }
}

/// A name or address and perhaps a port, without a user name and without anything that a parser might stop at.
fn is_authority(host: &[u8]) -> bool {
    !host.is_empty()
        && host.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'[' | b']'),
        )
}

/// `chunked` and nothing else: another coding would reach the upstream without its name, as the header is ours to set
/// anew (RFC 9112 §6.1).
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Refused> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refused::Ambiguous("Transfer-Encoding is something else than chunked")),
    }
}

/// No second name for what frames the message: servers that take `_` and `.` for `-`, as CGI and WSGI do, would go by it
/// (A3, CVE-2024-45614).
fn check_spellings(headers: &HeaderMap) -> Result<(), Refused> {
    let framing = [&header::CONTENT_LENGTH, &header::TRANSFER_ENCODING];
    let is_another = |name: &HeaderName| {
        let folded = || name.as_str().bytes().map(|byte| if matches!(byte, b'_' | b'.') { b'-' } else { byte });
        let passes_for = |known: &&HeaderName| {
            name.as_str().len() == known.as_str().len() && name != **known && folded().eq(known.as_str().bytes())
        };
        framing.iter().any(passes_for)
    };
    if headers.keys().any(is_another) {
        return Err(Refused::Ambiguous("a header is another spelling of Content-Length or Transfer-Encoding"));
    }
    Ok(())
}

/// One `Cookie` of the several that HTTP/2 may split it into (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let crumbs = [first, second].into_iter().chain(crumbs).map(HeaderValue::as_bytes);
        if let Ok(mut whole) = HeaderValue::from_bytes(&crumbs.collect::<Vec<_>>().join(&b"; "[..])) {
            whole.set_sensitive(true);
            headers.insert(header::COOKIE, whole);
        }
    }
}

const MALFORMED_HOST: Refused = Refused::Ambiguous("Host is malformed");
const NO_TUNNELS: &str =
    "CONNECT is not served here: nothing inside a tunnel could be signed; ask for http:// URLs, as with http_proxy\n";
const TEXT: &str = "text/plain; charset=utf-8";
/// Seconds after which to ask again: most rushes are over by then.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// RFC 9110 §15.5.6 wants it with every 405.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(version: Version, line: (&str, &str), headers: &[(&str, &str)]) -> Result<(String, String), Refused> {
        let mut request = http::Request::builder().version(version).method(line.0).uri(line.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        normalise(&mut request)?;
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        Ok((host, request.uri().to_string()))
    }

    #[test]
    fn every_version_comes_out_the_same() {
        for (version, target, headers) in [
            (Version::HTTP_11, "/a?b", &[("host", "a.test")][..]),
            (Version::HTTP_10, "/a?b", &[("host", "a.test")]),
            (Version::HTTP_11, "http://a.test/a?b", &[("host", "a.test")]),
            (Version::HTTP_11, "http://A.TEST/a?b", &[("host", "a.test")]),
            (Version::HTTP_2, "https://a.test/a?b", &[]),
            (Version::HTTP_2, "https://a.test/a?b", &[("host", "a.test")]),
            (Version::HTTP_2, "/a?b", &[("host", "a.test")]),
        ] {
            let found = normalised(version, ("GET", target), headers);
            assert_eq!(found, Ok(("a.test".into(), "/a?b".into())), "{version:?} {target} {headers:?}");
        }
        let asterisk = normalised(Version::HTTP_11, ("OPTIONS", "*"), &[("host", "[::1]:80")]);
        assert_eq!(asterisk, Ok(("[::1]:80".into(), "*".into())));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        // A3
        let host = ("host", "a.test");
        for (version, method, target, headers) in [
            (Version::HTTP_11, "GET", "/", &[][..]),
            (Version::HTTP_10, "GET", "/", &[]),
            (Version::HTTP_11, "GET", "/", &[host, host]),
            (Version::HTTP_11, "GET", "/", &[host, ("host", "b.test")]),
            (Version::HTTP_11, "GET", "/", &[("host", "")]),
            (Version::HTTP_11, "GET", "/", &[("host", "a.test, b.test")]),
            (Version::HTTP_11, "GET", "/", &[("host", "user@a.test")]),
            (Version::HTTP_11, "GET", "/", &[("host", "a.test/b")]),
            (Version::HTTP_11, "GET", "/", &[("host", "a.test#b")]),
            (Version::HTTP_11, "GET", "http://b.test/", &[host]),
            (Version::HTTP_11, "GET", "http://a.test:80/", &[host]),
            (Version::HTTP_11, "GET", "http://user@a.test/", &[host]),
            (Version::HTTP_11, "GET", "http://a.test/", &[]),
            (Version::HTTP_11, "GET", "ftp://a.test/", &[host]),
            (Version::HTTP_11, "GET", "a.test", &[host]),
            (Version::HTTP_11, "GET", "*", &[host]),
            (Version::HTTP_11, "get", "/", &[host]),
            (Version::HTTP_11, "GEt", "/", &[host]),
            (Version::HTTP_11, "POST", "/", &[host, ("transfer-encoding", "gzip, chunked")]),
            (
                Version::HTTP_11,
                "POST",
                "/",
                &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            ),
            (Version::HTTP_11, "POST", "/", &[host, ("transfer-encoding", "xchunked")]),
            (Version::HTTP_2, "GET", "https://a.test/", &[("host", "b.test")]),
            (Version::HTTP_2, "GET", "https://user@a.test/", &[]),
            (Version::HTTP_2, "GET", "/", &[]),
            (Version::HTTP_11, "GET", "/", &[host, ("content_length", "1")]),
            (Version::HTTP_11, "GET", "/", &[host, ("transfer.encoding", "chunked")]),
            (Version::HTTP_2, "GET", "https://a.test/", &[("content.length", "1")]),
        ] {
            let found = normalised(version, (method, target), headers);
            assert!(
                matches!(found, Err(Refused::Ambiguous(_))),
                "{version:?} {method} {target} {headers:?}: {found:?}"
            );
        }
    }

    #[test]
    fn connect_is_not_served() {
        // A4
        assert_eq!(
            normalised(Version::HTTP_11, ("CONNECT", "a.test:443"), &[("host", "a.test")]),
            Err(Refused::Method)
        );
        assert_eq!(normalised(Version::HTTP_2, ("CONNECT", "a.test:443"), &[]), Err(Refused::Method));
    }
}

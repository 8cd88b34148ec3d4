//! What changes on a request on its way up, and on an answer on its way down: strip first, then set.

use std::mem;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri, request};
use hyper::upgrade::OnUpgrade;

use super::cut::Cut;
use super::forwarded::CLAIMED;
use super::{Arrival, tunnel};
use crate::fault::{Fault, REQUEST_ID};
use crate::generation::Generation;
use crate::inject::{BodyNeed, Vouched};
use crate::policy::{NormalPath, Permit};
use crate::route::Route;
use crate::session::{Session, strip_from_request, strip_from_response};
use crate::web::{Body, Request, Response, strip_hop_by_hop, wants_upgrade};

/// The request as the upstream shall see it, but for what is injected. Only what has a permit gets this far.
pub(super) fn for_upstream(
    generation: &Generation,
    route: &Route,
    path: &NormalPath<'_>,
    head: &mut request::Parts,
    body: Body,
    arrival: &Arrival<'_>,
) -> Result<Request, Fault> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(route, path, mem::take(&mut head.uri))?;
    *request.headers_mut() = mem::take(&mut head.headers);
    let headers = request.headers_mut();

    let upgrade = wants_upgrade(headers).then(|| headers.get(header::UPGRADE).cloned()).flatten();
    let upgrade = upgrade.filter(|protocol| !is_http_again(protocol));
    let trailers = takes_trailers(headers);
    strip_hop_by_hop(headers);
    strip_from_request(headers); // our cookies (A28)
    join_cookies(headers);
    generation.vouched.strip(headers); // what we vouch for, in every spelling (A1)
    keep_harmless_trailers(headers, &generation.vouched);
    headers.remove(header::EXPECT); // we have asked for the body already where it is asked for
    if !route.pass_authorization {
        headers.remove(header::AUTHORIZATION);
    }

    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    } else if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    arrival.client.tell(headers, arrival.peer(), arrival.host);
    let host = if route.preserve_host { arrival.host } else { route.upstream.authority() };
    headers.insert(header::HOST, host.clone());
    if let Ok(id) = HeaderValue::from_str(arrival.id) {
        headers.insert(REQUEST_ID, id);
    }
    Ok(request)
}

/// The answer as the client shall see it. An upstream's 101 joins both connections; `session` cuts what is still
/// open when it ends.
pub(super) fn for_client(mut response: Response, session: Option<Arc<Session>>, client: Option<OnUpgrade>) -> Response {
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = switched.then(|| response.headers().get(header::UPGRADE).cloned()).flatten();
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    strip_from_response(headers);
    if switched {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            headers.insert(header::UPGRADE, protocol);
        }
        if let (Some(client), Some(upstream)) = (client, response.extensions_mut().remove::<OnUpgrade>()) {
            tunnel::join(client, upstream, end(session));
        }
        return response;
    }
    match session {
        Some(session) => response.map(|body| Cut::short_or_cut(body, end(Some(session)))),
        None => response,
    }
}

/// Waits for the session's end; for ever where there is none.
async fn end(session: Option<Arc<Session>>) {
    match session {
        Some(session) => session.ended().await,
        None => std::future::pending().await,
    }
}

/// The target in origin form: the path that was decided on, rewritten, with the query as it came.
fn target(route: &Route, path: &NormalPath<'_>, asked: Uri) -> Result<Uri, Fault> {
    let path = route.rewrite.apply(path);
    if asked.authority().is_none() && path == asked.path() {
        return Ok(asked);
    }
    let target = match asked.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path.as_ref()),
    };
    Ok(Uri::from(target.map_err(|_| Fault::Malformed("the target is not a target".into()))?))
}

/// The body, read whole where an injector must hash it.
pub(super) async fn body_at_hand(
    route: &Route,
    permit: &Permit,
    headers: &HeaderMap,
    body: Body,
) -> Result<Body, Fault> {
    let limit = route.injectors.iter().filter_map(|injector| match injector.needs().body {
        BodyNeed::Whole { limit } => Some(limit),
        BodyNeed::Nothing => None,
    });
    let Some(limit) = limit.min().filter(|_| !permit.is_preflight()) else { return Ok(body) };
    // a length that is too large is refused before anything is read, so that `Expect: 100-continue` saves the upload
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(Fault::Body(crate::web::CollectError::TooLarge { limit }));
    }
    Box::pin(body.collect(limit)).await.map(Body::full).map_err(Fault::Body)
}

/// Takes back the announcement of trailers that say what only we say: servers may merge trailers into the headers
/// (RFC 9110 §6.5.1), and only those that are announced are sent on (A1).
fn keep_harmless_trailers(headers: &mut HeaderMap, vouched: &Vouched) {
    if !headers.contains_key(header::TRAILER) {
        return;
    }
    let named = headers.get_all(header::TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let ours = |name: &HeaderName| {
        vouched.has(name) || CLAIMED.has(name) || [header::AUTHORIZATION, header::COOKIE].contains(name)
    };
    let kept: Vec<HeaderName> = names.filter(|name| !ours(name)).collect();
    headers.remove(header::TRAILER);
    for name in kept {
        headers.append(header::TRAILER, HeaderValue::from(name));
    }
}

/// `TE: trailers` is the one member of `TE` that is passed on: gRPC asks for it (RFC 9110 §10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let names = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.split(',').any(|m| m.trim() == TRAILERS));
    headers.get_all(header::TE).iter().any(names)
}

/// Whether a tunnel would carry HTTP: then requests that nobody decided on would follow, with whatever headers the
/// client likes (h2c smuggling). Passing on no `Upgrade` at all is always right (RFC 9110 §7.8).
fn is_http_again(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().split(|byte| *byte == b',').any(|member| {
        let name = member.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii();
        [&b"h2c"[..], b"h2", b"http", b"tls"].iter().any(|http| name.eq_ignore_ascii_case(http))
    })
}

/// One `Cookie` line: HTTP/2 clients split theirs, HTTP/1.1 knows one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

const TRAILERS: &str = "trailers";

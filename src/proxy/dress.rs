//! What changes on a request on its way up, and on an answer on its way down: strip first, then set.

use std::mem;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri, request};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;

use super::cut::Cut;
use super::forwarded::CLAIMED;
use super::term::Term;
use super::tunnel::Upgrade;
use super::{Arrival, trailers, tunnel};
use crate::fault::{Fault, REQUEST_ID};
use crate::generation::Generation;
use crate::inject::BodyNeed;
use crate::policy::{NormalPath, Permit};
use crate::route::Route;
use crate::session::{strip_from_request, strip_from_response};
use crate::upstream::Upstream;
use crate::web::{Body, Request, Response, strip_hop_by_hop, wants_upgrade};

/// Where a request goes: its route, and the upstream behind it.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) route: &'a Route,
    pub(super) upstream: &'a Upstream,
}

/// The request as the upstream shall see it, but for what is injected. Only what has a permit gets this far.
pub(super) fn for_upstream(
    generation: &Generation,
    To { route, upstream }: To<'_>,
    permit: &Permit,
    path: &NormalPath<'_>,
    head: &mut request::Parts,
    body: Body,
    arrival: &Arrival<'_>,
) -> Result<Request, Fault> {
    let mut request = Request::new(match upstream.may_speak_http2() {
        true => trailers::Harmless::of(body, &generation.vouched),
        false => body,
    });
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(route, path, mem::take(&mut head.uri))?;
    *request.headers_mut() = mem::take(&mut head.headers);
    let headers = request.headers_mut();

    let upgrade = wants_upgrade(headers).then(|| headers.get(header::UPGRADE).cloned()).flatten();
    let upgrade = upgrade.filter(|protocol| !is_http_again(protocol) && !permit.is_preflight());
    let takes_trailers = takes_trailers(headers);
    strip_hop_by_hop(headers);
    strip_from_request(headers); // our cookies (A28)
    generation.vouched.strip(headers); // what we vouch for, in every spelling (A1)
    trailers::announce_harmless(headers, &generation.vouched);
    headers.remove(header::EXPECT); // we have asked for the body already where it is asked for
    if !route.pass_authorization {
        headers.remove(header::AUTHORIZATION);
    }

    if permit.is_preflight() {
        // nobody's request asks a question and brings nothing
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::TRAILER);
    }

    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    } else if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    headers.reserve(ROOM);
    let host = if route.preserve_host { arrival.host } else { upstream.authority() };
    headers.insert(header::HOST, host.clone());
    if route.behind.is_as_asked() {
        // AWS need not hear who runs beside us, nor what that says of itself
        CLAIMED.strip(headers);
        return Ok(request);
    }
    arrival.client.tell(headers, &arrival.connection.peer_text, arrival.host);
    if let Ok(id) = HeaderValue::from_str(arrival.id) {
        headers.insert(REQUEST_ID, id);
    }
    Ok(request)
}

/// The answer as the client shall see it. An upstream's 101 joins both connections; what is still open at the end of its
/// `term` is cut.
pub(super) fn for_client(
    mut response: Response,
    upstream: &Upstream,
    permit: &Permit,
    term: impl FnOnce() -> Option<Term>,
    upgrade: Option<Upgrade>,
) -> Response {
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
        if let (Some(upgrade), Some(theirs)) = (upgrade, response.extensions_mut().remove::<OnUpgrade>()) {
            tunnel::join(upgrade, theirs, term(), upstream.idle());
        }
        return response;
    }
    // Shared caches keep off answers to requests with `Authorization` (RFC 9111 §3.5), but a ticket is a cookie: to them
    // what is one person's looks like everybody's (A12). `private` says so; how long the person's own browser keeps it
    // stays the app's choice, as does the whole header where the app sets one.
    if permit.identity().is_some() && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    response.map(|body| Cut::short_or_cut(body, term))
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

/// The body, within what the route takes of it, and read whole where an injector must hash it.
pub(super) async fn body_at_hand(
    To { route, upstream }: To<'_>,
    permit: &Permit,
    headers: &HeaderMap,
    body: Body,
) -> Result<Body, Fault> {
    let host = upstream.authority().to_str().unwrap_or_default();
    let needs = || route.injectors.iter().map(|injector| injector.body_at(host));
    let limit = needs().filter_map(|need| if let BodyNeed::Whole { limit } = need { Some(limit) } else { None });
    if permit.is_preflight() {
        return Ok(Body::Empty); // it asks a question and brings nothing (A4)
    }
    if let Body::Empty = body {
        return Ok(body);
    }
    // what says that it is too large is refused before any of it is read
    upstream.check_length(&body)?;
    let Some(limit) = limit.min() else {
        let small = needs().filter_map(|need| if let BodyNeed::Small { limit } = need { Some(limit) } else { None });
        return short_at_hand(body, small.min().unwrap_or(0)).await;
    };
    let limit = upstream.body_limit().map_or(limit, |most| limit.min(usize::try_from(most).unwrap_or(limit)));
    // a length that is too large is refused before anything is read, so that `Expect: 100-continue` saves the upload
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(Fault::Body(crate::web::CollectError::TooLarge { limit }));
    }
    Box::pin(body.collect(limit)).await.map(Body::full).map_err(Fault::Body)
}

/// The body, at hand where it is known to be no longer than `limit`.
async fn short_at_hand(body: Body, limit: usize) -> Result<Body, Fault> {
    match body {
        Body::Empty | Body::Full(_) => Ok(body),
        body if body.size_hint().exact().is_some_and(|length| length <= limit as u64) => {
            Box::pin(body.collect(limit)).await.map(Body::full).map_err(Fault::Body)
        }
        body => Ok(body),
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

/// So many headers are usually set, by us and by injectors: the map then grows once.
const ROOM: usize = 10;
const TRAILERS: &str = "trailers";

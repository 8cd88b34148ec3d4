//! Requests of the workload that claviger runs beside, and those that go where they ask.

use std::borrow::Cow;

use http::header::{FORWARDED, ORIGIN};
use http::{HeaderName, HeaderValue, request};

use crate::fault::Fault;
use crate::generation::Generation;
use crate::route::{Host, Route};
use crate::upstream::Upstream;
use crate::web::Connection;

/// Turns away what no SDK of the workload sends, where everybody is taken for the workload.
pub(super) fn guard(route: &Route, head: &request::Parts, connection: &Connection) -> Result<(), Fault> {
    if route.ambient.is_none() {
        return Ok(());
    }
    if !connection.peer.ip().to_canonical().is_loopback() {
        return Err(Fault::Astray("it comes from another machine"));
    }
    // browsers say whose page asks, and no SDK is one (A22)
    let headers = &head.headers;
    if headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-")) {
        return Err(Fault::Astray("a browser asks"));
    }
    // who passes on what others asked for is not the workload (A23)
    if headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED) {
        return Err(Fault::Astray("a proxy passed it on"));
    }
    Ok(())
}

/// Where a request to `host`, written as `written`, goes.
pub(super) fn upstream<'r>(
    route: &'r Route,
    host: &Host<'_>,
    written: &HeaderValue,
) -> Result<Cow<'r, Upstream>, Fault> {
    let written = written.to_str().unwrap_or_default();
    route.behind.of(host, written).ok_or_else(|| Fault::Unlisted(written.to_owned()))
}

/// What is said where no route is for a request: where requests go as they ask, what is not listed is not allowed.
#[cold]
pub(super) fn nowhere(generation: &Generation, host: &Host<'_>) -> Fault {
    let goes_as_asked = generation.routes.iter().any(|route| route.behind.is_as_asked());
    match goes_as_asked && !generation.routes.has_host(host) {
        true => Fault::Unlisted(host.as_str().to_owned()),
        false => Fault::NoRoute,
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

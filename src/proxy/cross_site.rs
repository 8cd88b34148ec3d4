//! Requests that another site has a person's browser send (A12).
//!
//! A ticket is `SameSite=Lax`: browsers send it with whatever sibling hosts ask for, and with anybody's links. To sign
//! such a request is to let the other site act with the person's role, so a route with a role asks who is behind it.
//!
//! What remains: links pass where they only read, since the way back from a login is one to the browser, which looks
//! at the whole chain of redirects. And a browser that sends no Fetch Metadata (before 2023) says nothing of links.

use http::header::{self, HeaderMap};
use http::{Method, request};

use crate::fault::Fault;
use crate::route::{Host, Route};

/// Passes what a person's own pages and steps ask for, links that only read, and on a route that takes scripts of other
/// origins what a preflight went before.
pub(super) fn check(head: &request::Parts, host: &Host<'_>, route: &Route) -> Result<(), Fault> {
    let passes = is_own(&head.headers, host)
        || match head.headers.get("sec-fetch-mode").map(|mode| mode.as_bytes()) {
            Some(b"navigate") => only_reads(head),
            Some(b"cors") if route.cors_preflight => only_reads(head) || was_preflighted(head),
            _ => false,
        };
    if passes { Ok(()) } else { Err(Fault::CrossSite) }
}

/// By Fetch Metadata, which no page can forge; else by `Origin`. A caller that sends neither is no browser, or an old
/// one at a link.
fn is_own(headers: &HeaderMap, host: &Host<'_>) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => matches!(site.as_bytes(), b"same-origin" | b"none"),
        None => headers.get(header::ORIGIN).is_none_or(|origin| {
            let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
            authority.and_then(|text| Host::parse(text).ok()).is_some_and(|theirs| theirs.as_str() == host.as_str())
        }),
    }
}

/// GET and HEAD read, but for the query APIs (EC2, IAM, SQS and others): there `?Action=TerminateInstances` is a call.
fn only_reads(head: &request::Parts) -> bool {
    let query = head.uri.query().unwrap_or_default();
    matches!(head.method, Method::GET | Method::HEAD)
        && !form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("Action"))
}

/// Whether no browser sends this by a script of another origin without asking first (Fetch, CORS-safelisted methods
/// and content types); the upstream has then said yes to it.
fn was_preflighted(head: &request::Parts) -> bool {
    match head.method {
        Method::GET | Method::HEAD => false,
        Method::POST => {
            head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                !SAFELISTED.iter().any(|safe| kind.eq_ignore_ascii_case(safe))
            })
        }
        _ => true,
    }
}

const SAFELISTED: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut builder = http::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a12_whose_wish_it_is() {
        let host = Host::parse("a.test:8443").unwrap();
        for (headers, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://a.test")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (&[("origin", "https://a.test:8443")], true),
            (&[("origin", "https://b.test")], false),
            (&[("origin", "https://a.test.evil")], false),
            (&[("origin", "https://a.test@evil")], false),
            (&[("origin", "null")], false),
        ] {
            assert_eq!(is_own(&head("POST", "/", headers).headers, &host), expected, "{headers:?}");
        }
    }

    #[test]
    fn a12_what_reads_and_what_was_asked_before() {
        for (method, target, kind, reads, preflighted) in [
            ("GET", "/", "", true, false),
            ("HEAD", "/a?list-type=2", "", true, false),
            ("GET", "/?x=1&Action=DeleteQueue", "", false, false),
            ("GET", "/?action=DeleteQueue", "", false, false),
            ("GET", "/?%41ction=DeleteQueue", "", false, false),
            ("GET", "/?Action", "", false, false),
            ("POST", "/", "", false, false),
            ("POST", "/", "text/plain; application/json", false, false),
            ("POST", "/", "Application/X-WWW-Form-Urlencoded", false, false),
            ("POST", "/", "application/x-amz-json-1.0", false, true),
            ("PUT", "/", "", false, true),
            ("DELETE", "/", "text/plain", false, true),
        ] {
            let headers = [("content-type", kind)];
            let head = head(method, target, if kind.is_empty() { &[] } else { &headers });
            assert_eq!((only_reads(&head), was_preflighted(&head)), (reads, preflighted), "{method} {target} {kind}");
        }
    }
}

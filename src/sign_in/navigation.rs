//! Whether a request is a person's own step in a browser.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, request};

/// Whether the request is a top-level navigation, which can be sent to log in and back: by Fetch Metadata where the
/// browser sends it, else by what the caller accepts. Frames, prefetches, scripts and API calls are none, and neither is
/// what brings a bearer token: no browser adds one to a navigation, and whoever does wants an answer.
pub fn is_navigation(head: &request::Parts) -> bool {
    let headers = &head.headers;
    if !matches!(head.method, Method::GET | Method::HEAD) || brings_a_token(headers) {
        return false;
    }
    match (text(headers, &SEC_FETCH_MODE), text(headers, &SEC_FETCH_DEST)) {
        (None, None) => {
            let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            accepted.flat_map(|value| value.split(',')).any(|kind| {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
            })
        }
        (mode, dest) => mode == Some("navigate") && dest == Some("document") && !is_prefetch(headers),
    }
}

/// Whether it is a form that a provider has a browser post here: whoever is in front of it gets a page, whatever comes
/// of it.
pub fn is_a_persons_post(head: &request::Parts) -> bool {
    head.method == Method::POST && head.uri.path().starts_with("/.claviger/saml/")
}

/// Whether a POST comes from a page of this very host (A12). A cross-site one has no ticket anyway, as that is `Lax`; a
/// sibling host's has. `Origin` is asked where there is no Fetch Metadata; a caller that sends neither is no browser.
pub(super) fn is_from_our_page(headers: &HeaderMap, origin: &str) -> bool {
    match text(headers, &SEC_FETCH_SITE) {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => headers.get(header::ORIGIN).is_none_or(|sent| sent == origin),
    }
}

fn brings_a_token(headers: &HeaderMap) -> bool {
    let is_bearer = |value: &HeaderValue| {
        value.as_bytes().split_at_checked(BEARER.len()).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER))
    };
    headers.get_all(header::AUTHORIZATION).iter().any(is_bearer)
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    [SEC_PURPOSE, PURPOSE].iter().any(|name| text(headers, name).is_some_and(|value| value.contains("prefetch")))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

const BEARER: &[u8] = b"bearer ";
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut builder = http::Request::builder().method(method);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_a_persons_own_step_is_a_navigation() {
        let html = ("accept", "application/json;q=0.9, text/html;q=0.8");
        let (navigate, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
        for (method, headers, expected) in [
            ("GET", &[navigate, document][..], true),
            ("HEAD", &[navigate, document], true),
            ("GET", &[html], true),
            ("POST", &[navigate, document, html], false),
            ("GET", &[("accept", "application/json")], false),
            ("GET", &[("accept", "*/*")], false),
            ("GET", &[], false),
            ("GET", &[navigate, ("sec-fetch-dest", "iframe"), html], false),
            ("GET", &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty"), html], false),
            ("GET", &[navigate, html], false),
            ("GET", &[navigate, document, ("sec-purpose", "prefetch;prerender")], false),
            ("GET", &[navigate, document, ("purpose", "prefetch")], false),
            ("GET", &[navigate, document, ("authorization", "bearer a.b.c")], false),
            ("GET", &[navigate, document, ("authorization", "Basic YTpi")], true),
        ] {
            assert_eq!(is_navigation(&head(method, headers)), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn a_post_counts_from_our_own_pages_only() {
        let origin = "https://apps.example.com";
        for (headers, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site"), ("origin", origin)], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", origin)], true),
            (&[("origin", "https://evil.example.com")], false),
            (&[("origin", "null")], false),
            (&[], true),
        ] {
            assert_eq!(is_from_our_page(&head("POST", headers).headers, origin), expected, "{headers:?}");
        }
    }
}

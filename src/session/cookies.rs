//! The names of our cookies, and keeping them to ourselves.

use std::borrow::Cow;

use bytes::{BufMut as _, BytesMut};
use http::HeaderMap;
use http::header::{self, HeaderValue};
use url::Url;

/// What our cookies are called on a listener, and the attributes they have there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CookieNames {
    ticket: Cow<'static, str>,
    secure: bool,
}

impl CookieNames {
    /// The names under `public_url`: `__Host-claviger` where it is https, so that no sibling host can set it
    /// (RFC 6265bis §4.1.3.2, A10); `claviger-<port>` on loopback, where cookies know no ports.
    pub fn under(public_url: &Url) -> Self {
        match public_url.scheme() {
            "https" => Self { ticket: Cow::Borrowed(HOST_NAME), secure: true },
            _ => {
                let port = public_url.port_or_known_default().unwrap_or(80);
                Self { ticket: Cow::Owned(format!("{LOOPBACK_NAME}{port}")), secure: false }
            }
        }
    }

    /// The ticket's.
    pub fn ticket(&self) -> &str {
        &self.ticket
    }

    /// Another of ours.
    pub fn other(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.ticket)
    }

    /// A `Set-Cookie` value. `Lax`, as the provider's redirect back is a cross-site navigation that must carry it.
    pub fn set(&self, name: &str, value: &str, max_age: Option<u64>) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let age = max_age.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
        let mut header =
            HeaderValue::try_from(format!("{name}={value}; Path=/{age}; HttpOnly{secure}; SameSite=Lax")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// A `Set-Cookie` value for a cookie that must come along when another site's form is posted here. Browsers take
    /// `SameSite=None` with `Secure` only. On plain http, which is for loopback, most take `Secure` too, as they trust such
    /// addresses; those that don't (Safari) must be shown https for logins that are posted back.
    pub fn set_for_posts(&self, name: &str, value: &str, max_age: Option<u64>) -> Option<HeaderValue> {
        let age = max_age.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
        let cookie = format!("{name}={value}; Path=/{age}; HttpOnly; Secure; SameSite=None");
        let mut header = HeaderValue::try_from(cookie).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// A `Set-Cookie` value that removes one: with the attributes it was set with, or browsers keep it
    /// (CVE-2025-55162).
    pub fn clear(&self, name: &str) -> Option<HeaderValue> {
        self.set(name, "", Some(0))
    }
}

/// Removes our cookies from what goes upstream: an upstream must not be able to act as the person (A28).
pub fn strip_from_request(headers: &mut HeaderMap) {
    let (mut ours, mut others) = (false, false);
    for pair in headers.get_all(header::COOKIE).iter().flat_map(pairs) {
        if is_ours(pair) { ours = true } else { others = true }
    }
    if !ours {
        return;
    }
    // most often ours is the only one: then nothing is built anew
    if !others {
        headers.remove(header::COOKIE);
        return;
    }
    let mut rest = BytesMut::new();
    for pair in headers.get_all(header::COOKIE).iter().flat_map(pairs).filter(|pair| !is_ours(pair)) {
        if !rest.is_empty() {
            rest.put_slice(b"; ");
        }
        rest.put_slice(pair);
    }
    match HeaderValue::from_maybe_shared(rest.freeze()) {
        Ok(value) => drop(headers.insert(header::COOKIE, value)),
        Err(_) => drop(headers.remove(header::COOKIE)),
    }
}

/// Removes our cookies from what an upstream sets: it must not log anyone in as anyone (A28).
pub fn strip_from_response(headers: &mut HeaderMap) {
    if !headers.get_all(header::SET_COOKIE).iter().any(|value| is_ours(value.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter(|value| !is_ours(value.as_bytes())).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

/// The `name=value` pairs of a `Cookie` header; empty ones left out.
fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// Whether `cookie`, a name with or without what follows, is one of claviger's, on this listener or another: on
/// loopback the browser sends us the tickets of every port.
fn is_ours(cookie: impl AsRef<[u8]>) -> bool {
    // a cookie without a name is sent back as its value alone: `=__Host-claviger=x` becomes `__Host-claviger=x`
    let mut cookie = cookie.as_ref().trim_ascii_start();
    while let Some(rest) = cookie.strip_prefix(b"=") {
        cookie = rest.trim_ascii_start();
    }
    let name = cookie.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default().trim_ascii_end();
    let rest = if let Some(rest) = name.strip_prefix(HOST_NAME.as_bytes()) {
        rest
    } else if let Some(rest) = name.strip_prefix(LOOPBACK_NAME.as_bytes()) {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.get(digits..) {
            Some(rest) if digits > 0 => rest,
            _ => return rest.starts_with(PROVIDER),
        }
    } else {
        return false;
    };
    matches!(rest.first(), None | Some(b'-'))
}

const HOST_NAME: &str = "__Host-claviger";
const LOOPBACK_NAME: &str = "claviger-";
/// The built-in provider's, on another port of this machine: whoever has it is the person at the provider.
const PROVIDER: &[u8] = b"provider-";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn of(headers: &HeaderMap, name: header::HeaderName) -> Vec<&str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn names_follow_the_public_url() {
        let https = CookieNames::under(&"https://apps.example.com".parse().unwrap());
        assert_eq!((https.ticket(), &*https.other("login-x")), ("__Host-claviger", "__Host-claviger-login-x"));
        assert_eq!(
            https.set(https.ticket(), "v", None).unwrap(),
            "__Host-claviger=v; Path=/; HttpOnly; Secure; SameSite=Lax"
        );
        let loopback = CookieNames::under(&"http://127.0.0.1:8080".parse().unwrap());
        assert_eq!(
            loopback.clear(loopback.ticket()).unwrap(),
            "claviger-8080=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }

    /// Browsers take `SameSite=None` with `Secure` only.
    #[test]
    fn a_cookie_for_posts_of_other_sites_is_secure_and_only_that_one_is() {
        for (url, name) in [("https://apps.example.com", "__Host-claviger"), ("http://localhost:8080", "claviger-8080")]
        {
            let names = CookieNames::under(&url.parse().unwrap());
            let set = names.set_for_posts(&names.other("login-post-x"), "v", Some(600)).unwrap();
            let expected = format!("{name}-login-post-x=v; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=None");
            assert_eq!(set, expected.as_str());
            assert!(is_ours(names.other("login-post-x")), "and no upstream sees it");
        }
    }

    /// A28: our cookies never reach an upstream, whatever stands around them.
    #[test]
    fn our_cookies_stay_here() {
        for (sent, kept) in [
            (&["__Host-claviger=t"][..], &[][..]),
            (&["a=1; __Host-claviger=t;b=2"], &["a=1; b=2"]),
            (&["__Host-claviger=t; __Host-claviger-login-0a=x; claviger-8080=y; claviger-81-login-0=z"], &[]),
            (&["a=1", "__Host-claviger=t", "b=2; __Host-claviger=u"], &["a=1; b=2"]),
            (&["a=1;b=2"], &["a=1;b=2"]),
            (&["claviger=1; claviger-x=2; __Host-clavigers=3"], &["claviger=1; claviger-x=2; __Host-clavigers=3"]),
            (&["claviger-8080"], &[]),
            (&["claviger-provider-9000=s; claviger-provider-form-9000=f; __Host-claviger-provider=s"], &[]),
        ] {
            let mut headers = headers(header::COOKIE, sent);
            strip_from_request(&mut headers);
            assert_eq!(of(&headers, header::COOKIE), kept, "{sent:?}");
        }
    }

    /// A28: an upstream can't set our cookies, not even without a name.
    #[test]
    fn an_upstream_cannot_set_our_cookies() {
        for hostile in [
            "__Host-claviger=t; Path=/; Secure",
            " __Host-claviger =t",
            "=__Host-claviger=t",
            "= claviger-8080=t; Path=/",
            "==claviger-8080=t",
            "claviger-8080-login-1=x",
            "__Host-claviger",
        ] {
            let mut headers = headers(header::SET_COOKIE, &["app=1; Path=/", hostile, "app2=2"]);
            strip_from_response(&mut headers);
            assert_eq!(of(&headers, header::SET_COOKIE), ["app=1; Path=/", "app2=2"], "{hostile}");
        }
    }
}

//! Who may ask for logins: registered clients, their redirect URIs and secrets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap};
use url::Url;

use super::form::Form;
use crate::secret::Secret;
use crate::web::is_loopback;

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: Arc<str>,
    /// How pages call it.
    pub name: String,
    /// Its secret. A client without one is public and must use PKCE.
    pub secret: Option<Secret>,
    /// Where answers may be sent.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where a browser may be sent after logout.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Whether a refresh gives a new ID token too. Real providers differ in it.
    pub id_token_on_refresh: bool,
    /// Whether it may start logins on devices without a browser (RFC 8628).
    pub device_flow: bool,
}

/// A registered redirect URI: https, or http to this very machine. It is compared to the letter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedirectUri {
    text: String,
    /// The parts before and after the port, where the host is a loopback address.
    loopback: Option<(String, String)>,
}

impl Client {
    /// A client of this id with the usual options: no secret, no redirect URI, ID tokens on refresh, no device flow.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            name: id.to_owned(),
            secret: None,
            redirect_uris: vec![],
            post_logout_redirect_uris: vec![],
            id_token_on_refresh: true,
            device_flow: false,
        }
    }

    /// Whether answers may be sent to `uri`.
    pub(super) fn may_redirect_to(&self, uri: &str) -> bool {
        let public = self.secret.is_none();
        self.redirect_uris.iter().any(|registered| registered.text == uri || (public && registered.is_port_of(uri)))
    }

    pub(super) fn may_leave_to(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris.iter().any(|registered| registered.text == uri)
    }
}

impl RedirectUri {
    /// RFC 8252 §7.3: a native app listens on whatever port it gets, so for loopback addresses any port fits. The rest
    /// is compared as text: parsers disagree about `http://127.0.0.1@evil/` and its kin (CVE-2026-28512).
    fn is_port_of(&self, uri: &str) -> bool {
        let Some((origin, path)) = &self.loopback else { return false };
        let Some(rest) = uri.strip_prefix(origin.as_str()).and_then(|rest| rest.strip_suffix(path.as_str())) else {
            return false;
        };
        rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok())
    }
}

impl FromStr for RedirectUri {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
        if !text.bytes().all(|c| c.is_ascii_graphic()) || text.contains(['#', '*', '\\']) {
            return Err("must be visible ASCII without `#`, `*` and `\\`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have a user before its host");
        }
        let Some(host) = url.host() else { return Err("must have a host") };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&host)) {
            return Err("must be https, or http to this machine: the code would travel in the clear");
        }
        let loopback = ["http://127.0.0.1", "http://[::1]"].into_iter().find_map(|origin| {
            let rest = text.strip_prefix(origin)?;
            let path = match rest.strip_prefix(':') {
                Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
                None => rest,
            };
            // without a path the port would be the end, and anything a path
            path.starts_with('/').then(|| (origin.to_owned(), path.to_owned()))
        });
        Ok(Self { text: text.to_owned(), loopback })
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a client shows at the token endpoint (RFC 6749 §2.3.1).
pub(super) struct Presented {
    pub(super) id: String,
    pub(super) secret: Option<Secret>,
}

impl Presented {
    /// `None` where there is no client, or one presented in two ways (RFC 6749 §2.3: one method in a request).
    pub(super) fn read(headers: &HeaderMap, form: &Form) -> Option<Self> {
        let in_form = form.value("client_secret").map(Secret::new);
        let mut basics = headers.get_all(AUTHORIZATION).iter();
        let Some(header) = basics.next() else {
            return Some(Self { id: form.value("client_id")?.to_owned(), secret: in_form });
        };
        let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
        if basics.next().is_some() || in_form.is_some() || !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Secret::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
        let (id, secret) = decoded.expose().split_once(':')?;
        let (id, secret) = (unescape(id)?, Secret::new(unescape(secret)?));
        // a `client_id` beside it may only repeat it
        form.value("client_id").is_none_or(|other| other == id).then_some(Self { id, secret: Some(secret) })
    }

    /// Whether this proves to be `client`. A public client proves nothing, and must not show a secret either.
    pub(super) fn proves(&self, client: &Client) -> bool {
        match (&client.secret, &self.secret) {
            (Some(expected), Some(shown)) => expected.matches(shown.expose()),
            (None, None) => true,
            _ => false,
        }
    }
}

/// RFC 6749 §2.3.1: id and secret are form-encoded before they are put together.
fn unescape(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(secret: Option<&str>, uris: &[&str]) -> Client {
        Client {
            secret: secret.map(Secret::new),
            redirect_uris: uris.iter().map(|uri| uri.parse().unwrap()).collect(),
            ..Client::new("app")
        }
    }

    /// A7, CVE-2026-28512: nothing but what is registered.
    #[test]
    fn a7_redirect_uris_are_compared_to_the_letter() {
        let app = client(Some("s"), &["https://good.example.com/cb", "http://127.0.0.1:7000/cb"]);
        assert!(app.may_redirect_to("https://good.example.com/cb"));
        for uri in [
            "https://good.example.com/cb/",
            "https://good.example.com/cb?x=1",
            "https://good.example.com/cb#x",
            "https://good.example.com:443/cb",
            "https://GOOD.example.com/cb",
            "https://good.example.com@evil.test/cb",
            "https://good.example.com.evil.test/cb",
            "https://evil.test/https://good.example.com/cb",
            "https://good.example.com/cb/../x",
            "https://good.example.com%2f@evil.test/cb",
            "https://good.example.com\\@evil.test/cb",
            " https://good.example.com/cb",
            "https://good.example.com/cb\r\n",
            "http://good.example.com/cb",
            "javascript:alert(1)",
            "//good.example.com/cb",
            "http://127.0.0.1:7001/cb", // any port is for public clients only
            "",
        ] {
            assert!(!app.may_redirect_to(uri), "{uri}");
        }
    }

    #[test]
    fn a_native_app_may_take_any_loopback_port() {
        let app = client(None, &["http://127.0.0.1/cb", "http://[::1]:1/cb?x=1", "http://localhost:7000/cb"]);
        for uri in
            ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]:9/cb?x=1"]
        {
            assert!(app.may_redirect_to(uri), "{uri}");
        }
        for uri in [
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:+1/cb",
            "http://127.0.0.1:1@evil.test/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://127.0.0.1:1/evil/cb",
            "http://127.0.0.1:1/cb/",
            "http://127.0.0.1:1/cb?x=1",
            "http://127.0.0.1:@evil.test/cb",
            "https://127.0.0.1:1/cb",
            "http://localhost:7001/cb",
            "http://127.1:1/cb",
        ] {
            assert!(!app.may_redirect_to(uri), "{uri}");
        }
    }

    #[test]
    fn dangerous_registrations_are_refused() {
        for uri in [
            "/cb",
            "http://apps.example.com/cb",
            "https://user@apps.example.com/cb",
            "https://*.example.com/cb",
            "https://apps.example.com/cb#x",
            "https://apps.example.com/c b",
            "javascript:alert(1)",
            "data:text/html,x",
        ] {
            assert!(uri.parse::<RedirectUri>().is_err(), "{uri}");
        }
        for uri in ["https://apps.example.com/cb?a=b", "http://apps.localhost:7000/cb", "http://127.0.0.1:7000/"] {
            assert!(uri.parse::<RedirectUri>().is_ok(), "{uri}");
        }
    }

    #[test]
    fn clients_prove_themselves_in_one_way() {
        let present = |authorization: Option<&str>, body: &str| {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                let value = format!("Basic {}", STANDARD.encode(value));
                headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
            }
            Presented::read(&headers, &Form::parse(body.as_bytes()).unwrap())
        };
        let (known, public) = (client(Some("s:1 +"), &[]), client(None, &[]));
        let cases = [
            (Some("app:s%3A1+%2B"), "", true, false),
            (Some("app:s%3A1+%2B"), "client_id=app", true, false),
            (None, "client_id=app&client_secret=s%3A1+%2B", true, false),
            (Some("app:wrong"), "", false, false),
            (Some("app:"), "", false, false),
            (None, "client_id=app", false, true),
            (None, "client_id=app&client_secret=", false, true),
        ];
        for (header, body, proves, proves_public) in cases {
            let presented = present(header, body).unwrap();
            assert_eq!((presented.proves(&known), presented.proves(&public)), (proves, proves_public), "{body}");
        }
        assert!(present(Some("app:s"), "client_secret=s").is_none());
        assert!(present(Some("app:s"), "client_id=other").is_none());
        assert!(present(Some("app"), "").is_none());
        assert!(present(None, "").is_none());
    }
}

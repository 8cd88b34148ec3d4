//! The address people type: where cookies, redirects and our issuer live.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::web::is_loopback;

/// An origin: `https://apps.example.com`, or `http://` on loopback, without path, query or user.
///
/// What is in here decides the cookie's `Secure`, redirect URIs and the issuer of minted tokens; a header that a client
/// sends never does (A6).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The URL, with the path `/`.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and, where it isn't the scheme's own, port; no slash at the end.
    pub fn origin(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The host as URLs write it: lower case, IPv6 in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, the scheme's own where none is written.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether browsers reach it over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The URL of an absolute path below it.
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|e| format!("`{text}` is not a URL ({e}); expected {EXPECTED}"))?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path() == "/";
        match url.scheme() {
            "https" | "http" if !plain => {
                Err(format!("must be a scheme, a host and at most a port; expected {EXPECTED}"))
            }
            "https" => Ok(Self(url)),
            // cookies without `Secure` and codes in clear text never leave this machine
            "http" if url.host().is_some_and(|host| is_loopback(&host)) => Ok(Self(url)),
            "http" => Err("plain http is for loopback only (localhost, *.localhost, 127.0.0.1, [::1]); \
                           expected https, also where a load balancer speaks TLS for us"
                .into()),
            scheme => Err(format!("has the scheme `{scheme}`; expected {EXPECTED}")),
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin())
    }
}

const EXPECTED: &str = "something like https://apps.example.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken() {
        for (text, origin, port) in [
            ("https://Apps.Example.com", "https://apps.example.com", 443),
            ("https://apps.example.com:8443/", "https://apps.example.com:8443", 8443),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", 8080),
            ("http://[::1]:8080", "http://[::1]:8080", 8080),
            ("http://app.localhost", "http://app.localhost", 80),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.origin(), url.port()), (origin, port));
            assert_eq!(url.at("/.claviger/callback").as_str(), format!("{origin}/.claviger/callback"));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "apps.example.com",
            "http://apps.example.com",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://10.0.0.1",
            "https://apps.example.com/path",
            "https://apps.example.com/?q",
            "https://apps.example.com/#f",
            "https://user@apps.example.com",
            "ftp://localhost",
            "",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}

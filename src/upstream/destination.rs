//! Where requests go and how: all that tells one upstream's connections from another's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};
use url::Url;

use crate::tls::Trust;

/// All that a connection depends on. Two that are equal share their connections, also across a reload.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    /// At least one; all of them https, or none.
    pub addresses: Vec<Address>,
    /// What to speak.
    pub protocol: Protocol,
    /// What to believe and to show where it is https.
    pub trust: Trust,
    /// What `Host` and TLS's server name say in place of the address's own.
    pub host: Option<Authority>,
    /// How to find out which addresses are well; absent: by connecting to them.
    pub health: Option<Health>,
    /// What metrics call it, where that is not its authority: many destinations may share a name.
    pub label: Option<Box<str>>,
}

/// One address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    /// `http` or `https`, host and port; no path.
    Origin(Url),
    /// A Unix socket, on which it is plain http.
    Unix(PathBuf),
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// Under TLS what the upstream chooses of HTTP/2 and HTTP/1.1 (RFC 7301), else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 under TLS.
    Http2,
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// How to ask an address whether it is well.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Health {
    /// What is asked for by GET; 200 to 399 is well.
    pub path: PathAndQuery,
    /// From one question to the next.
    pub interval: Duration,
    /// For connection and answer together.
    pub timeout: Duration,
    /// So many bad answers in a row, and it is down.
    pub unhealthy_after: u32,
    /// So many good ones in a row, and it is up.
    pub healthy_after: u32,
}

impl Destination {
    /// One address, of which nothing special is known.
    pub fn of(address: Address, trust: Trust) -> Self {
        Self { addresses: vec![address], protocol: Protocol::Auto, trust, host: None, health: None, label: None }
    }

    /// What `Host` says: host and port, the port only where it isn't the scheme's own.
    pub(super) fn authority(&self) -> HeaderValue {
        let own = || self.addresses.first().map_or_else(String::new, Address::authority);
        let authority = self.host.as_ref().map_or_else(own, ToString::to_string);
        // a host that `Url` or `Authority` has parsed is always a header value
        HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static(""))
    }

    /// Whether it may come to HTTP/2.
    pub(super) fn may_speak_http2(&self) -> bool {
        match self.protocol {
            Protocol::Auto => self.addresses.iter().any(Address::is_https),
            Protocol::Http1 => false,
            Protocol::Http2 | Protocol::H2c => true,
        }
    }
}

impl Protocol {
    /// Whether a connection may turn into something else (RFC 9110 §7.8): HTTP/1.1 only.
    pub(super) fn takes_upgrades(self) -> bool {
        matches!(self, Self::Auto | Self::Http1)
    }
}

impl Address {
    /// Whether it is reached by TLS.
    pub fn is_https(&self) -> bool {
        matches!(self, Self::Origin(url) if url.scheme() == "https")
    }

    /// Host and port as `Host` has them; `localhost` for a socket, which has none.
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Origin(url) => {
                let host = url.host_str().unwrap_or_default();
                url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.file_name().is_some() { Ok(Self::Unix(path)) } else { Err(NO_SOCKET.to_owned()) };
        }
        let url: Url = text.parse().map_err(|e| format!("`{text}` is not a URL ({e}); {EXPECTED}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("has the scheme `{}`; expected http, https or unix", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("must not have a user or password in it; {EXPECTED}"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "must not have a path; {EXPECTED}, and `add_prefix` for a path to go before the request's"
            ));
        }
        Ok(Self::Origin(url))
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "http1" => Ok(Self::Http1),
            "http2" => Ok(Self::Http2),
            "h2c" => Ok(Self::H2c),
            _ => Err(format!("`{text}` is no protocol; it may be one of: auto, http1, http2, h2c")),
        }
    }
}

const EXPECTED: &str = "expected a scheme, host and port such as http://127.0.0.1:3000";
const NO_SOCKET: &str = "has no path to a socket; expected one such as unix:/run/app.sock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_leaves_out_the_schemes_own_port() {
        for (address, authority) in [
            ("http://a.test", "a.test"),
            ("http://a.test:80", "a.test"),
            ("https://a.test:443/", "a.test"),
            ("https://a.test:80", "a.test:80"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("unix:/run/app.sock", "localhost"),
        ] {
            let destination = Destination::of(address.parse().unwrap(), Trust::system());
            assert_eq!(destination.authority(), authority);
        }
    }

    #[test]
    fn an_address_is_an_origin_or_a_socket() {
        for (text, shown) in [
            ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
            ("https://A.test", "https://a.test"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:app.sock", "unix:app.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "127.0.0.1:3000",
            "ftp://a.test",
            "http://a.test/x",
            "http://a.test?x",
            "http://u:p@a.test",
            "unix:",
            "unix:/",
            "http+unix://x",
        ] {
            text.parse::<Address>().unwrap_err();
        }
    }
}

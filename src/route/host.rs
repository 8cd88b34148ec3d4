//! Hosts: what a client names, and which ones a route is for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::web::is_loopback;

/// The host a request is for, in lower case, without port and without the root's dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host<'a>(Cow<'a, str>);

/// A text that is no host.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a host")]
pub struct HostError;

/// Which hosts a route is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// `reports.example.com`.
    Exactly(Box<str>),
    /// `*.example.com`: one label more, as certificates mean it (RFC 9525 §6.3). Holds `.example.com`.
    OneLabelBelow(Box<str>),
    /// `*`: every host that no other route is for.
    Any,
}

impl<'a> Host<'a> {
    /// The host in a `Host` header or `:authority`: a name or an address, perhaps with a port. The port says nothing
    /// about whose the request is.
    ///
    /// # Errors
    /// [`HostError`] for anything else: user names, several hosts, empty texts. It is answered with 400.
    pub fn parse(authority: &'a str) -> Result<Self, HostError> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let end = bracketed.find(']').ok_or(HostError)?;
                authority.split_at(end + 2)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port_ok = port.is_empty()
            || port.strip_prefix(':').is_some_and(|p| p.is_empty() || p.parse::<u16>().is_ok() && !p.starts_with('+'));
        let name = host.strip_suffix('.').unwrap_or(host); // `example.com.` is the same place as `example.com`
        let address_ok = |host: &str| {
            let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if !port_ok || !(is_name(name) || address_ok(name)) {
            return Err(HostError);
        }
        Ok(Self(if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }))
    }

    /// The host.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostPattern {
    /// Whether every host it is for is this machine. Of `*` there is no saying: it is for whatever leads here.
    pub fn is_loopback(&self) -> bool {
        let host = match self {
            Self::Exactly(name) => url::Host::parse(name),
            Self::OneLabelBelow(suffix) => url::Host::parse(suffix.trim_start_matches('.')),
            Self::Any => return false,
        };
        host.is_ok_and(|host| is_loopback(&host))
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is not a host; expected something like reports.example.com, *.example.com or *");
        if text == "*" {
            return Ok(Self::Any);
        }
        let (suffix, name) = match text.strip_prefix('*') {
            Some(suffix) => (Some(suffix), suffix.strip_prefix('.').ok_or_else(error)?),
            None => (None, text),
        };
        let host = Host::parse(name).map_err(|HostError| error())?;
        if host.as_str() != name.to_ascii_lowercase() {
            return Err(format!("`{text}` has a port or a dot at its end; a route's host is the name alone"));
        }
        Ok(match suffix {
            Some(suffix) => Self::OneLabelBelow(suffix.to_ascii_lowercase().into()),
            None => Self::Exactly(host.as_str().into()),
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => f.write_str(name),
            Self::OneLabelBelow(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Labels of letters, digits, `-` and `_`, none empty. Names with other letters come in their ASCII form (RFC 5890).
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_without_port_and_case() {
        for (authority, host) in [
            ("reports.example.com", "reports.example.com"),
            ("Reports.EXAMPLE.com:8443", "reports.example.com"),
            ("reports.example.com.", "reports.example.com"),
            ("reports.example.com.:443", "reports.example.com"),
            ("localhost:", "localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(Host::parse(authority).as_ref().map(Host::as_str), Ok(host), "{authority}");
        }
    }

    #[test]
    fn other_texts_are_no_hosts() {
        for bad in [
            "",
            ":80",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a,b",
            "a/b",
            "u@a",
            "u:p@a",
            "a:b",
            "a:80:80",
            "a:+80",
            "a:99999",
            "[::1",
            "[x]",
            "::1",
            "[::1]x",
            "a%2e",
            "ä.example",
            "a\\b",
            "*",
            "[::1].:80.",
        ] {
            assert_eq!(Host::parse(bad), Err(HostError), "{bad}");
        }
    }

    #[test]
    fn patterns_of_this_machine_are_known() {
        for (pattern, is) in [
            ("localhost", true),
            ("wiki.localhost", true),
            ("*.localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("reports.example.com", false),
            ("*.example.com", false),
            ("10.0.0.1", false),
            ("*", false),
        ] {
            assert_eq!(pattern.parse().map(|pattern: HostPattern| pattern.is_loopback()), Ok(is), "{pattern}");
        }
    }

    #[test]
    fn patterns_are_names_alone() {
        for bad in ["", "*example.com", "*.", "**", "a.*", "*.*.example", "example.com:443", "example.com.", "http://a"]
        {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        assert_eq!("*.Example.com".parse(), Ok(HostPattern::OneLabelBelow(".example.com".into())));
    }
}

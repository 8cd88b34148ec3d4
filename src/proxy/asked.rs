//! Which host and path a request asks for: exactly one of each, said once.

use http::header::{self, HeaderValue};
use http::{Uri, Version, request};

use crate::fault::Fault;
use crate::policy::{NormalPath, PathError};
use crate::route::Host;

/// The host a request asks for, as it was written: what goes on as `Host` where the client's is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked(HeaderValue);

impl Asked {
    /// Reads it off the head.
    ///
    /// # Errors
    /// No host, two of them, or a target that names another one than `Host` does: two parsers on the way could
    /// understand two different things (A3, RFC 9112 §3.2).
    pub fn read(head: &request::Parts) -> Result<Self, Fault> {
        let malformed = |what: &str| Fault::Malformed(what.to_owned());
        let mut hosts = head.headers.get_all(header::HOST).iter();
        let (host, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(malformed("there is more than one Host header"));
        }
        match (head.uri.authority(), host) {
            (None, None) => Err(malformed("there is no Host header")),
            (None, Some(host)) => Ok(Self(host.clone())),
            (Some(_), None) if head.version < Version::HTTP_2 => Err(malformed("there is no Host header")),
            (Some(authority), host) => {
                if host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
                    return Err(malformed("the target and the Host header name different hosts"));
                }
                let written = HeaderValue::from_str(authority.as_str());
                Ok(Self(written.map_err(|_| malformed("the host is not a host"))?))
            }
        }
    }

    /// The host itself.
    ///
    /// # Errors
    /// What is written is no host.
    pub fn host(&self) -> Result<Host<'_>, Fault> {
        let host = self.0.to_str().ok().and_then(|text| Host::parse(text).ok());
        host.ok_or_else(|| Fault::Malformed("the Host header is not a host".into()))
    }

    /// With its port, as a header.
    pub fn authority(&self) -> &HeaderValue {
        &self.0
    }

    /// With its port, for logs.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// The path in its one normal form.
///
/// # Errors
/// A path that two readers could read differently (A5).
pub(super) fn path(target: &Uri) -> Result<NormalPath<'_>, Fault> {
    // a query alone (`http://host?x`) has the path `/` by RFC 9110 §4.2.3; `OPTIONS *` has none of ours
    let path = if target.path().is_empty() { "/" } else { target.path() };
    NormalPath::parse(path).map_err(odd)
}

/// The answer to such a path.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn odd(error: PathError) -> Fault {
    Fault::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, hosts: &[&str]) -> Option<String> {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let asked = Asked::read(&request.body(()).unwrap().into_parts().0).ok()?;
        asked.host().ok().map(|host| host.as_str().to_owned())
    }

    #[test]
    fn one_host_said_once() {
        // A3
        for (target, hosts, expected) in [
            ("/", &["App.Example.com:8443"][..], Some("app.example.com")),
            ("/", &["127.0.0.1"], Some("127.0.0.1")),
            ("/", &["[::1]:80"], Some("[::1]")),
            ("http://app.example.com/", &["app.example.com"], Some("app.example.com")),
            ("http://APP.example.com/", &["app.example.com"], Some("app.example.com")),
            ("/", &[], None),
            ("/", &["a.example", "b.example"], None),
            ("/", &["a.example", "a.example"], None),
            ("http://a.example/", &["b.example"], None),
            ("http://a.example/", &[], None),
            ("/", &["user@a.example"], None),
            ("/", &["a.example/x"], None),
            ("/", &["a.example:80:80"], None),
            ("/", &["a.example:x"], None),
            ("/", &["a.example:+80"], None),
            ("/", &["a..example"], None),
            ("/", &["[::1"], None),
            ("/", &["[::1]x"], None),
            ("/", &["a%2eexample"], None),
            ("/", &["a.example, b.example"], None),
            ("/", &[""], None),
        ] {
            assert_eq!(read(target, hosts).as_deref(), expected, "{target} {hosts:?}");
        }
    }
}

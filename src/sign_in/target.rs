//! Where a browser goes after its login: a path here, or on another host of ours; never elsewhere (A7).

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{PREFIX, Site};

/// A place on one of our hosts. Only [`Target::read`] makes one, of whatever it is given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Target {
    host: String,
    path: String,
}

impl Target {
    /// What `text` means on `host`: a path with its query, or a URL of another host of ours. Anything that is neither,
    /// or that some browser could read as something else, is the host's start page.
    pub fn read(text: &str, site: &Site, host: &str) -> Self {
        read(text, site, host).unwrap_or_else(|| Self { host: host.to_owned(), path: "/".to_owned() })
    }

    /// The host, one of ours.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The path with its query.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The whole URL: it is sent absolute, so that a path that looks like a host stays a path. A target waits in a
    /// cookie or an address, and its host may have gone from the config since: then this is the start page (A7).
    pub fn url(&self, site: &Site) -> String {
        let url = site.url(&self.host, "/").filter(|_| site.serves(&self.host));
        match url {
            Some(url) => format!("{}{}", url.origin().ascii_serialization(), self.path),
            None => site.public_url.join("/").map_or_else(|_| "/".to_owned(), String::from),
        }
    }
}

fn read(text: &str, site: &Site, host: &str) -> Option<Target> {
    // browsers drop tabs and line ends, and read backslashes as slashes (WHATWG URL §4.4)
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let scheme = site.public_url.scheme();
    let is_url = text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://"));
    if !is_path && !is_url {
        return None;
    }
    let here = site.url(host, "/")?;
    let url = here.join(text).ok()?;
    let known = url.scheme() == scheme
        && url.port_or_known_default() == here.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none();
    let host = url.host_str().filter(|host| known && site.serves(host))?;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    // escaping makes three bytes of one: what counts is what is kept
    (path.len() <= LONGEST && plain_path(&url)).then(|| Target { host: host.to_owned(), path })
}

/// Whether nobody could take the path's beginning for a host, and it is not a place of ours: a login that leads to
/// another login or a logout helps nobody.
fn plain_path(url: &Url) -> bool {
    let decoded = percent_decode_str(url.path()).collect::<Vec<u8>>();
    let second = decoded.get(1);
    let looks_like_a_host = second.is_some_and(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control());
    !looks_like_a_host && !decoded.starts_with(PREFIX.as_bytes())
}

/// It is kept in a cookie, of which browsers take 4096 bytes.
const LONGEST: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let is_ours = |host: &str| matches!(host, "reports.example.com" | "wiki.example.com");
        Site::new("https://apps.example.com".parse().unwrap(), is_ours, Vec::new())
    }

    fn leads_to(text: &str) -> String {
        let site = site();
        Target::read(text, &site, "reports.example.com").url(&site)
    }

    #[test]
    fn paths_and_our_own_hosts_are_kept() {
        for (text, url) in [
            ("/", "https://reports.example.com/"),
            ("/a/b?c=d&e=%2F%2Fx", "https://reports.example.com/a/b?c=d&e=%2F%2Fx"),
            ("/a/../b#part", "https://reports.example.com/b"),
            ("/q?next=https://evil.example", "https://reports.example.com/q?next=https://evil.example"),
            ("https://wiki.example.com/x?y", "https://wiki.example.com/x?y"),
            ("https://apps.example.com/", "https://apps.example.com/"),
        ] {
            assert_eq!(leads_to(text), url, "{text}");
        }
    }

    /// A7: CVE-2021-21291 and the tricks around it.
    #[test]
    fn everything_else_is_the_start_page() {
        for text in [
            "",
            "x",
            "//evil.com",
            "///evil.com",
            "/\\evil.com",
            "\\\\evil.com",
            "\\/evil.com",
            "/\t/evil.com",
            "/\n/evil.com",
            "/%09/evil.com",
            "/%0d%0aSet-Cookie:x=y",
            "/%2f%2fevil.com",
            "/%2fevil.com",
            "/%5cevil.com",
            "/.//evil.com",
            "/a/..//evil.com",
            "/%2e%2e//evil.com",
            "https:evil.com",
            "https:/evil.com",
            "https:///evil.com",
            "http://reports.example.com/",
            "https://evil.com",
            "https://evilexample.com",
            "https://reports.example.com.evil.com/",
            "https://reports.example.com@evil.com/",
            "https://user@reports.example.com/",
            "https://reports.example.com:444/",
            "https://reports.example.com\\@evil.com/",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "HTTPS://evil.com",
            " /a",
            "/a b",
            "/\u{ff0f}evil.com",
            "/.claviger/logout",
            "/%2eclaviger/logout",
            "/x/../.claviger/login",
            "/.claviger%2flogout",
        ] {
            assert_eq!(leads_to(text), "https://reports.example.com/", "{text:?}");
        }
        for long in ["a".repeat(2_000), "\"".repeat(700), format!("?{}", "'".repeat(700))] {
            assert_eq!(leads_to(&format!("/{long}")), "https://reports.example.com/");
        }
        assert_eq!(leads_to(&format!("/{}", "a".repeat(1_999))).len(), "https://reports.example.com".len() + 2_000);
    }

    /// A7: a target that was sealed before a reload leads to no host that is gone.
    #[test]
    fn a_target_whose_host_is_gone_is_the_start_page() {
        let target = Target::read("https://wiki.example.com/x", &site(), "reports.example.com");
        let later = Site::new("https://apps.example.com".parse().unwrap(), |_| false, Vec::new());
        assert_eq!(target.url(&site()), "https://wiki.example.com/x");
        assert_eq!(target.url(&later), "https://apps.example.com/");
    }
}

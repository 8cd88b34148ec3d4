//! Paths, hosts, and where logins lead (A5, A7, A3).

use std::sync::LazyLock;

use claviger::policy::{NormalPath, Oddities};
use claviger::route::Host;
use claviger::sign_in::Site;
use claviger::sign_in::target::Target;
use percent_encoding::percent_decode_str;
use url::Url;

/// What is normal is normal for ever, means what was sent, and holds nothing that a second reader might take for more.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(path) = NormalPath::parse(text) else { return };
    let normal = path.as_str();
    let again = NormalPath::parse(normal).expect("what is normal is a path");
    assert_eq!(again.as_str(), normal, "of {text:?}");
    assert_eq!(again.keep_to(Oddities::default()), path.keep_to(Oddities::default()), "of {text:?}");
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    assert_eq!(decoded(normal), decoded(text), "{normal:?} means what {text:?} does");
    let plain = normal.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#?<>\"`{}|^".contains(&byte));
    assert!(normal.starts_with('/') && plain, "{normal:?} is sent as it is");
    // to whoever decodes once, and cuts parameters off
    let decoded = String::from_utf8(decoded(normal)).expect("escapes make UTF-8");
    assert!(!decoded.contains(|c: char| c.is_ascii_control()), "{normal:?}");
    let climbs =
        |text: &str| text.split(['/', '\\']).any(|segment| matches!(segment.split(';').next(), Some("." | "..")));
    assert!(!climbs(normal) && !climbs(&decoded), "{normal:?} climbs");
    if path.keep_to(Oddities::default()).is_ok() {
        let escapes = normal.to_ascii_lowercase();
        let odd = ["//", "%2f", "%5c", "%23", "%00", ";"].iter().find(|odd| escapes.contains(**odd));
        assert_eq!(odd, None, "in {normal:?}");
        let twice = percent_decode_str(&decoded).collect::<Vec<u8>>();
        assert!(twice == decoded.as_bytes(), "{normal:?} is something else to whoever decodes twice");
    }
}

pub fn path_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "/",
        "/a/b",
        "/%70ublic/%2D",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/..;/b",
        "//a",
        "/a%2fb",
        "/a%5c..%5cb",
        "/a%2523",
        "/%c3%a4",
        "/\u{e4}",
        "/%c0%ae",
        "/a|b\"",
        "/a;b=c/d",
        "/...",
        "/%zz",
        "/%",
        "/a b",
        "/.%2e/",
        "/%25%32%65",
    ])
}

/// A host is one host, in one spelling, however it is read.
pub fn host(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(host) = Host::parse(text) else { return };
    let host = host.as_str();
    assert_eq!(Host::parse(host).expect("a host is a host").as_str(), host, "of {text:?}");
    let plain =
        host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_[]:".contains(&byte));
    assert!(!host.is_empty() && plain && !host.ends_with('.'), "{host:?} of {text:?}");
    assert!(!host.contains(':') || host.starts_with('['), "a port is no part of {host:?}");
    // where WHATWG reads one as well, it is the same
    if let Ok(url) = Url::parse(&format!("http://{text}/")) {
        assert!(url.username().is_empty() && url.password().is_none() && url.path() == "/", "{text:?}");
        if let Some(url::Host::Domain(name)) = url.host() {
            assert_eq!(name.trim_end_matches('.'), host, "of {text:?}");
        }
    }
}

pub fn host_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "a.test",
        "A.Test.:8080",
        "[::1]:80",
        "127.0.0.1",
        "a@b",
        "a,b",
        "a:+1",
        "[::1",
        "a_b.-c",
        "xn--a",
        "0x7f.1",
    ])
}

/// A login leads to one of our own hosts, over https, whatever it is asked to lead to.
pub fn target(data: &[u8]) {
    static SITE: LazyLock<Site> = LazyLock::new(|| {
        let public_url = "https://apps.example.com".parse().expect("a URL");
        Site::new(public_url, |host: &str| host == "wiki.example.com", Vec::new())
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    for host in ["apps.example.com", "wiki.example.com"] {
        let url = Target::read(text, &SITE, host).url(&SITE);
        let read = Url::parse(&url).expect("a URL");
        let ours = ["https://apps.example.com", "https://wiki.example.com"];
        assert!(ours.contains(&&*read.origin().ascii_serialization()), "{text:?} leads to {url}");
        assert!(ours.iter().any(|ours| url.strip_prefix(ours).is_some_and(|rest| rest.starts_with('/'))), "{url}");
        assert!(url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{url:?} can be a Location");
        assert!(!read.path().starts_with("//") && !read.path().starts_with("/.claviger/"), "{url}");
    }
}

pub fn target_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "/",
        "/a?b=c",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "https:evil.example",
        "/%09/evil.example",
        "https://wiki.example.com/x?y",
        "https://wiki.example.com@evil.example/",
        "https://wiki.example.com:444/",
        "/.claviger/logout",
        "/a/..//evil.example",
        "javascript:alert(1)",
        "/%2f%2fevil.example",
        "https://WIKI.example.com/",
    ])
}

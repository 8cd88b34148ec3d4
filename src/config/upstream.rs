//! `[route.<name>] upstream`: an address, a list of them, or a table with the rest.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use toml::Value;

use super::error::{ConfigErrors, below};
use super::listen::TlsFiles;
use super::{file, shape, some_time};
use crate::built_in::Surroundings;
use crate::upstream::{Address, Health, Protocol};

/// Where a route's requests go.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Whether it is the AWS host that each request asks for. Then `addresses` is the one at which all of these hosts
    /// are reached, or empty where each is by its own name.
    pub as_asked: bool,
    /// At least one; all of them https, or none.
    pub addresses: Vec<Address>,
    /// What to speak.
    pub protocol: Protocol,
    /// A PEM file of roots to believe beside the system's.
    pub ca: Option<PathBuf>,
    /// What to show to an upstream that asks for a certificate.
    pub certificate: Option<TlsFiles>,
    /// What `Host` and TLS's server name say in place of the address's own.
    pub host: Option<Authority>,
    /// How to find out which addresses are well.
    pub health: Option<Health>,
}

/// In place of what is wrong stands something harmless.
pub(super) fn upstream(
    written: Option<Value>,
    path: &str,
    surroundings: &Surroundings,
    errors: &mut ConfigErrors,
) -> UpstreamConfig {
    let (shape, at_url) = match written {
        Some(Value::Table(table)) => (shape::read(table, path, errors).unwrap_or_default(), below(path, "url")),
        other => (file::Upstream { url: other, ..file::Upstream::default() }, path.to_owned()),
    };
    let as_asked = shape.url.as_ref().and_then(Value::as_str) == Some(AS_ASKED);
    let at_endpoint = below(path, "endpoint");
    let addresses = match (as_asked, shape.endpoint) {
        (true, None) => Vec::new(),
        (true, Some(endpoint)) => addresses(Some(Value::String(endpoint)), &at_endpoint, surroundings, errors),
        (false, endpoint) => {
            if endpoint.is_some() {
                errors.add(
                    &at_endpoint,
                    "is where requests go in place of the host they ask for; expected url = \"as-asked\"",
                );
            }
            addresses(shape.url, &at_url, surroundings, errors)
        }
    };
    for (key, is_there) in [("host", shape.host.is_some()), ("health", shape.health.is_some())] {
        if as_asked && is_there {
            errors.add(below(path, key), "is of no use where requests go to the host they ask for");
        }
    }
    let protocol = shape.protocol.and_then(|text| errors.keep(below(path, "protocol"), text.parse::<Protocol>()));
    let protocol = protocol.unwrap_or_default();
    let known = !addresses.is_empty();
    let https = addresses.iter().all(Address::is_https);
    let mut object = |key: &str, problem: &str| errors.add(below(path, key), problem);
    match protocol {
        Protocol::Http2 if known && !https => {
            object("protocol", "is http2, which is under TLS; expected https addresses, or h2c");
        }
        Protocol::H2c if known && https => object("protocol", "is h2c, which is without TLS; expected http2"),
        _ => {}
    }
    for (key, is_there) in
        [("ca", shape.ca.is_some()), ("certificate", shape.certificate.is_some()), ("key", shape.key.is_some())]
    {
        if is_there && known && !https {
            object(key, "is of no use without TLS; expected https addresses");
        }
    }
    let certificate = match (shape.certificate, shape.key) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: surroundings.path(&certificate), key: surroundings.path(&key) })
        }
        (None, None) => None,
        (one, _) => {
            let missing = if one.is_some() { "key" } else { "certificate" };
            errors.add_missing(&below(path, missing), "a PEM file, relative to this config");
            None
        }
    };
    UpstreamConfig {
        as_asked,
        addresses,
        protocol,
        ca: shape.ca.map(|file| surroundings.path(&file)),
        certificate,
        host: shape.host.and_then(|text| errors.keep(below(path, "host"), authority(&text))),
        health: shape.health.map(|shape| health(&shape, &below(path, "health"), errors)),
    }
}

/// One address or several.
fn addresses(
    written: Option<Value>,
    path: &str,
    surroundings: &Surroundings,
    errors: &mut ConfigErrors,
) -> Vec<Address> {
    let texts = match written {
        None => {
            errors.add_missing(path, "a scheme, host and port such as http://127.0.0.1:3000");
            return Vec::new();
        }
        Some(Value::String(text)) => vec![(path.to_owned(), Value::String(text))],
        Some(Value::Array(list)) => {
            if list.is_empty() {
                errors.add(path, "is an empty list; expected at least one address");
            }
            list.into_iter().enumerate().map(|(i, value)| (format!("{path}[{i}]"), value)).collect()
        }
        Some(other) => vec![(path.to_owned(), other)],
    };
    let mut addresses: Vec<Address> = Vec::new();
    for (path, value) in texts {
        let read = match value {
            Value::String(text) => text.parse(),
            _ => Err("expected an address such as http://127.0.0.1:3000, or a list of them".to_owned()),
        };
        let Some(address) = errors.keep(&path, read) else { continue };
        let address = match address {
            // not a file of the config's: what an app does to its socket is no reason to reload
            Address::Unix(socket) => Address::Unix(surroundings.folder.join(socket)),
            origin @ Address::Origin(_) => origin,
        };
        if addresses.contains(&address) {
            errors.add(&path, format!("`{address}` is written twice"));
        } else if addresses.first().is_some_and(|first| first.is_https() != address.is_https()) {
            errors.add(&path, "must be https as the first is, or none of them; one upstream is reached in one way");
        } else {
            addresses.push(address);
        }
    }
    addresses
}

fn authority(text: &str) -> Result<Authority, String> {
    let authority: Option<Authority> = text.parse().ok();
    let plain = |authority: &Authority| !authority.as_str().contains('@') && !authority.host().is_empty();
    authority.filter(plain).ok_or_else(|| format!("`{text}` is no host; expected a name, and a port if need be"))
}

fn health(shape: &file::Health, path: &str, errors: &mut ConfigErrors) -> Health {
    let at = |key: &str| below(path, key);
    let target = shape.path.as_deref().unwrap_or("/");
    let target = match target.parse::<PathAndQuery>() {
        Ok(parsed) if target.starts_with('/') => parsed,
        _ => {
            errors.add(at("path"), format!("`{target}` is no path; expected one such as /healthz"));
            PathAndQuery::from_static("/")
        }
    };
    let mut length = |key: &str, written: Option<Duration>, default| {
        some_time(&below(path, key), written.unwrap_or(default), errors)
    };
    let (interval, timeout) = (length("interval", shape.interval, INTERVAL), length("timeout", shape.timeout, TIMEOUT));
    let mut count = |key: &str, written: Option<u32>, default| match written.unwrap_or(default) {
        0 => {
            errors.add(at(key), "is 0; expected at least 1");
            1
        }
        count => count,
    };
    let unhealthy_after = count("unhealthy_after", shape.unhealthy_after, UNHEALTHY_AFTER);
    let healthy_after = count("healthy_after", shape.healthy_after, HEALTHY_AFTER);
    // a question that is over at once would be asked without end
    Health { path: target, interval: interval.max(Duration::from_millis(1)), timeout, unhealthy_after, healthy_after }
}

/// In place of an address: the AWS host that the request asks for.
const AS_ASKED: &str = "as-asked";

/// Often enough that few people notice, and seldom enough that no app does.
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
/// One slow answer is not the end.
const UNHEALTHY_AFTER: u32 = 2;
const HEALTHY_AFTER: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::Environment;

    fn read(text: &str) -> (UpstreamConfig, Vec<String>) {
        let table: toml::Table = format!("upstream = {text}").parse().unwrap();
        let surroundings = Surroundings::new("/etc/claviger", Environment::default());
        let mut errors = ConfigErrors::default();
        let config = upstream(table.get("upstream").cloned(), "route.x.upstream", &surroundings, &mut errors);
        (config, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_address_a_list_or_a_table() {
        for (text, addresses) in [
            ("'http://127.0.0.1:3000'", &["http://127.0.0.1:3000"][..]),
            ("['http://a.test', 'http://b.test']", &["http://a.test", "http://b.test"]),
            ("['unix:/run/app.sock', 'unix:app.sock']", &["unix:/run/app.sock", "unix:/etc/claviger/app.sock"]),
            ("{ url = 'https://a.test' }", &["https://a.test"]),
            (
                "{ url = ['https://a.test', 'https://b.test'], protocol = 'http2' }",
                &["https://a.test", "https://b.test"],
            ),
            ("{ url = 'unix:/run/app.sock', protocol = 'h2c' }", &["unix:/run/app.sock"]),
        ] {
            let (config, errors) = read(text);
            assert_eq!(errors, [""; 0], "{text}");
            assert_eq!(config.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), addresses);
        }
        let text = "{ url = 'https://a.test', ca = 'ca.pem', certificate = 'c.crt', key = 'c.key', host = 'b.test:1',
            health = { path = '/healthz?full' } }"
            .replace('\n', " ");
        let (config, errors) = read(&text);
        assert_eq!(errors, [""; 0]);
        let health = config.health.unwrap();
        assert_eq!((health.path.as_str(), health.interval, health.unhealthy_after), ("/healthz?full", INTERVAL, 2));
        assert_eq!((config.host.unwrap().as_str(), config.ca.unwrap()), ("b.test:1", "/etc/claviger/ca.pem".into()));
        assert_eq!(config.certificate.unwrap().key, PathBuf::from("/etc/claviger/c.key"));
    }

    #[test]
    fn mistakes_have_their_key_path() {
        const A: &str = "url = 'https://a.test'";
        const PLAIN: &str = "url = 'http://a.test'";
        for (text, expected) in [
            ("5", ": expected an address such as http://127.0.0.1:3000, or a list of them"),
            ("[]", ": is an empty list"),
            ("['http://a.test', 5]", "[1]: expected an address"),
            ("['http://a.test', 'http://a.test/']", "[1]: `http://a.test` is written twice"),
            ("['http://a.test', 'https://b.test']", "[1]: must be https as the first is, or none of them"),
            ("['https://b.test', 'unix:/run/x']", "[1]: must be https as the first is, or none of them"),
            ("'http://a.test/x'", ": must not have a path"),
            ("'ftp://a.test'", ": has the scheme `ftp`; expected http, https or unix"),
            ("'unix:'", ": has no path to a socket"),
            ("{}", ".url: is missing"),
            ("{ url = [] }", ".url: is an empty list"),
            ("{ url = ['http://a.test', 'x'] }", ".url[1]: `x` is not a URL"),
            (&format!("{{ {A}, protocol = 'h3' }}"), ".protocol: `h3` is no protocol; it may be one of: auto, http1"),
            (&format!("{{ {PLAIN}, protocol = 'http2' }}"), ".protocol: is http2, which is under TLS"),
            (&format!("{{ {A}, protocol = 'h2c' }}"), ".protocol: is h2c, which is without TLS"),
            (&format!("{{ {PLAIN}, ca = 'x' }}"), ".ca: is of no use without TLS"),
            (&format!("{{ {A}, key = 'x' }}"), ".certificate: is missing"),
            (&format!("{{ {A}, certificate = 'x' }}"), ".key: is missing"),
            (&format!("{{ {A}, host = 'a b' }}"), ".host: `a b` is no host"),
            (&format!("{{ {A}, host = 'u@a.test' }}"), ".host: `u@a.test` is no host"),
            (&format!("{{ {A}, host = '' }}"), ".host: `` is no host"),
            (&format!("{{ {A}, health = {{ path = 'x' }} }}"), ".health.path: `x` is no path"),
            (&format!("{{ {A}, health = {{ interval = '0s' }} }}"), ".health.interval: is no time at all"),
            (&format!("{{ {A}, health = {{ healthy_after = 0 }} }}"), ".health.healthy_after: is 0"),
            (&format!("{{ {A}, health = {{ pfad = '/' }} }}"), ".health.pfad: unknown field"),
            (&format!("{{ {A}, uri = 'x' }}"), ".uri: unknown field"),
        ] {
            let (_, errors) = read(text);
            let expected = format!("route.x.upstream{expected}");
            assert!(errors.len() == 1 && errors[0].starts_with(&expected), "{text}: {expected}\n{errors:#?}");
        }
    }
}

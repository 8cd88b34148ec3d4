//! What load balancers before us say of the client, believed only from configured peers, and what we tell upstreams.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::fault::{Fault, REQUEST_ID, ROLE};
use crate::inject::Vouched;

/// The client as far as it can be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client {
    /// Its address: the socket's, or what a believed peer vouches for.
    pub address: IpAddr,
    /// Whether the client itself speaks TLS, to us or to a believed peer.
    pub tls: bool,
    believed: bool,
}

impl Client {
    /// The client is whoever is at the socket's other end.
    pub fn at(peer: SocketAddr, tls: bool) -> Self {
        Self { address: peer.ip().to_canonical(), tls, believed: false }
    }

    /// Whether the peer is one whose word counts.
    pub fn is_believed(&self) -> bool {
        self.believed
    }

    /// Reads the client off a request: `peer` is the socket's other end, `trusted` the peers that are believed (A6).
    ///
    /// # Errors
    /// [`Fault::Malformed`] where a believed hop names something that is no address: who asks is unknown then, and to
    /// take the hop itself for the client would open what is open to its network.
    pub fn read(headers: &HeaderMap, peer: SocketAddr, tls: bool, trusted: &[IpNet]) -> Result<Self, Fault> {
        let direct = Self::at(peer, tls);
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        if !is_trusted(direct.address) {
            return Ok(direct);
        }
        // from the right: each believed hop vouches for the address it appended; the first that isn't believed is the client
        let mut address = direct.address;
        for hop in list(headers, &X_FORWARDED_FOR).rev() {
            address = parse_address(hop)
                .ok_or_else(|| Fault::Malformed("X-Forwarded-For names something that is no address".into()))?;
            if !is_trusted(address) {
                break;
            }
        }
        let tls = match list(headers, &X_FORWARDED_PROTO).next_back() {
            Some(proto) => proto.eq_ignore_ascii_case(b"https"),
            None => tls,
        };
        Ok(Self { address, tls, believed: true })
    }

    /// Sets `X-Forwarded-For`, `-Proto` and `-Host`; removes every other header by which a client could claim to be
    /// elsewhere or want something else (CVE-2026-40575, CVE-2026-33495, CVE-2026-35051), in every spelling
    /// (CVE-2024-45614, CVE-2026-54763). An address list is kept and added to only where the peer is believed. The host
    /// is the one that was routed by, whoever says what: a balancer that leaves a client's `X-Forwarded-Host` alone would
    /// make it our word (A6).
    pub fn tell(&self, headers: &mut HeaderMap, peer: &HeaderValue, host: &HeaderValue) {
        let told = if self.believed {
            let so_far = list(headers, &X_FORWARDED_FOR);
            let told = so_far.chain([peer.as_bytes()]).collect::<Vec<_>>().join(&b", "[..]);
            HeaderValue::from_maybe_shared(Bytes::from(told)).ok()
        } else {
            Some(peer.clone())
        };
        CLAIMED.strip(headers);
        if let Some(value) = told {
            headers.insert(X_FORWARDED_FOR, value);
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if self.tls { "https" } else { "http" }));
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
}

/// The members of a list header over all its lines, as bytes: a line that is no text must not vanish, or what stands
/// before it would be taken for the last word (A6).
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'h [u8]> + use<'h> {
    let values: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
        .collect();
    values.into_iter()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.or_else(|_| text.trim_matches(['[', ']']).parse()).ok().map(|address: IpAddr| address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that some framework or server somewhere believes: where a request comes from, what it is for, what it is
/// called. No client's own reaches an upstream, in any [spelling](Vouched).
pub const CLAIMS: [HeaderName; 60] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-path"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("front-end-https"),
    // what proxies that end TLS say of the client's certificate: RFC 9440, Envoy, Traefik, nginx and its ingress,
    // Apache and HAProxy by convention, load balancers of clouds
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
    HeaderName::from_static("x-client-cert"),
    HeaderName::from_static("x-client-certificate"),
    HeaderName::from_static("x-client-verify"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert-info"),
    HeaderName::from_static("ssl-client-cert"),
    HeaderName::from_static("ssl-client-verify"),
    HeaderName::from_static("ssl-client-subject-dn"),
    HeaderName::from_static("ssl-client-issuer-dn"),
    HeaderName::from_static("x-ssl-cert"),
    HeaderName::from_static("x-ssl-client-cert"),
    HeaderName::from_static("x-ssl-client-cn"),
    HeaderName::from_static("x-ssl-client-dn"),
    HeaderName::from_static("x-ssl-client-s-dn"),
    HeaderName::from_static("x-ssl-client-i-dn"),
    HeaderName::from_static("x-ssl-client-serial"),
    HeaderName::from_static("x-ssl-client-fingerprint"),
    HeaderName::from_static("x-ssl-client-sha1"),
    HeaderName::from_static("x-ssl-client-verify"),
    HeaderName::from_static("x-amzn-mtls-clientcert"),
    HeaderName::from_static("x-amzn-mtls-clientcert-leaf"),
    HeaderName::from_static("x-amzn-mtls-clientcert-subject"),
    HeaderName::from_static("x-amzn-mtls-clientcert-issuer"),
    HeaderName::from_static("x-amzn-mtls-clientcert-serial-number"),
    HeaderName::from_static("x-amzn-mtls-clientcert-validity"),
    HeaderName::from_static("x-arr-clientcert"),
    // which CGI programs take for the variable that names their way out (httpoxy, CVE-2016-5385)
    HeaderName::from_static("proxy"),
    // which settings to upgrade to HTTP/2 with: see `dress`
    HeaderName::from_static("http2-settings"),
    REQUEST_ID,
    // which is a word to us: an upstream that read it would take a client's wish for our word
    ROLE,
];

/// The same, in every spelling.
pub(super) static CLAIMED: LazyLock<Vouched> = LazyLock::new(|| Vouched::new(&CLAIMS));

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    #[test]
    fn an_unknown_peer_is_the_client_whatever_it_says() {
        // A6
        let headers = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        let client = Client::read(&headers, peer("203.0.113.9"), false, &["10.0.0.0/8".parse().unwrap()]).unwrap();
        assert_eq!((client.address.to_string().as_str(), client.tls), ("203.0.113.9", false));
    }

    #[test]
    fn a_believed_peer_vouches_for_the_last_unbelieved_hop() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (list, expected) in [
            ("6.6.6.6, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
            ("203.0.113.9", "203.0.113.9"),
            ("garbage, 203.0.113.9", "203.0.113.9"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("", "10.0.0.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            let headers = headers(&[("x-forwarded-proto", "https")]);
            let mut headers = headers.clone();
            headers.insert("x-forwarded-for", HeaderValue::from_static(list));
            let client = Client::read(&headers, peer("10.0.0.1"), false, &trusted).unwrap();
            assert_eq!((client.address.to_string().as_str(), client.tls), (expected, true), "{list}");
        }
    }

    #[test]
    fn a6_who_cannot_be_read_is_nobody_and_no_believed_hop() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for lines in [
            &[&b"garbage"[..]][..],
            &[b"unknown"],
            &[b"203.0.113.9, garbage"],
            &[b"203.0.113.9, garbage, 10.1.1.1"],
            &[b"\xe9"],
            &[b"\xe9, 10.1.1.1"],
            &[b"203.0.113.9\xa0"],
            &[b"10.1.1.1", b"\xe9"],
            &[b"203.0.113.999"],
            &[b"203.0.113.9:99999"],
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
            }
            let believed = Client::read(&headers, peer("10.0.0.1"), false, &trusted);
            assert!(matches!(believed, Err(Fault::Malformed(_))), "{lines:?}: {believed:?}");
            let direct = Client::read(&headers, peer("203.0.113.9"), false, &trusted).unwrap();
            assert_eq!(direct.address.to_string(), "203.0.113.9", "a stranger's word is not read at all");
        }
    }

    #[test]
    fn upstreams_see_only_what_we_say() {
        let mut headers = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-uri", "/healthz"),
            ("x-original-url", "/admin"),
            ("forwarded", "for=1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x.forwarded-host", "evil.example"),
            ("x_original_url", "/admin"),
        ]);
        let client = Client::read(&headers, peer("203.0.113.9"), true, &[]).unwrap();
        client.tell(&mut headers, &HeaderValue::from_static("203.0.113.9"), &HeaderValue::from_static("app.example"));
        let mut seen: Vec<_> = headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-host", "app.example"), ("x-forwarded-proto", "https")]
        );
    }

    #[test]
    fn a6_what_a_believed_peer_says_of_the_host_is_not_passed_on() {
        let mut headers = headers(&[("x-forwarded-host", "evil.example"), ("x_forwarded_host", "evil.example")]);
        let client = Client::read(&headers, peer("10.0.0.1"), false, &["10.0.0.0/8".parse().unwrap()]).unwrap();
        client.tell(&mut headers, &HeaderValue::from_static("10.0.0.1"), &HeaderValue::from_static("app.example"));
        assert_eq!(headers["x-forwarded-host"], "app.example");
        assert!(!headers.contains_key("x_forwarded_host"));
    }
}

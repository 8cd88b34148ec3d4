//! A copy of a request, for a second try.
//!
//! Pooled connections close under us whenever the upstream pleases, so there is one of nearly each request, and nearly
//! none is needed. It is therefore kept as text: to write that is one allocation, and costs half of what cloning and
//! dropping a map of shared values does, which was 2 % of a small request.

use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::body::Outgoing;

/// A copy of a request in origin form.
pub(super) struct Spare {
    /// `method SP target LF`, then for each field `name : value LF`, or `name SP value LF` where the value is sensitive.
    /// Neither a name nor a value has one of these in front of what ends it (RFC 9110 §5.1, §5.5).
    head: Vec<u8>,
    body: Outgoing,
    /// Whether it does no harm to send it twice.
    pub(super) idempotent: bool,
}

impl Spare {
    /// A copy, where it could be of use: of what may be repeated, or may be refused, with its body at hand.
    pub(super) fn of(request: &Request<Outgoing>, refusable: bool) -> Option<Self> {
        let idempotent = request.method().is_idempotent();
        let body = (idempotent || refusable).then(|| request.body().copy()).flatten()?;
        let mut head = Vec::with_capacity(USUAL);
        head.extend_from_slice(request.method().as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(request.uri().path_and_query().map_or("/", PathAndQuery::as_str).as_bytes());
        head.push(b'\n');
        for (name, value) in request.headers() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.push(if value.is_sensitive() { b' ' } else { b':' });
            head.extend_from_slice(value.as_bytes());
            head.push(b'\n');
        }
        Some(Self { head, body, idempotent })
    }

    /// The request again.
    pub(super) fn request(self) -> Option<Request<Outgoing>> {
        let mut lines = self.head.split(|byte| *byte == b'\n');
        let (method, target) = lines.next()?.split_at_checked(self.head.iter().position(|byte| *byte == b' ')?)?;
        let mut request = Request::new(self.body);
        *request.method_mut() = Method::from_bytes(method).ok()?;
        *request.uri_mut() = Uri::try_from(target.get(1..)?).ok()?;
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_at_checked(line.iter().position(|byte| matches!(byte, b' ' | b':'))?)?;
            let mut copy = HeaderValue::from_bytes(value.get(1..)?).ok()?;
            copy.set_sensitive(value.first() == Some(&b' '));
            request.headers_mut().append(HeaderName::from_bytes(name).ok()?, copy);
        }
        Some(request)
    }
}

/// Bytes that most heads fit in.
const USUAL: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Body;

    fn request(method: Method, body: Body) -> Request<Outgoing> {
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        Outgoing::of(request, None).0
    }

    #[test]
    fn it_is_the_request_again() {
        let mut sent = request(Method::PUT, Body::full("body"));
        *sent.uri_mut() = Uri::from_static("/a:b/?c=d%20e&f");
        for (name, value) in [
            ("host", &b"a.test:80"[..]),
            ("x-empty", b""),
            ("x-spaces", b"a b: c"),
            ("x-twice", b"1"),
            ("x-twice", b"2"),
            ("x-far", b"caf\xc3\xa9\t\xff"),
            ("x-long", &[b'x'; 5000]),
        ] {
            sent.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        let mut secret = HeaderValue::from_static("Bearer a: b");
        secret.set_sensitive(true);
        sent.headers_mut().insert("authorization", secret);
        let again = Spare::of(&sent, false).unwrap().request().unwrap();
        assert_eq!((again.method(), again.uri(), again.headers()), (sent.method(), sent.uri(), sent.headers()));
        let sensitive: Vec<_> = again.headers().iter().filter(|(_, value)| value.is_sensitive()).collect();
        assert_eq!(sensitive.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["authorization"]);
        assert_eq!(http_body::Body::size_hint(again.body()).exact(), Some(4));
    }

    #[test]
    fn there_is_one_only_of_what_may_be_sent_twice() {
        let spare =
            |method, body, refusable| Spare::of(&request(method, body), refusable).map(|spare| spare.idempotent);
        assert_eq!(spare(Method::GET, Body::Empty, false), Some(true));
        assert_eq!(spare(Method::POST, Body::Empty, false), None);
        assert_eq!(spare(Method::POST, Body::Empty, true), Some(false));
        assert_eq!(spare(Method::PUT, Body::boxed(http_body_util::Empty::new()), true), None);
    }
}

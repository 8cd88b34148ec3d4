//! Which headers an operator may have set.

use http::header::{self, HeaderName};

use super::Vouched;

/// The header that a text names, where it may be set.
pub(super) fn settable(text: &str) -> Result<HeaderName, &'static str> {
    let header: HeaderName = text.parse().map_err(|_| "is not a header's name")?;
    if Vouched::new(&RESERVED).has(&header) {
        return Err("belongs to HTTP itself, and can't be set");
    }
    if Vouched::new(&TOLD).has(&header) {
        return Err("is told by claviger itself on every request; expected another name");
    }
    Ok(header)
}

/// What frames or routes the message, or belongs to one connection.
const RESERVED: [HeaderName; 14] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];

/// What the proxy says of every request, whoever asks.
const TOLD: [HeaderName; 4] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-request-id"),
];

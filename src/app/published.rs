//! What is published under `/.claviger/issuer`: how STS finds the keys of minted tokens.

use http::{HeaderValue, Method, StatusCode, header};

use super::keys::{ISSUER, OurKeys};
use crate::web::{self, Response};

impl OurKeys {
    /// The discovery document (OpenID Connect Discovery §4) or the key set (RFC 7517 §5), where the path is theirs.
    pub(super) fn published(&self, method: &Method, path: &str) -> Option<Response> {
        let mint = self.mint.as_ref()?;
        let document = match path.strip_prefix(ISSUER)? {
            "/.well-known/openid-configuration" => mint.discovery(),
            "/jwks" => mint.key_set(),
            _ => return None,
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let mut response = web::json(StatusCode::OK, &document);
        // keys stay published long before and after they sign, so an hour is no risk
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        Some(response)
    }
}

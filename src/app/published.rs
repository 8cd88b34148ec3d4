//! What is published under `/.claviger/`: the keys by which STS knows minted tokens, and upstreams identity JWTs.

use http::{HeaderValue, Method, StatusCode, header};

use super::keys::{ISSUER, OurKeys};
use crate::sign_in::PREFIX;
use crate::web::{self, Response};

impl OurKeys {
    /// The discovery document (OpenID Connect Discovery §4), a key set (RFC 7517 §5) or a key, where the path is theirs.
    pub(super) fn published(&self, method: &Method, path: &str) -> Option<Response> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let found = match path.strip_prefix(ISSUER) {
            Some(document) => self.of_the_mint(document),
            None => self.of_the_identity_issuer(path.strip_prefix(PREFIX)?),
        };
        let mut response = found?;
        // keys stay published long before and after they sign, so an hour is no risk
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        Some(response)
    }

    fn of_the_mint(&self, document: &str) -> Option<Response> {
        let mint = self.mint.as_ref()?;
        let document = match document {
            "/.well-known/openid-configuration" => mint.discovery(),
            "/jwks" => mint.key_set(),
            _ => return None,
        };
        Some(web::json(StatusCode::OK, &document))
    }

    fn of_the_identity_issuer(&self, document: &str) -> Option<Response> {
        let issuer = self.identity_issuer.as_ref()?;
        match document {
            "jwks.json" => Some(web::json(StatusCode::OK, &issuer.key_set())),
            _ => {
                // one key, as AWS's load balancers publish theirs
                let pem = issuer.public_pem(document.strip_prefix("keys/")?)?;
                Some(web::answer(StatusCode::OK, "application/x-pem-file", pem.to_owned()))
            }
        }
    }
}

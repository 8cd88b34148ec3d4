//! What the provider says of itself (OpenID Connect Discovery §3, RFC 8414).

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::{Value, json};

use super::OpenIdProvider;
use crate::web::{self, Response};

impl OpenIdProvider {
    pub(super) fn discovery(&self) -> Response {
        let document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": self.at("/authorize"),
            "token_endpoint": self.at("/token"),
            "userinfo_endpoint": self.at("/userinfo"),
            "jwks_uri": self.at("/keys"),
            "end_session_endpoint": self.at("/sign-out"),
            "device_authorization_endpoint": self.at("/device-authorization"),
            "revocation_endpoint": self.at("/revoke"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", super::token::DEVICE_CODE],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true, // RFC 9207
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "prompt_values_supported": ["none", "login"],
            "claims_supported": ["sub", "name", "email", "email_verified", "preferred_username", "groups", "auth_time"],
        });
        public(&document)
    }

    pub(super) fn public_keys(&self) -> Response {
        let keys = self.keys.load();
        let listed = [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten();
        public(&json!({ "keys": listed.map(|signer| signer.public_jwk()).collect::<Vec<Value>>() }))
    }
}

/// Anyone may keep it for a while: five minutes, so that a new key is known soon.
fn public(document: &Value) -> Response {
    let mut response = web::json(StatusCode::OK, document);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

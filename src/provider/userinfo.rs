//! The userinfo endpoint (OpenID Connect Core §5.3).

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use serde_json::{Value, json};

use super::OpenIdProvider;
use super::asked::Asked;
use super::token::claims;
use crate::web::{self, Response};

impl OpenIdProvider {
    pub(super) fn userinfo(&self, asked: &Asked) -> Response {
        let header = asked.head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        // in the header only: tokens in addresses end up in logs (RFC 9700 §4.3.2)
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let granted = token.and_then(|token| self.grants.access(token, asked.now));
        match granted.and_then(|granted| self.users.active(&granted.person.sub)) {
            Some(user) => web::json(StatusCode::OK, &Value::Object(claims(&user))),
            None => {
                let mut response = web::json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
        }
    }
}

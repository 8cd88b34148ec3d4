//! What a provider's discovery document says, as far as a login needs it.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::jose::JoseError;

/// A provider's endpoints and manners (OpenID Connect Discovery §3).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Provider {
    /// To the letter what its tokens say.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    /// RFC 8628 §4.
    pub(super) device_authorization_endpoint: Option<Url>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// RFC 9207 §3.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Provider {
    /// Reads a discovery document, whose issuer has been compared already.
    ///
    /// # Errors
    /// [`JoseError::Malformed`] where an endpoint is missing, or would take a login from https to plain http.
    pub(super) fn read(document: &Value) -> Result<Self, JoseError> {
        let provider = Self::deserialize(document)
            .map_err(|e| JoseError::Malformed(format!("the discovery document can't be used: {e}")))?;
        let endpoints = [
            ("authorization_endpoint", Some(&provider.authorization_endpoint)),
            ("token_endpoint", Some(&provider.token_endpoint)),
            ("userinfo_endpoint", provider.userinfo_endpoint.as_ref()),
            ("end_session_endpoint", provider.end_session_endpoint.as_ref()),
            ("device_authorization_endpoint", provider.device_authorization_endpoint.as_ref()),
        ];
        // an https issuer's logins stay on https
        let plain = provider.issuer.starts_with("http:");
        for (name, endpoint) in endpoints {
            match endpoint.map(Url::scheme) {
                None | Some("https") => {}
                Some("http") if plain => {}
                Some(_) => {
                    return Err(JoseError::Malformed(format!("the discovery document's `{name}` is not an https URL")));
                }
            }
        }
        Ok(provider)
    }

    /// Whether the client's secret goes into the body: only where the provider does not take it as HTTP Basic, which
    /// is the default (OpenID Connect Core §9).
    pub(super) fn wants_secret_in_body(&self) -> bool {
        let takes = |method: &str| {
            self.token_endpoint_auth_methods_supported
                .as_ref()
                .is_some_and(|methods| methods.iter().any(|one| one == method))
        };
        takes("client_secret_post") && !takes("client_secret_basic")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(extra: Value) -> Value {
        let mut document = json!({
            "issuer": "https://idp.example.com",
            "authorization_endpoint": "https://idp.example.com/auth",
            "token_endpoint": "https://idp.example.com/token",
        });
        for (name, value) in extra.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    }

    #[test]
    fn secrets_go_where_the_provider_wants_them() {
        for (methods, in_body) in [
            (json!({}), false),
            (json!({"token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"]}), false),
            (json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}), true),
        ] {
            assert_eq!(Provider::read(&document(methods)).unwrap().wants_secret_in_body(), in_body);
        }
    }

    #[test]
    fn documents_that_lead_astray_are_refused() {
        for wrong in [
            json!({"token_endpoint": "http://idp.example.com/token"}),
            json!({"authorization_endpoint": "javascript:alert(1)"}),
            json!({"userinfo_endpoint": "file:///etc/passwd"}),
            json!({"end_session_endpoint": "http://idp.example.com/end"}),
            json!({"token_endpoint": null}),
            json!({"issuer": 5}),
        ] {
            assert!(matches!(Provider::read(&document(wrong.clone())), Err(JoseError::Malformed(_))), "{wrong}");
        }
    }
}

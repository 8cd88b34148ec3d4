//! Asking the userinfo endpoint (OpenID Connect Core §5.3).

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use serde_json::{Map, Value};

use super::Oidc;
use super::provider::Provider;
use crate::fetch::FetchError;
use crate::secret::Secret;

/// Why there are no further claims.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserinfoError {
    /// It speaks of somebody else (OpenID Connect Core §5.3.2).
    #[error("the userinfo endpoint speaks of another subject")]
    OtherSubject,
    /// It answers with something else.
    #[error("the userinfo endpoint gives no claims: {0}")]
    Unusable(String),
    /// It does not answer.
    #[error("the userinfo endpoint can't be asked")]
    Unreachable(#[from] FetchError),
}

impl Oidc {
    /// `claims`, those of an ID token, and what the userinfo endpoint says, where it is to be asked.
    ///
    /// What the endpoint says was said later, so that its word counts; but not on what makes the token a token.
    pub(super) async fn with_userinfo(
        &self,
        provider: &Provider,
        mut claims: Map<String, Value>,
        access: &Secret,
    ) -> Result<Map<String, Value>, UserinfoError> {
        if !self.asks_userinfo {
            return Ok(claims);
        }
        let said = self.userinfo(provider, access).await?;
        if said.get("sub") != claims.get("sub") {
            return Err(UserinfoError::OtherSubject);
        }
        claims.extend(said.into_iter().filter(|(name, _)| !OF_THE_TOKEN.contains(&name.as_str())));
        Ok(claims)
    }

    async fn userinfo(&self, provider: &Provider, access: &Secret) -> Result<Map<String, Value>, UserinfoError> {
        let unusable = |problem: &str| UserinfoError::Unusable(problem.into());
        let endpoint = provider.userinfo_endpoint.as_ref().ok_or_else(|| unusable("the provider names none"))?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", access.expose()))
            .map_err(|_| unusable("the access token can't be sent"))?;
        bearer.set_sensitive(true);
        let request = Request::get(endpoint.as_str())
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| unusable("its URL can't be asked"))?;
        let response = self.fetch.send(request, &self.reach).await?;
        if response.status() != StatusCode::OK {
            return Err(UserinfoError::Unusable(format!("it answered {}", response.status())));
        }
        serde_json::from_slice(response.body()).map_err(|_| unusable("its answer is no JSON object"))
    }
}

/// What only the signed token can say.
const OF_THE_TOKEN: [&str; 13] =
    ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "sid", "at_hash", "c_hash", "auth_time"];

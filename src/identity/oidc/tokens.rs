//! Asking the token endpoint (RFC 6749 §4.1.3 and §6).

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, EmptyAdditionalClaims, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, IdToken, IssuerUrl, JsonWebKeySet, OAuth2TokenResponse,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

use super::Oidc;
use super::provider::Provider;
use crate::fetch::FetchError;
use crate::identity::{Token, secret_text};
use crate::secret::Secret;
use crate::web::chain;

/// `openidconnect`'s client, with the ID token left as text: `jose` reads it.
pub(super) type OidcClient = Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    TokenRefusal,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
>;

pub(super) type TokenRefusal = StandardErrorResponse<CoreErrorResponseType>;

/// What the token endpoint gave.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) id: Option<Secret>,
    pub(super) access: Token,
    pub(super) refresh: Option<Secret>,
}

/// Why it gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The code or refresh token is not good, or no longer (RFC 6749 §5.2).
    #[error("the token endpoint answered `{0}`")]
    Refused(String),
    /// It can't be asked, or does not make sense, or does not take us for its client: nothing the person did.
    #[error("the token endpoint gives no tokens: {0}")]
    Unavailable(String),
}

impl Oidc {
    pub(super) fn client(&self, provider: &Provider) -> Result<OidcClient, TokenError> {
        let issuer = IssuerUrl::new(provider.issuer.clone())
            .map_err(|_| TokenError::Unavailable("the issuer is no URL".into()))?;
        let client = Client::new(self.client_id.clone(), issuer, JsonWebKeySet::default())
            .set_auth_uri(AuthUrl::from_url(provider.authorization_endpoint.clone()))
            .set_token_uri(TokenUrl::from_url(provider.token_endpoint.clone()));
        let client = match self.client_secret() {
            Some(secret) => client.set_client_secret(secret),
            None => client,
        };
        let in_body = provider.wants_secret_in_body();
        Ok(client.set_auth_type(if in_body { AuthType::RequestBody } else { AuthType::BasicAuth }))
    }

    /// Redeems a code, once.
    pub(super) async fn redeem(
        &self,
        provider: &Provider,
        code: &str,
        verifier: &Secret,
        redirect: RedirectUrl,
    ) -> Result<Granted, TokenError> {
        let now = self.clock.now();
        let client = self.client(provider)?.set_redirect_uri(redirect);
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
            .request_async(self)
            .await?;
        Ok(Granted::from(answer, now))
    }

    pub(super) async fn refresh(&self, provider: &Provider, token: &Secret) -> Result<Granted, TokenError> {
        let now = self.clock.now();
        let client = self.client(provider)?;
        let token = RefreshToken::new(token.expose().to_owned());
        let answer = client.exchange_refresh_token(&token).request_async(self).await?;
        Ok(Granted::from(answer, now))
    }
}

/// `openidconnect`'s way out. No closure, as its future would not be provably `Send` within a trait's boxed one.
impl<'c> AsyncHttpClient<'c> for Oidc {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let response = self.fetch.send(request.map(Bytes::from), &self.reach).await;
            let silence = match &response {
                Ok(answer) if answer.status().is_server_error() => {
                    Some(format!("the token endpoint answers {}", answer.status()))
                }
                Ok(_) => None,
                Err(error) => Some(format!("the token endpoint: {}", crate::web::chain(error))),
            };
            self.silence.store(silence.map(Arc::new));
            Ok(response?.map(|body| body.to_vec()))
        })
    }
}

impl Granted {
    pub(super) fn from(TokenAnswer(answer): TokenAnswer, asked: SystemTime) -> Self {
        let lives = answer.expires_in().unwrap_or(UNKNOWN).min(crate::clock::LONGEST);
        Self {
            id: answer.extra_fields().id_token.clone(),
            access: Token { text: Secret::new(answer.access_token().secret().as_str()), ends: asked + lives },
            refresh: answer.refresh_token().map(|token| Secret::new(token.secret().as_str())),
        }
    }
}

impl From<RequestTokenError<FetchError, TokenRefusal>> for TokenError {
    fn from(error: RequestTokenError<FetchError, TokenRefusal>) -> Self {
        match error {
            RequestTokenError::ServerResponse(answer) => {
                let code = sanitised(answer.error().as_ref());
                match answer.error() {
                    CoreErrorResponseType::InvalidGrant | CoreErrorResponseType::InvalidRequest => Self::Refused(code),
                    _ => Self::Unavailable(format!("it answered `{code}`")),
                }
            }
            RequestTokenError::Request(error) => Self::Unavailable(chain(&error)),
            // what it holds is the answer, with whatever tokens are in it
            RequestTokenError::Parse(error, _) => {
                Self::Unavailable(format!("its answer can't be read at `{}`", error.path()))
            }
            RequestTokenError::Other(reason) => Self::Unavailable(reason),
        }
    }
}

/// A provider's error code, of the characters such codes are made of (RFC 6749 §4.1.2.1), and short: it is shown
/// (A11).
pub(super) fn sanitised(code: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let code: String = code.chars().filter(plain).take(64).collect();
    if code.is_empty() { "unknown_error".into() } else { code }
}

/// The token endpoint's answer (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct TokenAnswer(StandardTokenResponse<IdTokenText, CoreTokenType>);

#[derive(Debug, Deserialize, Serialize)]
struct IdTokenText {
    #[serde(default, with = "secret_text")]
    id_token: Option<Secret>,
}

impl ExtraTokenFields for IdTokenText {}

impl OAuth2TokenResponse for TokenAnswer {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        self.0.access_token()
    }

    fn token_type(&self) -> &CoreTokenType {
        self.0.token_type()
    }

    fn expires_in(&self) -> Option<Duration> {
        self.0.expires_in()
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.0.refresh_token()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        self.0.scopes()
    }
}

impl TokenResponse<EmptyAdditionalClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>
    for TokenAnswer
{
    fn id_token(&self) -> Option<&UnusedIdToken> {
        None
    }
}

type UnusedIdToken =
    IdToken<EmptyAdditionalClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// For access tokens whose end the provider does not tell.
const UNKNOWN: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// A11: what is shown is a code, whatever the provider sent.
    #[test]
    fn error_codes_are_only_codes() {
        for (sent, shown) in [
            ("access_denied", "access_denied"),
            ("<script>alert(1)</script>", "scriptalert1script"),
            ("a\r\nSet-Cookie: x=y", "aSet-Cookiexy"),
            ("\u{202e}", "unknown_error"),
        ] {
            assert_eq!(sanitised(sent), shown);
        }
        assert_eq!(sanitised(&"a".repeat(1000)).len(), 64);
    }
}

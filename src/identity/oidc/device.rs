//! Logins that are confirmed on another device (RFC 8628): for shells without a browser.

use async_trait::async_trait;
use openidconnect::core::CoreDeviceAuthorizationResponse;
use openidconnect::{
    DeviceAuthorizationUrl, DeviceCodeErrorResponse, DeviceCodeErrorResponseType, RequestTokenError, Scope,
};
use serde::Deserialize as _;

use super::Oidc;
use super::tokens::{Granted, TokenError, sanitised};
use crate::fetch::FetchError;
use crate::identity::{DeviceLogin, LoginError, LoginMemory, Shown, SignedIn};
use crate::web::chain;

#[async_trait]
impl DeviceLogin for Oidc {
    async fn begin(&self) -> Result<Shown, LoginError> {
        let provider = self.provider().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        let Some(endpoint) = provider.device_authorization_endpoint.clone() else {
            return Err(LoginError::Refused("the provider has no logins by another device (RFC 8628)".into()));
        };
        let client = self.client(&provider)?.set_device_authorization_url(DeviceAuthorizationUrl::from_url(endpoint));
        let scopes = self.scopes.iter().cloned().map(Scope::new);
        let asked = client.exchange_device_code().add_scopes(scopes).request_async(self).await;
        let details: CoreDeviceAuthorizationResponse = asked.map_err(TokenError::from)?;
        let memory = serde_json::to_value(&details).map_err(|e| LoginError::Unavailable(e.into()))?;
        Ok(Shown {
            url: details.verification_uri().to_string(),
            code: details.user_code().secret().clone(),
            url_with_code: details.verification_uri_complete().map(|url| url.secret().clone()),
            memory: LoginMemory(memory),
        })
    }

    async fn finish(&self, memory: &LoginMemory) -> Result<SignedIn, LoginError> {
        let details = CoreDeviceAuthorizationResponse::deserialize(&memory.0);
        let details = details.map_err(|_| LoginError::Refused("its memory is of another kind".into()))?;
        let provider = self.provider().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        let client = self.client(&provider)?;
        let asked = client.exchange_device_access_token(&details).request_async(self, tokio::time::sleep, None).await;
        let granted = Granted::from(asked.map_err(refused)?, self.clock.now());
        self.signed_in(&provider, granted, None).await
    }
}

/// RFC 8628 §3.5.
fn refused(error: RequestTokenError<FetchError, DeviceCodeErrorResponse>) -> LoginError {
    match error {
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            DeviceCodeErrorResponseType::ExpiredToken => {
                LoginError::Refused("nobody has confirmed it in the time that the provider gives".into())
            }
            code => LoginError::Declined(sanitised(code.as_ref())),
        },
        RequestTokenError::Request(error) => LoginError::Unavailable(chain(&error).into()),
        // what it holds is the answer, with whatever tokens are in it
        RequestTokenError::Parse(error, _) => {
            LoginError::Unavailable(format!("its answer can't be read at `{}`", error.path()).into())
        }
        RequestTokenError::Other(reason) => LoginError::Unavailable(reason.into()),
    }
}

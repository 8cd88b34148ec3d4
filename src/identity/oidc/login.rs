//! The code flow with PKCE, state and nonce (OpenID Connect Core §3.1, RFC 7636, RFC 9207), renewals, and leaving.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::CoreResponseType;
use openidconnect::{AuthenticationFlow, CsrfToken, Nonce, PkceCodeChallenge, RedirectUrl, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::Oidc;
use super::provider::Provider;
use super::tokens::{Granted, TokenError, sanitised};
use super::userinfo::UserinfoError;
use crate::clock::from_epoch_seconds;
use crate::identity::{
    Begun, DeviceLogin, Leave, Login, LoginError, LoginMemory, Onward, RenewError, Returned, SignedIn, Subject, Token,
    Tokens, secret_text,
};
use crate::jose::JoseError;
use crate::secret::{Secret, random_token};

/// What a login remembers until the browser is back.
#[derive(Deserialize, Serialize)]
struct Memory {
    issuer: String,
    redirect_uri: RedirectUrl,
    #[serde(with = "secret_text")]
    state: Secret,
    #[serde(with = "secret_text")]
    nonce: Secret,
    #[serde(with = "secret_text")]
    verifier: Secret,
}

#[async_trait]
impl Login for Oidc {
    fn label(&self) -> &str {
        &self.label
    }

    fn voucher(&self) -> &Arc<str> {
        &self.voucher
    }

    fn by_device(&self) -> Option<&dyn DeviceLogin> {
        Some(self)
    }

    async fn begin(&self, callback: &Url, _quietly: bool) -> Result<Begun, LoginError> {
        let provider = self.provider().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        let client = self.client(&provider)?;
        let redirect_uri = RedirectUrl::from_url(callback.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        // 128 bits each: nobody guesses them in ten minutes (A8)
        let mut request = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                || CsrfToken::new(random_token(16)),
                || Nonce::new(random_token(16)),
            )
            .set_pkce_challenge(challenge)
            .set_redirect_uri(Cow::Borrowed(&redirect_uri))
            .add_scopes(self.scopes.iter().cloned().map(Scope::new));
        for (name, value) in &self.login_parameters {
            request = request.add_extra_param(name, value);
        }
        let (to, state, nonce) = request.url();
        let memory = Memory {
            issuer: provider.issuer,
            redirect_uri,
            state: Secret::new(state.secret().as_str()),
            nonce: Secret::new(nonce.secret().as_str()),
            verifier: Secret::new(verifier.into_secret()),
        };
        let memory = serde_json::to_value(memory).map_err(|e| LoginError::Unavailable(e.into()))?;
        Ok(Begun {
            to: Onward::Redirect(to),
            is_posted_back: false,
            state: state.into_secret(),
            memory: LoginMemory(memory),
        })
    }

    async fn finish(&self, returned: &Returned, memory: &LoginMemory) -> Result<SignedIn, LoginError> {
        let refused = |problem: &str| LoginError::Refused(problem.into());
        let memory = Memory::deserialize(&memory.0).map_err(|_| refused("its memory is of another kind"))?;
        if !returned.only("state").is_some_and(|state| memory.state.matches(state)) {
            return Err(refused("the state is not the one it was begun with"));
        }
        let provider = self.provider().await.map_err(|e| LoginError::Unavailable(e.into()))?;
        if memory.issuer != provider.issuer {
            return Err(refused("it was begun at another issuer"));
        }
        check_issuer(returned, &provider)?;
        if returned.0.iter().any(|(name, _)| name == "error") {
            return Err(LoginError::Declined(sanitised(returned.only("error").unwrap_or_default())));
        }
        let code = returned.only("code").ok_or_else(|| refused("there is no code, or more than one"))?;
        let granted = self.redeem(&provider, code, &memory.verifier, memory.redirect_uri).await?;
        self.signed_in(&provider, granted, Some(&memory.nonce)).await
    }

    async fn renew(&self, subject: &Subject, tokens: &Tokens) -> Result<SignedIn, RenewError> {
        let old = tokens.refresh.as_ref().ok_or_else(|| RenewError::Ended("there is no refresh token".into()))?;
        let provider = self.provider().await.map_err(|e| RenewError::Unavailable(e.into()))?;
        let granted = match self.refresh(&provider, old).await {
            Ok(granted) => granted,
            Err(TokenError::Refused(code)) => return Err(RenewError::Ended(format!("it answered `{code}`"))),
            Err(error) => return Err(RenewError::Unavailable(error.into())),
        };
        let Granted { id, access, refresh } = granted;
        // the old refresh token may be used up from here on: whatever else fails, the new one is kept
        let mut renewed = Tokens {
            id: tokens.id.clone(),
            access: Some(access.clone()),
            refresh: Some(refresh.unwrap_or_else(|| old.clone())),
            ..Tokens::default()
        };
        let incomplete = |tokens: &Tokens, source| RenewError::Incomplete { tokens: Box::new(tokens.clone()), source };

        let kept = tokens.id.as_ref().map(|token| claims_of(&token.text)).unwrap_or_default();
        // OpenID Connect Core §12.2: there may be no new ID token
        let claims = match id {
            None => kept,
            Some(token) => match self.verified(&token, &provider).await {
                Ok(claims) => {
                    if claims.get("nonce").is_some_and(|nonce| Some(nonce) != kept.get("nonce")) {
                        return Err(RenewError::Ended("the new ID token has another nonce".into()));
                    }
                    renewed.id = Some(dated(token, &claims));
                    claims
                }
                // a key we can't have yet says nothing of the token
                Err(error @ (JoseError::Unavailable(_) | JoseError::UnknownKey(_))) => {
                    return Err(incomplete(&renewed, error.into()));
                }
                Err(error) => return Err(RenewError::Ended(error.to_string())),
            },
        };
        match self.subject(&claims) {
            Ok(same) if same == *subject => {}
            _ => return Err(RenewError::Ended("the new ID token names another subject".into())),
        }
        let at_provider = claims.get("sid").and_then(Value::as_str).map(str::to_owned);
        let claims = match self.with_userinfo(&provider, claims, &access.text).await {
            Ok(claims) => claims,
            Err(error @ UserinfoError::OtherSubject) => return Err(RenewError::Ended(error.to_string())),
            Err(error) => return Err(incomplete(&renewed, error.into())),
        };
        let (voucher, claims) = (Arc::clone(&self.voucher), self.with_groups(claims));
        Ok(SignedIn {
            subject: subject.clone(),
            voucher,
            claims,
            ends_at: None,
            tokens: renewed,
            at_provider,
            once: None,
        })
    }

    /// RP-initiated logout. With the hint, the provider need not ask the person (its §2).
    async fn leave(&self, tokens: &Tokens, back: &Url) -> Option<Leave> {
        let mut to = self.provider().await.ok()?.end_session_endpoint?;
        let mut query = to.query_pairs_mut();
        if let Some(token) = &tokens.id {
            query.append_pair("id_token_hint", token.text.expose());
        }
        query.append_pair("client_id", self.client_id.as_str());
        query.append_pair("post_logout_redirect_uri", back.as_str());
        drop(query);
        Some(Leave { to: Onward::Redirect(to), asked: None })
    }
}

impl Oidc {
    /// Who has logged in, by what the token endpoint gave. A login that was begun with a nonce has it in its ID token.
    pub(super) async fn signed_in(
        &self,
        provider: &Provider,
        granted: Granted,
        nonce: Option<&Secret>,
    ) -> Result<SignedIn, LoginError> {
        let refused = |problem: &str| LoginError::Refused(problem.into());
        let id_token = granted.id.clone().ok_or_else(|| refused("the provider gave no ID token"))?;
        let claims = self.verified(&id_token, provider).await?;
        // OpenID Connect Core §3.1.3.7 step 11: the token was made for this login (A8)
        let is_ours =
            |nonce: &Secret| claims.get("nonce").and_then(Value::as_str).is_some_and(|told| nonce.matches(told));
        if !nonce.is_none_or(is_ours) {
            return Err(refused("the nonce is not the one it was begun with"));
        }
        let subject = self.subject(&claims)?;
        let at_provider = claims.get("sid").and_then(Value::as_str).map(str::to_owned);
        let id = dated(id_token, &claims);
        let claims = self.with_userinfo(provider, claims, &granted.access.text).await?;
        let tokens =
            Tokens { id: Some(id), access: Some(granted.access), refresh: granted.refresh, ..Tokens::default() };
        let (voucher, claims) = (Arc::clone(&self.voucher), self.with_groups(claims));
        Ok(SignedIn { subject, voucher, claims, ends_at: None, tokens, at_provider, once: None })
    }
}

/// RFC 9207 §2.4: an answer that names another issuer is a mix-up, and one that names none is, where the provider
/// says that it always does (A8). Error answers are no exception.
fn check_issuer(returned: &Returned, provider: &Provider) -> Result<(), LoginError> {
    let named = returned.0.iter().any(|(name, _)| name == "iss");
    match returned.only("iss") {
        Some(issuer) if issuer == provider.issuer => Ok(()),
        None if !named && !provider.authorization_response_iss_parameter_supported => Ok(()),
        _ => Err(LoginError::Refused("the answer's `iss` is not the issuer it was begun at".into())),
    }
}

/// A verified ID token with its end.
fn dated(text: Secret, claims: &Map<String, Value>) -> Token {
    Token { text, ends: from_epoch_seconds(claims.get("exp").and_then(Value::as_u64).unwrap_or_default()) }
}

/// The claims of an ID token that was verified when it came, and has been in our hands since.
fn claims_of(token: &Secret) -> Map<String, Value> {
    let claims = token.expose().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

impl From<JoseError> for LoginError {
    fn from(error: JoseError) -> Self {
        match error {
            JoseError::Unavailable(_) => Self::Unavailable(error.into()),
            error => Self::Refused(format!("the ID token: {error}")),
        }
    }
}

impl From<TokenError> for LoginError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused(_) => Self::Refused(error.to_string()),
            error @ TokenError::Unavailable(_) => Self::Unavailable(error.into()),
        }
    }
}

impl From<UserinfoError> for LoginError {
    fn from(error: UserinfoError) -> Self {
        match error {
            UserinfoError::OtherSubject => Self::Refused(error.to_string()),
            error => Self::Unavailable(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A8, RFC 9207: mix-up.
    #[test]
    fn a8_the_issuer_parameter_is_believed_and_demanded() {
        let provider = |announced: bool| {
            Provider::read(&json!({
                "issuer": "https://idp.example.com",
                "authorization_endpoint": "https://idp.example.com/auth",
                "token_endpoint": "https://idp.example.com/token",
                "authorization_response_iss_parameter_supported": announced,
            }))
            .unwrap()
        };
        let ours = "https://idp.example.com";
        for (issuers, announced, expected) in [
            (&[ours][..], true, true),
            (&[ours], false, true),
            (&[], false, true),
            (&[], true, false),
            (&["https://idp.example.com/"], true, false),
            (&["https://evil.example"], false, false),
            (&[ours, ours], true, false),
            (&[ours, "https://evil.example"], false, false),
        ] {
            let returned = Returned(issuers.iter().map(|issuer| ("iss".into(), (*issuer).into())).collect());
            assert_eq!(check_issuer(&returned, &provider(announced)).is_ok(), expected, "{issuers:?} {announced}");
        }
    }
}

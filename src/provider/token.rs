//! The token endpoint: codes, refresh tokens and device codes become tokens (RFC 6749 §3.2); and revocation (RFC 7009).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};
use tracing::{error, info, warn};

use super::OpenIdProvider;
use super::asked::Asked;
use super::client::{Client, Presented};
use super::devices::Poll;
use super::grants::{Invalid, Redemption, Tokens};
use crate::clock::epoch_seconds;
use crate::jose::JoseError;
use crate::telemetry::AUDIT;
use crate::users::User;
use crate::web::{self, Response};

/// Why there are no tokens (RFC 6749 §5.2, RFC 8628 §3.5).
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("the client did not prove who it is")]
    InvalidClient,
    #[error("the code or token is not good, or not any more")]
    InvalidGrant,
    #[error("this client may not use this grant")]
    UnauthorizedClient,
    #[error("grant_type is none of those that discovery lists")]
    UnsupportedGrantType,
    #[error("nobody has confirmed yet")]
    AuthorizationPending,
    #[error("asked too often")]
    SlowDown,
    #[error("the login was refused")]
    AccessDenied,
    #[error("nobody confirmed in time")]
    ExpiredToken,
    #[error("no token can be signed")]
    Unsigned(#[from] JoseError),
}

/// The grant type of RFC 8628.
pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl OpenIdProvider {
    pub(super) fn token(&self, asked: &Asked) -> Response {
        let tokens = self.client(asked).and_then(|client| match asked.form.value("grant_type") {
            Some("authorization_code") => self.redeem(asked, &client),
            Some("refresh_token") => self.refresh(asked, &client),
            Some(DEVICE_CODE) => self.poll(asked, &client),
            Some(_) => Err(TokenError::UnsupportedGrantType),
            None => Err(TokenError::InvalidRequest("grant_type is missing")),
        });
        tokens.map_or_else(|e| e.answer(asked), |tokens| web::json(StatusCode::OK, &tokens))
    }

    /// RFC 7009 §2.2: what is unknown is as good as revoked.
    pub(super) fn revoke(&self, asked: &Asked) -> Response {
        let revoked = self.client(asked).and_then(|client| {
            let token = asked.form.value("token").ok_or(TokenError::InvalidRequest("token is missing"))?;
            self.grants.revoke(token, &client.id, asked.now);
            Ok(())
        });
        revoked.map_or_else(|e| e.answer(asked), |()| web::json(StatusCode::OK, &json!({})))
    }

    /// The client that asks, once it has proved to be it.
    pub(super) fn client(&self, asked: &Asked) -> Result<Arc<Client>, TokenError> {
        let presented = Presented::read(&asked.head.headers, &asked.form).ok_or(TokenError::InvalidClient)?;
        let client = self.clients.get(presented.id.as_str()).filter(|client| presented.proves(client));
        client.map(Arc::clone).ok_or(TokenError::InvalidClient)
    }

    fn redeem(&self, asked: &Asked, client: &Client) -> Result<Value, TokenError> {
        let shown = Redemption {
            code: asked.form.value("code").ok_or(TokenError::InvalidRequest("code is missing"))?,
            redirect_uri: asked.form.value("redirect_uri"),
            verifier: asked.form.value("code_verifier"),
        };
        let tokens = self.grants.redeem(&shown, &client.id, asked.now).map_err(|why| refused("code", client, why))?;
        let nonce = tokens.granted.nonce.clone();
        self.tokens(asked, &tokens, Some(nonce))
    }

    fn refresh(&self, asked: &Asked, client: &Client) -> Result<Value, TokenError> {
        let token = asked.form.value("refresh_token").ok_or(TokenError::InvalidRequest("refresh_token is missing"))?;
        let tokens = self.grants.refresh(token, &client.id, asked.now);
        let tokens = tokens.map_err(|why| refused("refresh token", client, why))?;
        // OpenID Connect Core §12.2: a refreshed ID token should have no nonce
        self.tokens(asked, &tokens, client.id_token_on_refresh.then_some(None))
    }

    fn poll(&self, asked: &Asked, client: &Client) -> Result<Value, TokenError> {
        if !client.device_flow {
            return Err(TokenError::UnauthorizedClient);
        }
        let code = asked.form.value("device_code").ok_or(TokenError::InvalidRequest("device_code is missing"))?;
        match self.devices.poll(code, &client.id, asked.now) {
            Poll::Granted(granted) => self.tokens(asked, &self.grants.grant(granted, asked.now), Some(None)),
            Poll::Pending => Err(TokenError::AuthorizationPending),
            Poll::TooSoon => Err(TokenError::SlowDown),
            Poll::Refused => Err(TokenError::AccessDenied),
            Poll::Expired => Err(TokenError::ExpiredToken),
            Poll::Unknown => Err(TokenError::InvalidGrant),
        }
    }

    /// The answer with tokens; `id_token` says whether there is an ID token, and its nonce.
    fn tokens(&self, asked: &Asked, tokens: &Tokens, id_token: Option<Option<String>>) -> Result<Value, TokenError> {
        let Some(user) = self.users.active(&tokens.granted.person.sub) else {
            // CVE-2026-43983: who is disabled does not go on by refreshing
            let client = &tokens.granted.client;
            self.grants.revoke(tokens.refresh.expose(), client, asked.now);
            info!(
                target: AUDIT,
                { subject.id = &*tokens.granted.person.sub, client.id = &**client },
                "tokens refused: the user is disabled or gone"
            );
            return Err(TokenError::InvalidGrant);
        };
        let mut answer = json!({
            "access_token": tokens.access.expose(),
            "token_type": "Bearer",
            "expires_in": tokens.access_lives.as_secs(),
            "refresh_token": tokens.refresh.expose(),
            "scope": tokens.granted.scope,
        });
        if let (Some(nonce), Some(answer)) = (id_token, answer.as_object_mut()) {
            let token = self.id_token(asked, tokens, &user, nonce)?;
            answer.insert("id_token".into(), token.into());
        }
        info!(target: AUDIT, { user.name = user.name.as_str(), subject.id = &*user.sub,
            client.id = &*tokens.granted.client }, "tokens issued");
        Ok(answer)
    }

    /// OpenID Connect Core §2 and §3.1.3.6.
    fn id_token(
        &self,
        asked: &Asked,
        tokens: &Tokens,
        user: &User,
        nonce: Option<String>,
    ) -> Result<String, JoseError> {
        let now = epoch_seconds(asked.now);
        let person = &tokens.granted.person;
        let hash = digest(&SHA256, tokens.access.expose().as_bytes());
        let half = hash.as_ref().get(..16).unwrap_or_default();
        let mut claims = claims(user);
        let ours = json!({
            "iss": self.issuer,
            "aud": tokens.granted.client,
            "azp": tokens.granted.client,
            "iat": now,
            "exp": now + self.lifetimes.id_token.as_secs(),
            "auth_time": epoch_seconds(person.at),
            "sid": person.sid,
            "at_hash": URL_SAFE_NO_PAD.encode(half),
        });
        claims.extend(ours.as_object().cloned().unwrap_or_default());
        if let Some(nonce) = nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        Ok(self.keys.load().current.sign("JWT", &claims)?.expose().to_owned())
    }
}

impl TokenError {
    pub(super) fn answer(&self, asked: &Asked) -> Response {
        let (status, code) = match self {
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::InvalidGrant => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::UnauthorizedClient => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::AuthorizationPending => (StatusCode::BAD_REQUEST, "authorization_pending"),
            Self::SlowDown => (StatusCode::BAD_REQUEST, "slow_down"),
            Self::AccessDenied => (StatusCode::BAD_REQUEST, "access_denied"),
            Self::ExpiredToken => (StatusCode::BAD_REQUEST, "expired_token"),
            Self::Unsigned(source) => {
                error!(error = %source, "no token can be signed");
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error")
            }
        };
        let mut response = web::json(status, &json!({ "error": code, "error_description": self.to_string() }));
        // RFC 6749 §5.2: 401 names the scheme that the client tried
        if matches!(self, Self::InvalidClient) && asked.head.headers.contains_key(AUTHORIZATION) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"clients\""));
        }
        response
    }
}

/// What is said of a user, in ID tokens and by userinfo.
pub(super) fn claims(user: &User) -> Map<String, Value> {
    let mut claims = user.claims.clone();
    let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    say("sub", json!(user.sub));
    say("preferred_username", json!(user.name.as_str()));
    say("groups", json!(user.groups));
    if let Some(name) = &user.display_name {
        say("name", json!(name));
    }
    if let Some(email) = &user.email {
        say("email", json!(email.address));
        say("email_verified", json!(email.verified));
    }
    claims
}

fn refused(what: &str, client: &Client, why: Invalid) -> TokenError {
    warn!(target: AUDIT, { client.id = &*client.id, reason = %why }, "{what} refused");
    TokenError::InvalidGrant
}

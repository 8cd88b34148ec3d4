//! Interactive logins: how a source sends a person to log in, and what comes of it.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{Claims, Onward, Party, SamlLogin, SamlResponse, Subject};
use crate::secret::Secret;
use crate::web::BoxError;

/// An interactive login.
#[async_trait]
pub trait Login: Send + Sync {
    /// What the chooser page calls this source.
    fn label(&self) -> &str;
    /// Whose word its logins are: which provider's, and to which client. Under another voucher the same source and id may
    /// be somebody else (A21).
    fn voucher(&self) -> &Arc<str>;
    /// Starts a login that comes back to `callback`, or to a place of its own under the same origin. Where it is wanted
    /// `quietly` the person is asked nothing: a provider that would have to ask ends it by [`LoginError::WouldAsk`].
    async fn begin(&self, callback: &Url, quietly: bool) -> Result<Begun, LoginError>;
    /// Ends it with what the provider sent back and what [`Begun::memory`] kept.
    async fn finish(&self, returned: &Returned, memory: &LoginMemory) -> Result<SignedIn, LoginError>;
    /// Renews tokens and claims. The subject is the same afterwards, or it is an error.
    async fn renew(&self, subject: &Subject, tokens: &Tokens) -> Result<SignedIn, RenewError>;
    /// The way to the provider's own logout, coming back to `back`.
    async fn leave(&self, tokens: &Tokens, back: &Url) -> Option<Leave>;
    /// The login that is confirmed on another device, where this source has one.
    fn by_device(&self) -> Option<&dyn DeviceLogin> {
        None
    }
    /// What else it answers to the provider, where that speaks to us through the browser.
    fn party(&self) -> Option<&dyn Party> {
        None
    }
}

/// A login that is confirmed on another device (RFC 8628).
#[async_trait]
pub trait DeviceLogin: Send + Sync {
    /// Begins one.
    async fn begin(&self) -> Result<Shown, LoginError>;
    /// Waits until it is confirmed, refused, or over.
    async fn finish(&self, memory: &LoginMemory) -> Result<SignedIn, LoginError>;
}

/// What a person is shown who is to confirm a login on another device.
#[derive(Debug)]
pub struct Shown {
    /// Where they go.
    pub url: String,
    /// What they enter there.
    pub code: String,
    /// The same in one, where the provider has it.
    pub url_with_code: Option<String>,
    /// What must be known again at the end.
    pub memory: LoginMemory,
}

/// A login under way.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub to: Onward,
    /// Whether the answer comes by a form that the provider has the browser post: the browser sends `Lax` cookies
    /// with none that comes from another site.
    pub is_posted_back: bool,
    /// The unguessable value that comes back with the answer and names this login.
    pub state: String,
    /// What must be known again when it comes back.
    pub memory: LoginMemory,
}

/// A way to a provider's own logout.
#[derive(Debug)]
pub struct Leave {
    /// Where the browser goes.
    pub to: Onward,
    /// The name of the message that asks for it, where an answer will name it.
    pub asked: Option<String>,
}

/// What a login must remember until the browser returns; the door keeps it sealed in the browser's per-login cookie.
#[derive(Clone, Deserialize, Serialize)]
pub struct LoginMemory(pub Value);

impl Debug for LoginMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginMemory").finish_non_exhaustive() // holds the PKCE verifier and the nonce
    }
}

/// The parameters a provider sent the browser back with, each name as often as it came.
#[derive(Clone, Default)]
pub struct Returned(pub Vec<(String, String)>);

impl Returned {
    /// The only value of `name`. A parameter given twice is as good as absent: which one is meant is anybody's guess.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }
}

impl Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(key, _)| key)).finish() // values hold the code
    }
}

/// What a login or a renewal brings: plain data, from which the session makes the [`Identity`](super::Identity).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SignedIn {
    /// Who.
    pub subject: Subject,
    /// The [`Login::voucher`] of the source that says so.
    pub voucher: Arc<str>,
    /// What is said of them.
    pub claims: Claims,
    /// When the provider's word ends, where it says so for the whole login.
    pub ends_at: Option<SystemTime>,
    /// What the provider gave.
    pub tokens: Tokens,
    /// The provider's own name for this login (`sid`), for logouts that start there.
    pub at_provider: Option<String>,
    /// What must not bring anybody in twice: the assertion that says all this.
    pub once: Option<Once>,
}

/// What counts once, on whichever instance it comes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Once {
    /// Its name, unlike any other's.
    pub name: String,
    /// When it would be refused anyway.
    pub until: SystemTime,
}

/// A provider's tokens.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Tokens {
    /// The ID token and its `exp`.
    pub id: Option<Token>,
    /// The access token and when it ends.
    pub access: Option<Token>,
    /// The refresh token; opaque, so its end is unknown.
    #[serde(with = "crate::identity::secret_text")]
    pub refresh: Option<Secret>,
    /// The SAML response, where it was made for AWS too.
    #[serde(default)]
    pub saml: Option<SamlResponse>,
    /// What a SAML provider calls the person and the login, to be asked to end it.
    #[serde(default)]
    pub saml_login: Option<SamlLogin>,
}

/// A token and when it ends.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Token {
    /// The token.
    #[serde(with = "crate::identity::secret_text")]
    pub text: Secret,
    /// Its end.
    pub ends: SystemTime,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// What came back is wrong: state, nonce, issuer, audience, signature, code. The reason is for the log.
    #[error("the login was refused: {0}")]
    Refused(String),
    /// The provider said no, or the person did: its `error` code, from a fixed set of characters.
    #[error("the identity provider answered `{0}`")]
    Declined(String),
    /// It was wanted quietly, and the provider would have to ask the person something.
    #[error("the identity provider would have to ask the person")]
    WouldAsk,
    /// The provider can't be reached or does not make sense now.
    #[error("the identity provider is unavailable")]
    Unavailable(#[source] BoxError),
}

/// Why a renewal failed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The provider ended the login, or never allowed renewals: log in again.
    #[error("the login can't be renewed: {0}")]
    Ended(String),
    /// The provider can't be reached now: what is valid stays valid.
    #[error("the identity provider is unavailable")]
    Unavailable(#[source] BoxError),
    /// The provider gave new tokens, but the claims that go with them can't be had now. The tokens are to be kept, as
    /// the old refresh token may be used up; the claims stay as they were.
    #[error("the claims can't be renewed now")]
    Incomplete {
        /// The new tokens.
        tokens: Box<Tokens>,
        /// What happened.
        #[source]
        source: BoxError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_given_twice_is_absent() {
        let twice =
            Returned(vec![("state".into(), "a".into()), ("state".into(), "b".into()), ("code".into(), "c".into())]);
        assert_eq!((twice.only("state"), twice.only("code")), (None, Some("c")));
    }

    #[test]
    fn debug_shows_no_token() {
        let token = Token { text: Secret::new("canary"), ends: SystemTime::UNIX_EPOCH };
        let tokens = Tokens { id: Some(token), refresh: Some(Secret::new("canary")), ..Tokens::default() };
        assert!(!format!("{tokens:?}").contains("canary"));
        let sealed = serde_json::to_string(&tokens).unwrap();
        let back: Tokens = serde_json::from_str(&sealed).unwrap();
        assert!(back.refresh.unwrap().matches("canary"));
    }
}

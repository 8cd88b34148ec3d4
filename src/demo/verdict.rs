//! Asking the authority whether a signature is right, and whose it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::fetch::{Fetch, FetchError, Reach};
use crate::secret::Secret;
use crate::sigv4::Presented;

/// The way to the authority.
#[derive(Debug)]
pub(super) struct Judge {
    url: String,
    token: Secret,
    fetch: Arc<Fetch>,
}

/// Who signed, in the authority's words.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Caller {
    pub(super) arn: String,
    pub(super) access_key_id: String,
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    pub(super) session_name: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    pub(super) source_identity: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) expires: Option<String>,
}

/// The authority's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    verdict: String,
    caller: Option<Caller>,
}

/// Why a request is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unproven {
    /// The authority said so, with this code.
    #[error("the authority's verdict is {0}")]
    Refused(String),
    /// It can't be asked now.
    #[error("the authority can't be asked")]
    Unavailable(#[from] FetchError),
    /// It did not answer as it should.
    #[error("the authority's answer is not a verdict (HTTP {0})")]
    NoVerdict(StatusCode),
}

impl Judge {
    pub(super) fn new(authority: &Url, token: Secret, fetch: Arc<Fetch>) -> Self {
        Self { url: format!("{}/verdict", authority.as_str().trim_end_matches('/')), token, fetch }
    }

    /// Whose signature it is, if it is right. Every request is asked about: a session may have ended since the last.
    pub(super) async fn judge(&self, presented: &Presented) -> Result<Caller, Unproven> {
        let question = json!({
            "access_key_id": presented.access_key_id(),
            "session_token": presented.session_token().map(Secret::expose),
            "scope": presented.scope(),
            "string_to_sign": presented.string_to_sign(),
            "signature": presented.signature(),
        });
        let mut request = http::Request::new(Bytes::from(question.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", self.token.expose())) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let response = self.fetch.send(request, &Reach::Configured).await?;
        let answer: Option<Answer> = serde_json::from_slice(response.body()).ok();
        match answer {
            Some(Answer { verdict, caller: Some(caller) }) if verdict == "ok" => Ok(caller),
            Some(Answer { verdict, .. }) if verdict != "ok" => Err(Unproven::Refused(verdict)),
            _ => Err(Unproven::NoVerdict(response.status())),
        }
    }
}

impl Caller {
    /// The name to greet them by: the session's, which is made to be read, or the user's own.
    pub(super) fn name(&self) -> &str {
        self.session_name.as_deref().or(self.user.as_deref()).unwrap_or(&self.arn)
    }
    /// By what they logged in, where the session's tags or the provider of it say so.
    pub(super) fn login(&self) -> Option<&str> {
        match self.tags.get("login").map(String::as_str) {
            Some("oidc") => Some("OpenID Connect"),
            Some("saml") => Some("SAML"),
            None if self.is_of(SAML_PROVIDER) => Some("SAML"),
            other => other,
        }
    }

    /// The call of STS that gave them their keys: whom the session is of tells which.
    pub(super) fn call(&self) -> Option<&'static str> {
        self.role.as_ref()?;
        Some(match self.provider {
            None => "AssumeRole",
            Some(_) if self.is_of(SAML_PROVIDER) => "AssumeRoleWithSAML",
            Some(_) => "AssumeRoleWithWebIdentity",
        })
    }

    /// What STS was shown there.
    pub(super) fn shown(&self) -> &'static str {
        match self.call() {
            Some("AssumeRoleWithSAML") => "STS was shown the SAML response of your login",
            Some("AssumeRoleWithWebIdentity") => "STS was shown a token that claviger signed for you",
            _ => "STS was asked with claviger's own keys",
        }
    }

    fn is_of(&self, kind: &str) -> bool {
        self.provider.as_ref().is_some_and(|provider| provider.contains(kind))
    }
}

const SAML_PROVIDER: &str = ":saml-provider/";

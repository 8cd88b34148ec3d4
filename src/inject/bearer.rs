//! `kind = "bearer"`: passes the person's own token from the identity provider on to the upstream.

use std::sync::Arc;

use http::HeaderName;
use serde::Deserialize;

use super::token_header::TokenHeader;
use super::{Given, InjectError, Injector, Materials, Needs};
use crate::built_in::{BuiltIn, SettingsError};
use crate::identity::TokenKind;
use crate::web::Request;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, Materials> = BuiltIn {
    kind: "bearer",
    summary: "Puts the signed-in person's own access token from the identity provider on requests.",
    example: include_str!("../../config/examples/inject/bearer.toml"),
    build: |settings, materials| Ok(Arc::new(Bearer::new(settings.parse()?, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BearerSettings {
    /// An ID token says who somebody is to *us* (OpenID Connect Core §2): only who writes it down passes it on.
    #[serde(default)]
    token: TokenKind,
    header: Option<String>,
    #[serde(default)]
    plain_http: bool,
}

#[derive(Debug)]
struct Bearer {
    token: TokenKind,
    header: TokenHeader,
}

impl Bearer {
    fn new(settings: BearerSettings, materials: &Materials) -> Result<Self, SettingsError> {
        let BearerSettings { token, header, plain_http } = settings;
        if !plain_http {
            materials.keep_tokens_off_the_wire()?;
        }
        let header = TokenHeader::read(header.as_deref().unwrap_or("Authorization"))?;
        Ok(Self { token, header })
    }
}

impl Injector for Bearer {
    fn needs(&self) -> Needs {
        Needs { token: Some(self.token), ..Needs::NOTHING }
    }

    fn sets(&self) -> &[HeaderName] {
        self.header.vouched()
    }

    fn puts(&self) -> &[HeaderName] {
        self.header.names()
    }

    /// On a public path there is nobody whose token it could be; the client's own header goes all the same.
    fn inject(&self, mut request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        if given.identity.is_none() {
            return Ok(request);
        }
        let token = given.token(self.token).ok_or(InjectError::Missing("the person's token"))?;
        let value = self.header.value(token.expose())?;
        self.header.put(request.headers_mut(), value);
        Ok(request)
    }
}

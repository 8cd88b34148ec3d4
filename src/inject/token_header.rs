//! A header that carries a token.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::InjectError;
use super::name::settable;
use crate::built_in::SettingsError;

/// Where a token goes: under `Authorization` with the scheme `Bearer` (RFC 6750 §2.1), under any other name as it is.
#[derive(Debug)]
pub(super) struct TokenHeader {
    names: [HeaderName; 1],
    is_authorization: bool,
}

impl TokenHeader {
    /// The header that `header = "…"` names.
    pub(super) fn read(text: &str) -> Result<Self, SettingsError> {
        settable(text).map(Self::of).map_err(|problem| SettingsError::at("header", problem))
    }

    fn of(name: HeaderName) -> Self {
        let is_authorization = name == header::AUTHORIZATION;
        let names = [name];
        Self { names, is_authorization }
    }

    /// Its name.
    pub(super) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// What no client may send on any route: upstreams may believe a header of a name like this unseen. `Authorization`
    /// is none, as a token there proves itself and apps on other routes have their own.
    pub(super) fn vouched(&self) -> &[HeaderName] {
        if self.is_authorization { &[] } else { &self.names }
    }

    /// The value for this token. It is never shown by whoever prints headers.
    pub(super) fn value(&self, token: &str) -> Result<HeaderValue, InjectError> {
        let text = if self.is_authorization { [SCHEME, token].concat() } else { token.to_owned() };
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(text))
            .map_err(|_| InjectError::Missing("a token that fits into a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Puts the value on in place of all that is there. Other spellings of a vouched name are gone already, and
    /// `Authorization` has none.
    pub(super) fn put(&self, headers: &mut HeaderMap, value: HeaderValue) {
        let [name] = &self.names;
        headers.insert(name, value);
    }
}

const SCHEME: &str = "Bearer ";

//! The parameters of a request (RFC 6749 §3.1, §3.2).

use std::collections::HashMap;

use bytes::Bytes;

use crate::web::{Body, CollectError};

/// Parameters, each at most once.
#[derive(Debug)]
pub(super) struct Form(HashMap<String, String>);

/// Why there are no parameters to go by.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    /// RFC 6749 §3.1: which of two would count is a question that proxies and servers answer differently (CVE-2026-9689).
    #[error("a parameter is there more than once")]
    Repeated,
    #[error("the request has more parameters than this page reads")]
    TooLarge,
    #[error("the request broke off")]
    Broken,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, FormError> {
        if text.len() > LONGEST {
            return Err(FormError::TooLarge);
        }
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(FormError::Repeated);
            }
        }
        Ok(Self(parameters))
    }

    /// All of a body that may hold parameters.
    pub(super) async fn collect(body: Body) -> Result<Bytes, FormError> {
        body.collect(LONGEST).await.map_err(|e| match e {
            CollectError::TooLarge { .. } => FormError::TooLarge,
            CollectError::Broken(_) => FormError::Broken,
        })
    }

    /// The value of a parameter. One without a value counts as left out (RFC 6749 §3.1).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// In bytes. An authorization request is some 500; a login form carries one inside.
const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_given_twice_is_refused_however_it_is_written() {
        for text in ["state=a&state=b", "state=a&state=a", "state=a&st%61te=b", "state&state"] {
            assert!(matches!(Form::parse(text.as_bytes()), Err(FormError::Repeated)), "{text}");
        }
        let form = Form::parse(b"a=1+%26&b=&c").unwrap();
        assert_eq!((form.value("a"), form.value("b"), form.value("c")), (Some("1 &"), None, None));
    }
}

//! What a source says of a subject.

use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a source says of a subject.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Claims(pub(super) Arc<Map<String, Value>>);

impl Claims {
    /// These claims.
    pub fn new(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }

    /// The claim called `name`. A name that is no claim is read as a path: `realm_access.roles` (a claim with
    /// the whole name wins, as `https://aws.amazon.com/tags` has dots of its own).
    pub fn value(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(name) {
            return Some(value);
        }
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(self.0.get(first)?, |value, part| value.get(part))
    }

    /// The claim as one text: texts as they are, numbers and booleans as JSON writes them, nothing else.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        }
    }

    /// The texts of a claim that is a text or a list of texts.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let (one, many) = match self.value(name) {
            Some(Value::String(text)) => (Some(text.as_str()), [].as_slice()),
            Some(Value::Array(values)) => (None, values.as_slice()),
            _ => (None, [].as_slice()),
        };
        one.into_iter().chain(many.iter().filter_map(Value::as_str))
    }

    /// All of them.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // names are enough to see what a provider sends; values are personal
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().cloned().unwrap())
    }

    #[test]
    fn claims_are_found_by_name_then_by_path() {
        let claims = claims(json!({"a.b": "whole", "a": {"b": "path", "c": ["x", 1, "y"]}, "n": 5}));
        assert_eq!(claims.text("a.b").as_deref(), Some("whole"));
        assert_eq!(claims.texts("a.c").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(claims.text("n").as_deref(), Some("5"));
        assert_eq!(claims.text("a"), None);
    }
}

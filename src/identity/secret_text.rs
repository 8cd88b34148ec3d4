//! Secrets in sealed records: serialised only by types whose serialised form is encrypted before it goes anywhere.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::Secret;

pub(super) trait SecretText: Sized {
    fn text(&self) -> Option<&str>;
    fn from_text(text: Option<String>) -> Option<Self>;
}
impl SecretText for Secret {
    fn text(&self) -> Option<&str> {
        Some(self.expose())
    }
    fn from_text(text: Option<String>) -> Option<Self> {
        text.map(Self::new)
    }
}
impl SecretText for Option<Secret> {
    fn text(&self) -> Option<&str> {
        self.as_ref().map(Secret::expose)
    }
    fn from_text(text: Option<String>) -> Option<Self> {
        Some(text.map(Secret::new))
    }
}

pub(super) fn serialize<T: SecretText, S: Serializer>(secret: &T, serializer: S) -> Result<S::Ok, S::Error> {
    secret.text().serialize(serializer)
}

pub(super) fn deserialize<'de, T: SecretText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::from_text(Option::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("a text is missing"))
}

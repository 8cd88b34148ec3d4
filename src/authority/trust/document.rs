//! The shape of a policy document as it is written, in JSON or as a TOML table. Nothing in it is passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::PolicyError;

/// A trust policy's document. `NotPrincipal`, `NotAction` and `Resource` are refused with every other unknown key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Document {
    pub(super) version: Option<String>,
    #[expect(dead_code, reason = "a name for people; it decides nothing")]
    id: Option<String>,
    pub(super) statement: Many<RawStatement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct RawStatement {
    #[expect(dead_code, reason = "a name for people; it decides nothing")]
    sid: Option<String>,
    pub(super) effect: RawEffect,
    pub(super) principal: RawPrincipal,
    pub(super) action: Many<String>,
    #[serde(default)]
    pub(super) condition: Unique<Unique<Many<Scalar>>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(super) enum RawEffect {
    Allow,
    Deny,
}

/// `"*"`, or lists by kind.
#[derive(Debug)]
pub(super) enum RawPrincipal {
    Anyone,
    Listed(Listed),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    #[serde(default, rename = "AWS")]
    pub(super) aws: Many<String>,
    #[serde(default, rename = "Federated")]
    pub(super) federated: Many<String>,
    #[serde(default, rename = "Service")]
    pub(super) service: Many<String>,
}

/// One thing or a list of them.
#[derive(Debug)]
pub(super) struct Many<T>(pub(super) Vec<T>);

/// A map in which a key may come once. JSON readers keep the last of two `StringEquals`, which would drop a condition.
#[derive(Debug)]
pub(super) struct Unique<T>(pub(super) BTreeMap<String, T>);

/// A text, a number or a truth value, as its text.
#[derive(Debug)]
pub(super) struct Scalar(pub(super) String);

impl Document {
    pub(super) fn from_json(text: &str) -> Result<Self, PolicyError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let document = serde_path_to_error::deserialize(&mut reader)
            .map_err(|e| PolicyError::at(e.path().to_string(), e.inner()))?;
        reader.end().map_err(|e| PolicyError::at("", e))?;
        Ok(document)
    }

    pub(super) fn from_table(table: toml::Table) -> Result<Self, PolicyError> {
        serde_path_to_error::deserialize(toml::Value::Table(table))
            .map_err(|e| PolicyError::at(e.path().to_string(), e.inner().message().trim_end()))
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Many<T>, E> {
                Ok(Many(vec![T::deserialize(StrDeserializer::new(text))?]))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Many<T>, E> {
                self.visit_str(if value { "true" } else { "false" })
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Many<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Many<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Many<T>, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Many<T>, A::Error> {
                Ok(Many(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Many<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Many)
            }
        }
        deserializer.deserialize_any(OneOrMany(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Once<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with each key once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<T>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("`{key}` is given twice")));
                    }
                    entries.insert(key, value);
                }
                Ok(Unique(entries))
            }
        }
        deserializer.deserialize_map(Once(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

impl<'de> Deserialize<'de> for RawPrincipal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyoneOrListed;
        impl<'de> Visitor<'de> for AnyoneOrListed {
            type Value = RawPrincipal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\" or a map of AWS, Federated, Service")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawPrincipal, E> {
                match text {
                    "*" => Ok(RawPrincipal::Anyone),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawPrincipal, A::Error> {
                Listed::deserialize(MapAccessDeserializer::new(map)).map(RawPrincipal::Listed)
            }
        }
        deserializer.deserialize_any(AnyoneOrListed)
    }
}

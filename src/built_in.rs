//! Tables of kinds: what a config section can name by its `kind`.
//!
//! A kind is one file and one line in its table (`identity::BUILT_INS`, `credentials::BUILT_INS`,
//! `inject::BUILT_INS`). The config loader, `claviger kinds`, the unknown-kind error and the
//! conformance test read the same table.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::files::Files;
use crate::secret::Secret;

/// One kind of `T` that a config table can name by its `kind`.
pub struct BuiltIn<T: ?Sized, C> {
    /// What the operator writes after `kind =`.
    pub kind: &'static str,
    /// One sentence for `claviger kinds` and the reference.
    pub summary: &'static str,
    /// A complete example section; `config/examples/<table>/<kind>.toml`.
    pub example: &'static str,
    /// Builds the kind from its section. It does no I/O but reading the secrets the section names.
    pub build: fn(Settings<'_>, &C) -> Result<Arc<T>, SettingsError>,
}

impl<T: ?Sized, C> Debug for BuiltIn<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltIn").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What surrounds a config file: where its relative paths start, and the environment it may refer to.
///
/// They note every file that is asked for through them, so that it is known what a config is made of. Clones share
/// that note.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The folder of the config file.
    pub folder: PathBuf,
    /// The environment, as a value, so that tests can bring their own.
    pub environment: Environment,
    named: Arc<Mutex<Files>>,
}

/// Environment variables as a value.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// This process's environment, read once.
    pub fn of_this_process() -> Self {
        Self(std::env::vars().collect())
    }

    /// The value of `name`, where it is set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive() // values may be secrets
    }
}

/// Where a secret is kept: `{ env = "NAME" }` or `{ file = "path" }`. A secret itself is never in the config.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file, relative to the config file; one trailing line end is dropped.
    File(PathBuf),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand, as serde's own errors repeat the value they did not expect, which here is likely the secret (A36).
        let expected = || {
            serde::de::Error::custom(
                "a secret is never written here; expected { env = \"NAME\" } or { file = \"path\" }, where it is kept",
            )
        };
        let toml::Value::Table(table) = toml::Value::deserialize(deserializer)? else { return Err(expected()) };
        let mut entries = table.into_iter();
        match (entries.next(), entries.next()) {
            (Some((key, toml::Value::String(name))), None) if key == "env" => Ok(Self::Env(name)),
            (Some((key, toml::Value::String(path))), None) if key == "file" => Ok(Self::File(path.into())),
            _ => Err(expected()),
        }
    }
}

impl SecretSource {
    /// Reads the secret. An empty one is an error: an empty client secret or HMAC key is never meant.
    pub fn read(&self, surroundings: &Surroundings) -> Result<Secret, String> {
        let text = match self {
            Self::Env(name) => surroundings
                .environment
                .value(name)
                .map(str::to_owned)
                .ok_or_else(|| format!("the environment variable `{name}` is not set"))?,
            Self::File(path) => {
                let path = surroundings.path(path);
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| format!("the file `{}` can't be read: {e}", path.display()))?;
                text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t).to_owned()).unwrap_or(text)
            }
        };
        if text.is_empty() {
            return Err(format!("{self:?} is empty; a secret must have at least one character"));
        }
        Ok(Secret::new(text))
    }
}

impl Surroundings {
    /// Those of a config file in this folder.
    pub fn new(folder: impl Into<PathBuf>, environment: Environment) -> Self {
        Self { folder: folder.into(), environment, named: Arc::default() }
    }

    /// The same ones with a note of their own, for a part of the config.
    pub fn apart(&self) -> Self {
        Self { named: Arc::default(), ..self.clone() }
    }

    /// A file that the config names: relative paths start at the config file's folder. Its content counts as the
    /// config's own.
    pub fn path(&self, path: &Path) -> PathBuf {
        let path = self.folder.join(path);
        self.named.lock().unwrap_or_else(PoisonError::into_inner).look_at(&path);
        path
    }

    /// The files that were asked for so far, as they were then.
    pub fn files(&self) -> Files {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes files that were asked for elsewhere.
    pub fn note(&self, files: Files) {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).add(files);
    }
}

/// One section of the config on its way to becoming a kind.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The section's own name: `corp` in `[identity.corp]`.
    pub name: &'a str,
    /// The section's keys without `kind`.
    pub table: toml::Table,
    /// Where relative paths and variables come from.
    pub surroundings: &'a Surroundings,
    /// The clock the kind shall live by.
    pub clock: &'a Arc<dyn Clock>,
}

impl Settings<'_> {
    /// The section's keys as `S`. `S` must `deny_unknown_fields`; the conformance test sees to it.
    pub fn parse<S: DeserializeOwned>(&self) -> Result<S, SettingsError> {
        parse_table(self.table.clone())
    }

    /// Reads a secret that the section refers to under `key`.
    pub fn secret(&self, key: &str, source: &SecretSource) -> Result<Secret, SettingsError> {
        source.read(self.surroundings).map_err(|problem| SettingsError::at(key, problem))
    }
}

/// Why a section can't become its kind; `key` is relative to the section, empty for the section itself.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{problem}", if key.is_empty() { String::new() } else { format!("`{key}`: ") })]
pub struct SettingsError {
    /// The key below the section, dotted.
    pub key: String,
    /// What was found and what was expected.
    pub problem: String,
}

impl SettingsError {
    /// A problem with one key of the section.
    pub fn at(key: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { key: key.into(), problem: problem.to_string() }
    }
}

/// A table as `S`, with the dotted key path in the error.
pub fn parse_table<S: DeserializeOwned>(table: toml::Table) -> Result<S, SettingsError> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|e| {
        let path = e.path().to_string();
        let key = if path == "." { String::new() } else { path };
        SettingsError::at(key, in_words_of_toml(e.into_inner().message().trim_end()))
    })
}

/// A problem of serde's, whose words are those of its own model.
pub fn in_words_of_toml(problem: &str) -> String {
    let words = [("sequence", "list"), ("a map", "a table"), ("string", "text")];
    let (mut told, mut quoted_by) = (String::new(), None);
    for part in problem.split_inclusive(['"', '`']) {
        match quoted_by {
            None => told += &words.iter().fold(part.to_owned(), |text, (serde, toml)| text.replace(serde, toml)),
            // what is quoted is the person's own, and what is in backticks the name of a key
            Some(_) => told += part,
        }
        let mark = part.chars().next_back().filter(|mark| ['"', '`'].contains(mark));
        quoted_by = match quoted_by {
            Some(by) if mark != Some(by) => Some(by),
            Some(_) => None,
            None => mark,
        };
    }
    told
}

/// Builds the kind that `table` names, from `list`.
///
/// # Errors
/// A missing or unknown `kind` (the error lists the known ones), and whatever the kind itself objects to.
pub fn build<T: ?Sized, C>(
    list: &[BuiltIn<T, C>],
    mut settings: Settings<'_>,
    context: &C,
) -> Result<Arc<T>, SettingsError> {
    let kinds = || list.iter().map(|b| b.kind).collect::<Vec<_>>().join(", ");
    let kind = match settings.table.remove("kind") {
        Some(toml::Value::String(kind)) => kind,
        Some(_) => return Err(SettingsError::at("kind", format!("must be a text; it may be one of: {}", kinds()))),
        None => return Err(SettingsError::at("kind", format!("is missing; it may be one of: {}", kinds()))),
    };
    let Some(built_in) = list.iter().find(|b| b.kind == kind) else {
        return Err(SettingsError::at("kind", format!("unknown kind `{kind}`; it may be one of: {}", kinds())));
    };
    (built_in.build)(settings, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        secret: SecretSource,
    }

    fn section(text: &str) -> Result<Section, SettingsError> {
        parse_table(text.parse().unwrap())
    }

    #[test]
    fn only_the_words_of_serde_are_put_in_other_words() {
        for (problem, told) in [
            ("invalid type: sequence, expected a map", "invalid type: list, expected a table"),
            (
                "invalid type: string \"a string `x\", expected a sequence",
                "invalid type: text \"a string `x\", expected a list",
            ),
            (
                "unknown field `substring`, expected `sequence` or a string",
                "unknown field `substring`, expected `sequence` or a text",
            ),
        ] {
            assert_eq!(in_words_of_toml(problem), told);
        }
    }

    #[test]
    fn secrets_are_references() {
        assert_eq!(section("secret = { env = 'X' }").unwrap().secret, SecretSource::Env("X".into()));
        assert_eq!(section("secret = { file = 'x' }").unwrap().secret, SecretSource::File("x".into()));
    }

    #[test]
    fn a_secret_in_the_config_is_refused_without_being_repeated() {
        // A36
        for text in [
            "secret = 'canary'",
            "secret = { value = 'canary' }",
            "secret = { env = 'X', file = 'canary' }",
            "secret = ['canary']",
            "secret = { canary = 1 }",
        ] {
            let error = section(text).unwrap_err();
            assert_eq!(error.key, "secret", "{text}");
            assert!(error.problem.contains("{ env = ") && !error.problem.contains("canary"), "{error}");
        }
        assert!(!section("secret = 12345").unwrap_err().to_string().contains("12345"));
    }
}

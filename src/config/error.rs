//! What is wrong with a config, all of it, each with its key path.

use std::fmt;

use super::lines::Lines;
use crate::built_in::SettingsError;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConfigError {
    /// The dotted path of the key, such as `route.reports.allow.groups`; empty for the file itself.
    pub path: String,
    /// What was found and what was expected. Never a secret.
    pub problem: String,
    /// Where in the file the key stands, or the section it is missing in; absent until [`ConfigErrors::located`].
    pub line: Option<usize>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)?;
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// Everything that is wrong, in the order it was found. It may be empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Adds a problem with the key at `path`.
    pub fn add(&mut self, path: impl Into<String>, problem: impl fmt::Display) {
        let error = ConfigError { path: path.into(), problem: problem.to_string(), line: None };
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    /// Adds that the key at `path` is missing, unless something is wrong with it: then it is there, and its own error too.
    pub fn add_missing(&mut self, path: &str, expected: &str) {
        if !self.0.iter().any(|error| is_at_or_below(&error.path, path)) {
            self.add(path, format!("is missing; expected {expected}"));
        }
    }

    /// Adds what a section's kind objects to; its keys are relative to the section at `path`.
    pub fn add_settings(&mut self, path: &str, error: SettingsError) {
        self.add(below(path, &error.key), error.problem);
    }

    /// The value, or nothing and one more error.
    pub fn keep<T, E: fmt::Display>(&mut self, path: impl Into<String>, result: Result<T, E>) -> Option<T> {
        result.map_err(|problem| self.add(path, problem)).ok()
    }

    /// Adds those of another's that are about other keys: what follows from an error is no news.
    pub fn append_news(&mut self, other: Self) {
        let known: Vec<String> = self.0.iter().map(|error| error.path.clone()).collect();
        let is_news =
            |path: &str| !known.iter().any(|known| is_at_or_below(known, path) || is_at_or_below(path, known));
        for error in other.0.into_iter().filter(|error| is_news(&error.path)) {
            self.add(error.path, error.problem);
        }
    }

    /// Adds all of another's.
    pub fn append(&mut self, other: Self) {
        for error in other.0 {
            self.add(error.path, error.problem);
        }
    }

    /// The same, with the lines of `text` that they are about.
    #[must_use]
    pub fn located(mut self, text: &str) -> Self {
        let lines = Lines::of(text);
        for error in &mut self.0 {
            error.line = lines.find(&error.path);
        }
        self
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// `value` where nothing is wrong.
    ///
    /// # Errors
    /// These, where there are any.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// `key` below `path`, dotted; either may be empty.
pub fn below(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        // `[0]` of a list joins without a dot
        _ if key.starts_with('[') => format!("{path}{key}"),
        _ => format!("{path}.{key}"),
    }
}

/// Whether `path` is that of `above`, or of a key in it.
pub fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

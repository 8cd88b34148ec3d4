//! Reading a table into a serde shape, with every error instead of the first.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

use super::error::{ConfigErrors, below};
use crate::built_in::in_words_of_toml;

/// `table` as an `S`, without the keys that don't fit; each of those is an error at its path below `path`.
///
/// serde stops at the first error, and a person who mends a config wants all of them. So the key that does not fit is
/// taken out and the rest is read again. A shape without required keys always comes out; what is required is best
/// asked for afterwards, where the shape is turned into our types.
pub(super) fn read<S: DeserializeOwned>(mut table: Table, path: &str, errors: &mut ConfigErrors) -> Option<S> {
    let mut removed = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(shape) => return Some(shape),
            Err(error) => error,
        };
        let at = dotted(error.path());
        let problem = error.inner().message().trim_end();
        // missing because we took it out: its own error is in the list already
        let missing = problem.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        if missing.is_some_and(|key| removed.contains(&below(&at, key))) {
            return None;
        }
        errors.add(below(path, &at), in_words_of_toml(problem));
        let segments: Vec<_> = error.path().iter().collect();
        if !remove(&mut table, &segments) {
            return None;
        }
        removed.push(at);
    }
}

/// The path as a person would write it: serde's `.` for the whole table is empty.
fn dotted(path: &Path) -> String {
    let text = path.to_string();
    if text == "." { String::new() } else { text }
}

/// Takes out what the path leads to, or the deepest key on the way there.
fn remove(table: &mut Table, segments: &[&Segment]) -> bool {
    let Some((Segment::Map { key }, rest)) = segments.split_first() else { return false };
    if let Some(Value::Table(inner)) = table.get_mut(key)
        && remove(inner, rest)
    {
        return true;
    }
    table.remove(key).is_some()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        size: Option<u8>,
        name: Option<String>,
        inner: Inner,
        list: Vec<u8>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        size: Option<u8>,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        size: u8,
    }

    fn paths(errors: &ConfigErrors) -> Vec<&str> {
        let mut paths: Vec<_> = errors.iter().map(|e| e.path.as_str()).collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn every_error_is_found_and_the_rest_is_kept() {
        let text = "size = 'x'\nsise = 1\nname = 'n'\nlist = [1, 'x']\n[inner]\nname = 5\nsize = 3\nsice = 4";
        let mut errors = ConfigErrors::default();
        let outer: Outer = read(text.parse().unwrap(), "top", &mut errors).unwrap();
        assert_eq!((outer.name.as_deref(), outer.inner.size), (Some("n"), Some(3)));
        assert_eq!(paths(&errors), ["top.inner.name", "top.inner.sice", "top.list[1]", "top.sise", "top.size"]);
    }

    #[test]
    fn errors_speak_of_lists_tables_and_texts() {
        let mut errors = ConfigErrors::default();
        read::<Outer>("list = 'a string'\nname = []\ninner = 1".parse().unwrap(), "", &mut errors);
        let text = errors.to_string();
        assert!(text.contains("list: invalid type: text \"a string\", expected a list"), "{text}");
        assert!(text.contains("name: invalid type: list, expected a text"), "{text}");
    }

    #[test]
    fn a_required_key_that_does_not_fit_is_one_error() {
        let mut errors = ConfigErrors::default();
        assert_eq!(read::<Strict>("size = 'x'\nsice = 1".parse().unwrap(), "", &mut errors), None);
        assert_eq!(paths(&errors), ["sice", "size"]);
    }
}

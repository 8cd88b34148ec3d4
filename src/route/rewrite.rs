//! Path prefixes, and how a path changes on its way to the upstream.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::built_in::SettingsError;
use crate::policy::{NormalPath, Oddities};

/// A path and all below it, on segment borders: `/app` is for `/app` and `/app/x`, not for `/apple`. `/` is for all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PathPrefix(Box<str>);

/// How a path changes: first a prefix goes, then another comes. What changes was normalised and decided on before,
/// and stays normal.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    strip: PathPrefix,
    add: PathPrefix,
}

impl PathPrefix {
    /// The prefix, without a slash at its end; empty for all paths.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path is this one or below it.
    pub fn covers(&self, path: &str) -> bool {
        self.after(path).is_some()
    }

    /// What comes after the prefix: empty, or starting with a slash.
    fn after<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for PathPrefix {
    type Err = String;

    /// A prefix that is not in normal form would never match; it is an error (A5).
    fn from_str(text: &str) -> Result<Self, String> {
        let error = |problem: &str| format!("`{text}` is no path to start with: {problem}");
        let path = NormalPath::parse(text).map_err(|e| error(&e.to_string()))?;
        path.keep_to(Oddities::default()).map_err(|_| error("it has a form that servers read differently"))?;
        if path.as_str() != text {
            return Err(error(&format!("its normal form is `{}`", path.as_str())));
        }
        if text.contains('*') {
            return Err(error("it includes everything below it without a `*`"));
        }
        Ok(Self(text.strip_suffix('/').unwrap_or(text).into()))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl Rewrite {
    /// A rewrite for a route at `path`.
    ///
    /// # Errors
    /// At `strip_prefix` and `add_prefix`; also for a prefix that the route's paths don't all start with.
    pub fn build(path: &PathPrefix, strip: Option<&str>, add: Option<&str>) -> Result<Self, Vec<SettingsError>> {
        let mut problems = Vec::new();
        let mut read = |key, text: Option<&str>| {
            let prefix = text.map_or_else(|| Ok(PathPrefix::default()), str::parse);
            prefix.map_err(|problem| problems.push(SettingsError::at(key, problem))).unwrap_or_default()
        };
        let rewrite = Self { strip: read("strip_prefix", strip), add: read("add_prefix", add) };
        if !rewrite.strip.covers(path.as_str()) {
            let problem = format!("the route's paths start with `{path}`, not with `{}`", rewrite.strip);
            problems.push(SettingsError::at("strip_prefix", problem));
        }
        if problems.is_empty() { Ok(rewrite) } else { Err(problems) }
    }

    /// The path as the upstream sees it.
    pub fn apply<'p>(&self, path: &'p NormalPath<'_>) -> Cow<'p, str> {
        let path = path.as_str();
        let rest = self.strip.after(path).unwrap_or(path);
        match (self.add.as_str(), rest) {
            ("", "") => Cow::Borrowed("/"),
            ("", rest) => Cow::Borrowed(rest),
            (add, rest) => Cow::Owned([add, rest].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_change_on_segment_borders() {
        for (at, strip, add, path, upstream) in [
            ("/", None, None, "/a/b", "/a/b"),
            ("/app", Some("/app"), None, "/app/x", "/x"),
            ("/app", Some("/app"), None, "/app", "/"),
            ("/app", Some("/app/"), None, "/app/", "/"),
            ("/app", Some("/app"), Some("/base"), "/app/x/", "/base/x/"),
            ("/app", Some("/app"), Some("/base/"), "/app", "/base"),
            ("/", None, Some("/base"), "/", "/base/"),
            ("/a/b", Some("/a"), None, "/a/b/c", "/b/c"),
        ] {
            let rewrite = Rewrite::build(&at.parse().unwrap(), strip, add).unwrap();
            assert_eq!(rewrite.apply(&NormalPath::parse(path).unwrap()), upstream, "{at} {strip:?} {add:?} {path}");
        }
    }

    #[test]
    fn rewrites_that_do_not_fit_the_route_are_refused() {
        let keys = |at: &str, strip, add| {
            let problems = Rewrite::build(&at.parse().unwrap(), strip, add).err().unwrap_or_default();
            problems.into_iter().map(|p| p.key).collect::<Vec<_>>()
        };
        assert_eq!(keys("/app", Some("/other"), None), ["strip_prefix"]);
        assert_eq!(keys("/apple", Some("/app"), None), ["strip_prefix"]);
        assert_eq!(keys("/", Some("/app"), Some("x")), ["add_prefix", "strip_prefix"]);
        assert_eq!(keys("/", None, Some("/a/../b")), ["add_prefix"]);
    }
}

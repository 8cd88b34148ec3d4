//! What differs between two configs: what is said of it, what it takes away, and what only a restart can change.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use crate::config::{Config, ConfigErrors, RouteConfig, below};
use crate::identity::SourceName;

/// What differs.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// `route.wiki changed`, one entry each.
    pub(super) told: Vec<String>,
    /// What is in use until the end of the process. A key that nobody made changeable is among these: a reload that
    /// says it was done has done all of it.
    pub(super) fixed: ConfigErrors,
}

impl Changes {
    /// From `before` to `after`, which is read from `file`.
    pub(super) fn between(before: &Config, after: &Config, file: &Path) -> Self {
        let mut changes = Self::default();
        for (key, then, now) in differing(&before.written, &after.written) {
            changes.note(&key, then, now);
        }
        let now = after.surroundings.files();
        let then = before.surroundings.files();
        for named in now.changed_since(&then).filter(|named| named.file_name() != file.file_name()) {
            changes.told.push(format!("`{}` changed", named.display()));
        }
        changes
    }

    /// In one sentence.
    pub(super) fn sentence(&self) -> String {
        if self.told.is_empty() { "nothing changed".to_owned() } else { self.told.join(", ") }
    }

    /// Notes a top-level key that differs.
    fn note(&mut self, key: &str, then: Option<&Value>, now: Option<&Value>) {
        let (Some(then), Some(now)) = (table(then), table(now)) else {
            self.tell(key, then, now);
            return self.fix(key);
        };
        let is_listed = ["listen", "identity", "credentials", "endpoint", "route"].contains(&key);
        let is_service = ["provider", "authority"].contains(&key);
        if is_service && (then.is_empty() || now.is_empty()) {
            self.tell(key, then.values().next(), now.values().next());
            return self.fix(key);
        }
        for (name, was, is) in differing(then, now) {
            let path = below(key, &name);
            self.tell(&path, was, is);
            match key {
                "provider" | "authority" if name == "tls" => self.fix_presence(&path, was, is),
                _ if is_listed || CHANGEABLE.contains(&path.as_str()) => {}
                "authority" if name != "address" => {}
                "keys" | "limits" => {}
                _ => self.fix(&path),
            }
        }
    }

    fn tell(&mut self, path: &str, then: Option<&Value>, now: Option<&Value>) {
        let what = match (then, now) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        self.told.push(format!("{path} {what}"));
    }

    fn fix(&mut self, path: &str) {
        self.fixed.add(path, "has changed; restart claviger to use it");
    }

    /// What is there and stays there may change.
    fn fix_presence(&mut self, path: &str, then: Option<&Value>, now: Option<&Value>) {
        if then.is_some() != now.is_some() {
            self.fix(path);
        }
    }
}

/// What each side has under a key that is not the same in both.
fn differing<'a>(
    then: &'a Table,
    now: &'a Table,
) -> impl Iterator<Item = (String, Option<&'a Value>, Option<&'a Value>)> {
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let both = keys.into_iter().map(|key| (key.clone(), then.get(key), now.get(key)));
    both.filter(|(_, then, now)| then != now)
}

/// A section; one that is absent is empty.
fn table(value: Option<&Value>) -> Option<&Table> {
    static NONE: std::sync::LazyLock<Table> = std::sync::LazyLock::new(Table::new);
    match value {
        Some(Value::Table(table)) => Some(table),
        None => Some(&NONE),
        Some(_) => None,
    }
}

/// The `[credentials.*]` of roles that some people have lost. Where a rule has gone, nobody knows here whom it let have
/// which role: all that its provider issued goes with it. So it does where the name of a source stands for others now,
/// who must not find what was issued to their namesakes (A21): callers without a session leave nothing else to end.
pub(super) fn lost(before: &Config, after: &Config) -> BTreeSet<Arc<str>> {
    let strangers = strangers(before, after);
    let text = |config: &Config, name: &str| {
        config.written.get("route").and_then(|routes| routes.get(name)).and_then(Value::as_table).cloned()
    };
    let has_lost = |name: &Arc<str>| {
        let (Some(then), Some(now)) = (text(before, name), text(after, name)) else { return true };
        let rules = |table: &Table| match table.get("allow") {
            Some(Value::Array(rules)) => rules.clone(),
            Some(rule) => vec![rule.clone()],
            None => Vec::new(),
        };
        let there = rules(&now);
        let counts = |key: &str| !HARMLESS.contains(&key);
        rules(&then).iter().any(|rule| !there.contains(rule)) || differing(&then, &now).any(|(key, ..)| counts(&key))
    };
    let is_for_strangers = |route: &RouteConfig| match &route.identity {
        Some(names) => names.iter().any(|name| strangers.contains(name)),
        None => !strangers.is_empty(),
    };
    let with_role = before.route.iter().filter(|(_, route): &(&Arc<str>, &RouteConfig)| route.want.wants_role());
    let losing = with_role.filter(|(name, route)| is_for_strangers(route) || has_lost(name));
    losing.filter_map(|(_, route)| route.credentials.clone()).collect()
}

/// The sources whose word is worth nothing any more: they are not there, or another speaks by their name.
pub(super) fn gone(before: &Config, after: &Config) -> BTreeSet<SourceName> {
    let is_there = |name: &&SourceName| after.identity.contains_key(*name);
    let mut gone: BTreeSet<_> = before.identity.keys().filter(|name| !is_there(name)).cloned().collect();
    gone.extend(strangers(before, after));
    gone
}

/// The sources of which another issuer speaks now, or the same one to another client: it may call others by the same
/// `sub` (OpenID Connect Core §8). So are those that take another part of what is shown for the name.
fn strangers(before: &Config, after: &Config) -> BTreeSet<SourceName> {
    let speaks = |table: &Table| SPEAKER.map(|key| table.get(key).cloned());
    let is_other = |name: &SourceName, now: &Table| before.identity.get(name).is_some_and(|t| speaks(t) != speaks(now));
    after.identity.iter().filter(|(name, now)| is_other(name, now)).map(|(name, _)| Arc::clone(name)).collect()
}

/// What, beside sections that are built anew, can change while claviger runs.
const CHANGEABLE: [&str; 10] = [
    "log.access",
    "log.level",
    "provider.client",
    "provider.signing_key",
    "provider.users",
    "server.drain",
    "server.watch",
    "server.watch_every",
    "session.idle",
    "session.lifetime",
];

/// What of a route has nothing to do with who may have which role. A key that is not among these may have.
const HARMLESS: [&str; 13] = [
    "add_prefix",
    "allow", // looked at rule by rule
    "cors_preflight",
    "host",
    "inject",
    "limits",
    "pass_authorization",
    "path",
    "preserve_host",
    "strip_prefix",
    "timeouts",
    "tolerate",
    "upstream",
];

/// What says who speaks in an `[identity.*]`, and which of their words is the name.
const SPEAKER: [&str; 7] =
    ["kind", "issuer", "client_id", "entity_id", "subject", "subject_attribute", "subject_claim"];

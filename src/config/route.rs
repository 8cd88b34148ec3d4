//! `[route.<name>]`: which requests go where, who may send them, and what is put on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

use super::error::{ConfigErrors, below};
use super::file;
use super::upstream::{UpstreamConfig, upstream};
use super::{section_name, some_time};
use crate::built_in::Surroundings;
use crate::policy::{AllowSettings, Oddities, WantSettings};
use crate::route::{HostPattern, PathPrefix, Rewrite, is_ours};
use crate::upstream::Bounds;
use crate::web::ByteCount;

/// One route.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// The hosts it is for.
    pub hosts: Vec<HostPattern>,
    /// The path it starts at; `/` where none is written.
    pub path: PathPrefix,
    /// Where its requests go.
    pub upstream: UpstreamConfig,
    /// How long the upstream may take for what, and how much goes there.
    pub bounds: Bounds,
    /// Who may pass.
    pub allow: AllowSettings,
    /// The `[identity.*]` that count here, each of which exists; none named: all that are presented.
    pub identity: Option<Vec<Arc<str>>>,
    /// The `[credentials.*]` that issues for this route, which exists: the one that is named, else the only one.
    pub credentials: Option<Arc<str>>,
    /// What it wants of STS.
    pub want: WantSettings,
    /// The injectors in order, each with its key path and table.
    pub inject: Vec<(String, Table)>,
    /// How the path changes on its way.
    pub rewrite: Rewrite,
    /// Forms of paths that its upstream takes to the letter.
    pub tolerated: Oddities,
    /// Whether the upstream sees the client's `Host`; absent: unless something signs for the upstream's own.
    pub preserve_host: Option<bool>,
    /// Whether CORS preflights pass without a login.
    pub cors_preflight: bool,
    /// Whether the upstream sees the client's own `Authorization`.
    pub pass_authorization: bool,
}

impl RouteConfig {
    /// Whether those count here for whom `[identity.<name>]` vouches.
    pub fn counts(&self, name: &Arc<str>) -> bool {
        self.identity.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// What a route may refer to.
pub(super) struct Sections<'a> {
    pub(super) identity: &'a BTreeMap<Arc<str>, Table>,
    pub(super) credentials: &'a BTreeMap<Arc<str>, Table>,
    /// Whether there must be one: a sidecar and an agent need none.
    pub(super) is_needed: bool,
    pub(super) surroundings: &'a Surroundings,
}

/// The routes. In place of what is wrong stands something harmless, so that what else is wrong with the route is found.
pub(super) fn routes(
    routes: BTreeMap<String, file::Route>,
    sections: &Sections<'_>,
    errors: &mut ConfigErrors,
) -> BTreeMap<Arc<str>, RouteConfig> {
    if routes.is_empty() && sections.is_needed {
        errors.add_missing("route", "at least one section like [route.wiki], with `host`, `upstream` and `allow`");
    }
    let read = routes.into_iter().map(|(name, shape)| {
        let path = section_name("route", &name, errors);
        (name.into(), route(shape, &path, sections, errors))
    });
    read.collect()
}

fn route(shape: file::Route, path: &str, sections: &Sections<'_>, errors: &mut ConfigErrors) -> RouteConfig {
    let at = |key: &str| below(path, key);
    let hosts = hosts(shape.host, &at("host"), errors);
    let upstream = upstream(shape.upstream, &at("upstream"), sections.surroundings, errors);
    if shape.allow.is_none() {
        let expected = r#""anyone", "signed-in", a rule such as { groups = ["finance"] }, or a list of rules"#;
        errors.add_missing(&at("allow"), expected);
    }
    let inject = shape.inject.map_or_else(Vec::new, |inject| injectors(inject, &at("inject"), errors));
    let identity = shape.identity.map(|named| sources(&named, &at("identity"), sections.identity, errors));
    let credentials = provider(shape.credentials, &at("credentials"), sections.credentials, errors);
    if credentials.is_none() && (shape.role.is_some() || !shape.roles.is_empty()) {
        errors.add_missing(&at("credentials"), &names("credentials", sections.credentials));
    }
    let prefix: Option<PathPrefix> = match shape.path {
        None => Some(PathPrefix::default()),
        Some(text) => errors.keep(at("path"), text.parse()),
    };
    if prefix.as_ref().is_some_and(|prefix| is_ours(prefix.as_str())) {
        errors.add(at("path"), "is claviger's own on every host; expected one that is not below /.claviger");
    }
    let rewrite = prefix.as_ref().and_then(|prefix| {
        Rewrite::build(prefix, shape.strip_prefix.as_deref(), shape.add_prefix.as_deref())
            .map_err(|problems| problems.into_iter().for_each(|problem| errors.add_settings(path, problem)))
            .ok()
    });
    RouteConfig {
        hosts: hosts.unwrap_or_default(),
        path: prefix.unwrap_or_default(),
        upstream,
        bounds: bounds(&shape.timeouts, &shape.limits, path, errors),
        allow: shape.allow.unwrap_or(AllowSettings::SignedIn),
        identity,
        credentials,
        want: WantSettings {
            role: shape.role,
            roles: shape.roles,
            session_name: shape.session_name,
            tags: shape.tags,
            transitive_tags: shape.transitive_tags,
            source_identity: shape.source_identity,
            duration: shape.duration,
            through: shape.through,
            external_id: shape.external_id,
            policy: shape.policy,
            policy_arns: shape.policy_arns,
        },
        inject,
        rewrite: rewrite.unwrap_or_default(),
        tolerated: shape.tolerate.into_iter().collect(),
        preserve_host: shape.preserve_host,
        cors_preflight: shape.cors_preflight.unwrap_or(false),
        pass_authorization: shape.pass_authorization.unwrap_or(false),
    }
}

fn bounds(timeouts: &file::Timeouts, limits: &file::Limits, path: &str, errors: &mut ConfigErrors) -> Bounds {
    if limits.body == Some(ByteCount(0)) {
        errors.add(below(path, "limits.body"), "is 0, with which no body passes; expected something like 100MiB");
    }
    let path = below(path, "timeouts");
    let mut read =
        |key: &str, written: Option<Duration>| written.map(|length| some_time(&below(&path, key), length, errors));
    Bounds {
        connect: read("connect", timeouts.connect).unwrap_or(CONNECT),
        first_byte: read("first_byte", timeouts.first_byte).unwrap_or(FIRST_BYTE),
        idle: read("idle", timeouts.idle).unwrap_or(IDLE),
        total: read("total", timeouts.total),
        body: limits.body.map(|ByteCount(bytes)| bytes),
    }
}

/// One host or several.
fn hosts(shape: Option<file::Hosts>, path: &str, errors: &mut ConfigErrors) -> Option<Vec<HostPattern>> {
    match shape {
        None => {
            errors.add_missing(path, "a host such as wiki.example.com or *.example.com");
            None
        }
        Some(file::Hosts::One(text)) => Some(vec![errors.keep(path, text.parse())?]),
        Some(file::Hosts::Many(texts)) => {
            if texts.is_empty() {
                errors.add(path, "is an empty list; expected at least one host");
            }
            let read = |(i, text): (usize, &String)| errors.keep(format!("{path}[{i}]"), text.parse());
            let hosts: Vec<_> = texts.iter().enumerate().filter_map(read).collect();
            (hosts.len() == texts.len()).then_some(hosts)
        }
    }
}

/// One table, or a list of tables.
fn injectors(inject: Value, path: &str, errors: &mut ConfigErrors) -> Vec<(String, Table)> {
    const EXPECTED: &str = "expected a table such as { kind = \"headers\", … }, or a list of them";
    match inject {
        Value::Table(table) => vec![(path.to_owned(), table)],
        Value::Array(list) => list
            .into_iter()
            .enumerate()
            .filter_map(|(i, entry)| match entry {
                Value::Table(table) => Some((format!("{path}[{i}]"), table)),
                other => {
                    errors.add(format!("{path}[{i}]"), format!("is {}; {EXPECTED}", article(&other)));
                    None
                }
            })
            .collect(),
        other => {
            errors.add(path, format!("is {}; {EXPECTED}", article(&other)));
            Vec::new()
        }
    }
}

/// The sources a route names.
fn sources(
    named: &[String],
    path: &str,
    known: &BTreeMap<Arc<str>, Table>,
    errors: &mut ConfigErrors,
) -> Vec<Arc<str>> {
    if named.is_empty() {
        errors.add(path, "is an empty list; leave the key out, or name at least one");
    }
    let found = named.iter().enumerate().filter_map(|(i, name)| match known.get_key_value(name.as_str()) {
        Some((name, _)) => Some(Arc::clone(name)),
        None => {
            errors.add(
                format!("{path}[{i}]"),
                format!("there is no [identity.{name}]; expected {}", names("identity", known)),
            );
            None
        }
    });
    found.collect()
}

/// The provider a route names, or the only one there is.
fn provider(
    named: Option<String>,
    path: &str,
    known: &BTreeMap<Arc<str>, Table>,
    errors: &mut ConfigErrors,
) -> Option<Arc<str>> {
    let mut names_of_known = known.keys();
    match (named, names_of_known.next(), names_of_known.next()) {
        (None, Some(only), None) => Some(Arc::clone(only)),
        (None, ..) => None,
        (Some(name), ..) => {
            let found = known.get_key_value(name.as_str()).map(|(name, _)| Arc::clone(name));
            if found.is_none() {
                errors.add(path, format!("there is no [credentials.{name}]; expected {}", names("credentials", known)));
            }
            found
        }
    }
}

/// What may be meant.
pub(super) fn names(section: &str, known: &BTreeMap<Arc<str>, Table>) -> String {
    if known.is_empty() {
        return format!("the name of a section [{section}.<name>], of which there is none yet");
    }
    format!("one of: {}", known.keys().map(AsRef::as_ref).collect::<Vec<&str>>().join(", "))
}

fn article(value: &Value) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// A handshake that takes longer will not come to anything.
const CONNECT: Duration = Duration::from_secs(5);
/// Reports take their time; a minute is what load balancers wait by default.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// Event streams send something every few seconds, or are gone.
const IDLE: Duration = Duration::from_secs(300);

//! `claviger check FILE`

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::app::look_at;
use crate::built_in::Environment;
use crate::config::{Config, ConfigErrors, RouteConfig};
use crate::generation::Generation;
use crate::route::Route;
use crate::tls::ClientAuth;

pub(super) mod columns;
mod sources;

use columns::Columns;
use sources::Source;

/// Read a config file, build everything in it and bind nothing; say what would run, or all that is wrong.
///
/// Exits with 0 for a sound config and with 2 for any other; with 1 where an identity provider that was asked is off.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The config file (TOML); `config/reference.toml` explains every key.
    file: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
    /// Ask each identity provider for what a login needs, such as SAML metadata, and say which of them are off.
    #[arg(long)]
    online: bool,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let (config, generation) = match look_at(&self.file, &Environment::of_this_process()) {
            Ok(sound) => sound,
            Err(errors) => return refuse(&self.file, &errors, self.json),
        };
        let sources = match sources::all(&config, &generation, self.online) {
            Ok(sources) => sources,
            Err(error) => {
                eprintln!("claviger: nobody can be asked: {error}");
                return ExitCode::FAILURE;
            }
        };
        if self.json {
            tell(&pretty(&as_json(&config, &generation, &sources)));
        } else {
            let summary = summary(&config, &generation, &sources);
            tell(&format!("{} is sound.\n\n{summary}", self.file.display()));
        }
        if sources.iter().any(Source::is_off) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Says what is wrong with a config, and that it is bad input.
pub(super) fn refuse(file: &Path, errors: &ConfigErrors, as_json: bool) -> ExitCode {
    if as_json {
        let list: Vec<_> = errors
            .iter()
            .map(|error| json!({"path": error.path, "problem": error.problem, "line": error.line}))
            .collect();
        tell(&pretty(&json!({"sound": false, "errors": list})));
    } else {
        let count = match errors.iter().count() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        eprintln!("{}: {count}", file.display());
        errors.iter().for_each(|error| eprintln!("  {error}"));
    }
    ExitCode::from(2)
}

/// Writes to standard output. That nobody reads on, as in `… | head -1`, is no failure.
pub(super) fn tell(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// JSON for programs, and for people who look on.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn summary(config: &Config, generation: &Generation, sources: &[Source]) -> String {
    let mut text = String::new();
    let mut listeners = Columns::indented();
    for (name, listen) in &config.listen {
        let tls = match (&listen.tls, &listen.clients) {
            (None, _) => "http",
            (Some(_), None) => "https",
            (Some(_), Some(clients)) if clients.required => "https, with client certificates only,",
            (Some(_), Some(_)) => "https, with client certificates or without,",
        };
        let known =
            listen.public_url.as_ref().map_or_else(|| "no public_url".to_owned(), |url| format!("known as {url}"));
        listeners.row([name.to_string(), format!("{tls} on {}", listen.address), known]);
    }
    for (section, address, tls) in others(config) {
        let scheme = if tls { "https" } else { "http" };
        listeners.row([format!("({section})"), format!("{scheme} on {address}"), String::new()]);
    }
    if !listeners.is_empty() {
        let _ = write!(text, "Listeners\n{listeners}");
    }
    if !sources.is_empty() {
        let mut rows = Columns::indented();
        sources.iter().for_each(|source| rows.row(source.columns()));
        let _ = write!(text, "\nIdentity\n{rows}");
    }
    if !config.route.is_empty() {
        text.push_str("\nRoutes\n");
    }
    for route in generation.routes.iter() {
        let Some(written) = config.route.get(&route.name) else { continue };
        let _ = writeln!(text, "  {}", route.name);
        let mut rows = Columns::indented_by(4);
        rows.row(["from".into(), from(route).join(", ")]);
        rows.row(["to".into(), to(written)]);
        for (rule, takes) in route.policy.rules() {
            rows.row([rule.to_owned(), takes]);
        }
        if let (true, Some(credentials)) = (written.want.wants_role(), &route.credentials) {
            written.want.role.iter().for_each(|role| rows.row(["role".into(), role.clone()]));
            for offered in &written.want.roles {
                rows.row([format!("role {}", offered.name), offered.role.clone()]);
            }
            rows.row(["credentials".into(), named_kind(credentials, config.credentials.get(credentials))]);
        }
        if !written.inject.is_empty() {
            rows.row(["inject".into(), injected(written).join(", ")]);
        }
        let _ = write!(text, "{rows}");
    }
    text.push_str(&profiles(config));
    text.trim_start_matches('\n').to_owned()
}

fn profiles(config: &Config) -> String {
    if config.profile.is_empty() {
        return String::new();
    }
    let mut rows = Columns::indented();
    for (name, profile) in &config.profile {
        let role = profile.want.role.clone().unwrap_or_default();
        let by = named_kind(&profile.credentials, config.credentials.get(&profile.credentials));
        rows.row([name.to_string(), role, format!("at {}, by {by}", profile.identity)]);
    }
    format!("\nProfiles\n{rows}")
}

/// What listens beside the listeners.
fn others(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr, bool)> {
    let others = [
        ("admin", config.admin.map(|address| (address, false))),
        ("provider", config.provider.as_ref().map(|service| (service.address, service.tls.is_some()))),
        ("authority", config.authority.as_ref().map(|service| (service.address, service.tls.is_some()))),
    ];
    others.into_iter().filter_map(|(section, at)| at.map(|(address, tls)| (section, address, tls)))
}

fn as_json(config: &Config, generation: &Generation, sources: &[Source]) -> Value {
    let listeners: Vec<_> = config
        .listen
        .iter()
        .map(|(name, listen)| {
            json!({
                "name": &**name,
                "address": listen.address.to_string(),
                "tls": listen.tls.is_some(),
                "client_auth": listen.clients.as_ref().map(asked),
                "public_url": listen.public_url.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let routes: Vec<_> = generation
        .routes
        .iter()
        .filter_map(|route| {
            let written = config.route.get(&route.name)?;
            let rules: Vec<_> =
                route.policy.rules().map(|(rule, takes)| json!({"rule": rule, "takes": takes})).collect();
            Some(json!({
                "name": &*route.name,
                "from": from(route),
                "to": to(written),
                "allow": rules,
                "role": written.want.role,
                "roles": written.want.roles.iter().map(|offered| json!({"name": offered.name, "role": offered.role}))
                    .collect::<Vec<_>>(),
                "credentials": route.credentials.as_deref().filter(|_| written.want.wants_role()),
                "inject": injected(written),
            }))
        })
        .collect();
    let other = |(section, at, tls)| json!({"section": section, "address": at, "tls": tls});
    let others: Vec<_> = others(config).map(other).collect();
    json!({
        "sound": true,
        "listeners": listeners,
        "others": others,
        "identity": sources.iter().map(Source::as_json).collect::<Vec<_>>(),
        "routes": routes,
    })
}

/// As `client_auth` has it.
fn asked(clients: &ClientAuth) -> &'static str {
    if clients.required { "required" } else { "optional" }
}

/// `reports.example.com/app`, for each host.
fn from(route: &Route) -> Vec<String> {
    route.hosts.iter().map(|host| format!("{host}{}", route.path)).collect()
}

fn to(written: &RouteConfig) -> String {
    if written.upstream.as_asked && written.upstream.addresses.is_empty() {
        return "the host that is asked for".to_owned();
    }
    written.upstream.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The kinds of a route's injectors.
pub(super) fn injected(written: &RouteConfig) -> Vec<&str> {
    written.inject.iter().filter_map(|(_, table)| table.get("kind")?.as_str()).collect()
}

fn named_kind(name: &str, table: Option<&toml::Table>) -> String {
    match table.and_then(|table| table.get("kind")?.as_str()) {
        Some(kind) => format!("{name} ({kind})"),
        None => name.to_owned(),
    }
}

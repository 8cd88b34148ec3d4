//! The config file, typed.
//!
//! It is read in two steps: the file's shape, in which nothing is required, then our types, in which nothing
//! is in doubt. Whatever is wrong is found in one go, each with its key path. The tables of kinds (`[identity.*]`,
//! `[credentials.*]`, `inject`) are kept as they are: [`generation`](crate::generation) builds them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};
use tracing_subscriber::filter::LevelFilter;

use crate::authority::AuthoritySettings;
use crate::built_in::{Environment, Surroundings};
use crate::provider::ProviderSettings;
use crate::session::{SessionSettings, StoreKind};
use crate::telemetry::Format;
use crate::trace::Setup;

mod error;
mod file;
pub mod keys;
mod limits;
mod lines;
mod listen;
mod profile;
mod public_url;
mod route;
mod service;
mod sessions;
mod shape;
mod tracing;
mod upstream;

pub use error::{ConfigError, ConfigErrors, below, is_at_or_below};
pub use keys::Keys;
pub use limits::LimitSettings;
pub use listen::{Listen, TlsFiles};
pub use profile::ProfileConfig;
pub use public_url::PublicUrl;
pub use route::RouteConfig;
pub use service::Service;
pub use upstream::UpstreamConfig;

/// A config.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where relative paths and variables come from.
    pub surroundings: Surroundings,
    /// The file's text, in which faults are located.
    pub text: Arc<str>,
    /// The file, as it is written.
    pub written: Table,
    /// Where what must outlive the process is kept: keys that were made.
    pub state_dir: PathBuf,
    /// How many threads serve; absent: one for each core.
    pub workers: Option<usize>,
    /// How long requests under way may take to finish when claviger stops.
    pub drain: Duration,
    /// How often the files of the config are looked at for changes; absent: never.
    pub watch: Option<Duration>,
    /// `[listen.<name>]`; at least one where there is no endpoint and no profile.
    pub listen: BTreeMap<Arc<str>, Listen>,
    /// `[admin] address`: health and metrics; absent: none.
    pub admin: Option<SocketAddr>,
    /// `[log] level`, of our own events.
    pub log_level: LevelFilter,
    /// `[log] access`: a line for each request.
    pub log_access: bool,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[log] format`, of all lines.
    pub log_format: Format,
    /// `[telemetry]`; absent: nothing is recorded.
    pub tracing: Option<Setup>,
    /// `[keys]`.
    pub keys: Keys,
    /// `[session]`.
    pub session: SessionSettings,
    /// `[identity.<name>]`, as they are written.
    pub identity: BTreeMap<Arc<str>, Table>,
    /// `[credentials.<name>]`, as they are written.
    pub credentials: BTreeMap<Arc<str>, Table>,
    /// `[endpoint.<name>]`, as they are written.
    pub endpoint: BTreeMap<Arc<str>, Table>,
    /// `[route.<name>]`.
    pub route: BTreeMap<Arc<str>, RouteConfig>,
    /// `[profile.<name>]`, for the agent.
    pub profile: BTreeMap<Arc<str>, ProfileConfig>,
    /// `[provider]`: our own OpenID provider.
    pub provider: Option<Service<ProviderSettings>>,
    /// `[authority]`: our own security token service.
    pub authority: Option<Service<AuthoritySettings>>,
}

/// A file that was read: what could be understood, and what could not.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The config without what is wrong in it. It is only to be used where `errors` is empty; until then it serves to
    /// find what else is wrong.
    pub config: Config,
    /// What is wrong.
    pub errors: ConfigErrors,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that can't be read or isn't TOML; anything else is in [`Reading::errors`].
    pub fn read(file: &Path, environment: &Environment) -> Result<Reading, ConfigErrors> {
        // `claviger.toml` alone has the empty parent
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let surroundings = Surroundings::new(folder, environment.clone());
        let file = file.file_name().map_or_else(|| file.to_owned(), |name| surroundings.path(Path::new(name)));
        let text = std::fs::read_to_string(file).map_err(|e| unreadable(&e))?;
        Self::parse(&text, surroundings)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// A text that isn't TOML; anything else is in [`Reading::errors`].
    pub fn parse(text: &str, surroundings: Surroundings) -> Result<Reading, ConfigErrors> {
        let table = text.parse::<Table>().map_err(|e| not_toml(text, &e))?;
        let mut errors = ConfigErrors::default();
        let file: file::File = shape::read(table.clone(), "", &mut errors).unwrap_or_default();
        let config = Self { text: text.into(), written: table, ..Self::from_file(file, surroundings, &mut errors) };
        Ok(Reading { config, errors })
    }

    fn from_file(file: file::File, surroundings: Surroundings, errors: &mut ConfigErrors) -> Self {
        let state_dir = state_dir(file.state_dir, &surroundings);
        let has_proxy = file.endpoint.is_empty() && file.profile.is_empty();
        let listen = listen::listeners(file.listen, has_proxy, &surroundings, errors);
        let admin = file.admin.address.and_then(|text| listen::address(Some(&text), "admin.address", errors));
        if file.server.workers == Some(0) {
            errors.add("server.workers", "is 0; expected at least 1, or no `workers` for one a core");
        }
        let watch_every = some_time("server.watch_every", file.server.watch_every.unwrap_or(WATCH_EVERY), errors);
        let level = file.log.level.and_then(|level| errors.keep("log.level", log_level(&level)));
        let format = file.log.format.and_then(|format| errors.keep("log.format", format.parse::<Format>()));
        let mut sections = |section: &str, tables: BTreeMap<String, Table>| {
            let named = tables.into_iter().map(|(name, table)| {
                section_name(section, &name, errors);
                (name.into(), table)
            });
            named.collect()
        };
        let (identity, credentials): (BTreeMap<Arc<str>, Table>, BTreeMap<_, Table>) =
            (sections("identity", file.identity), sections("credentials", file.credentials));
        let endpoint: BTreeMap<Arc<str>, Table> = sections("endpoint", file.endpoint);
        let limits = limits::read(file.limits, errors);
        let session: SessionSettings = shape::read(file.session, "session", errors).unwrap_or_default();
        for (key, problem) in session.problems() {
            errors.add(below("session", key), problem);
        }
        if session.kind == StoreKind::Redis && file.keys.session.is_empty() {
            errors.add("keys.session", SHARED_KEYS);
        }
        if session.kind == StoreKind::Redis && file.keys.cookie.is_empty() {
            errors.add("keys.cookie", SHARED_KEYS);
        }
        let mints = credentials.values().any(|table| is_of_kind(table, "minted"));
        if session.kind == StoreKind::Redis && file.keys.minted.is_empty() && mints {
            errors.add("keys.minted", SHARED_KEYS);
        }
        let provider: Option<Service<ProviderSettings>> =
            service::read(file.provider, "provider", &surroundings, errors);
        let authority: Option<Service<AuthoritySettings>> =
            service::read(file.authority, "authority", &surroundings, errors);
        let sections = listen.iter().map(|(name, listen)| (format!("listen.{name}"), listen.address));
        let others = [
            ("admin", admin),
            ("provider", provider.as_ref().map(|service| service.address)),
            ("authority", authority.as_ref().map(|service| service.address)),
        ];
        let others = others.into_iter().filter_map(|(section, address)| Some((section.to_owned(), address?)));
        listen::each_its_own(sections.chain(others), errors);
        let known = route::Sections {
            identity: &identity,
            credentials: &credentials,
            is_needed: has_proxy,
            surroundings: &surroundings,
        };
        let route = route::routes(file.route, &known, errors);
        let profile = profile::profiles(file.profile, &identity, &credentials, errors);
        let mut injectors = route.values().flat_map(|route| &route.inject);
        let vouches = injectors.any(|(_, table)| is_of_kind(table, "identity_jwt"));
        if session.kind == StoreKind::Redis && file.keys.identity.is_empty() && vouches {
            errors.add("keys.identity", SHARED_KEYS);
        }
        Self {
            state_dir,
            workers: file.server.workers,
            drain: file.server.drain.unwrap_or(DRAIN),
            watch: file.server.watch.unwrap_or(true).then_some(watch_every),
            listen,
            admin,
            log_level: level.unwrap_or(LevelFilter::INFO),
            log_access: file.log.access.unwrap_or(true),
            log_format: format.unwrap_or_default(),
            tracing: tracing::read(file.telemetry, errors),
            keys: Keys {
                cookie: file.keys.cookie,
                minted: file.keys.minted,
                identity: file.keys.identity,
                session: file.keys.session,
            },
            limits,
            session,
            route,
            profile,
            identity,
            credentials,
            endpoint,
            provider,
            authority,
            surroundings,
            text: "".into(),
            written: Table::new(),
        }
    }
}

impl Reading {
    /// The config, where nothing is wrong with it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn sound(self) -> Result<Config, ConfigErrors> {
        let Self { config, errors } = self;
        if errors.is_empty() { Ok(config) } else { Err(errors.located(&config.text)) }
    }
}

fn is_of_kind(table: &Table, kind: &str) -> bool {
    table.get("kind").and_then(Value::as_str) == Some(kind)
}

/// The path of a section, and an error where its name is none: it becomes a label, a log field and part of key paths.
fn section_name(section: &str, name: &str, errors: &mut ConfigErrors) -> String {
    let path = below(section, name);
    let ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !ok {
        errors.add(&path, "is no name for a section; expected lower-case letters, digits and -");
    }
    path
}

/// The length of time, and an error where it is over before anything can happen.
fn some_time(path: &str, length: Duration, errors: &mut ConfigErrors) -> Duration {
    if length.is_zero() {
        errors.add(path, "is no time at all; expected something like 30s or 15m");
    }
    length
}

/// As systemd gives it, else as the XDG base directory specification has it; the config's own wins.
fn state_dir(configured: Option<PathBuf>, surroundings: &Surroundings) -> PathBuf {
    let variable = |name: &str| surroundings.environment.value(name).filter(|value| !value.is_empty());
    let folder = configured
        .map(|path| surroundings.folder.join(path))
        // systemd.exec(5): several are separated by colons
        .or_else(|| variable("STATE_DIRECTORY").and_then(|list| list.split(':').next()).map(PathBuf::from))
        .or_else(|| variable("XDG_STATE_HOME").map(|home| Path::new(home).join("claviger")))
        .or_else(|| variable("HOME").map(|home| Path::new(home).join(".local/state/claviger")));
    folder.unwrap_or_else(|| surroundings.folder.join("state"))
}

fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(format!("`{text}` is no level; it may be one of: off, error, warn, info, debug, trace")),
    }
}

fn unreadable(error: &io::Error) -> ConfigErrors {
    let mut errors = ConfigErrors::default();
    errors.add("", format!("the file can't be read: {error}"));
    errors
}

/// Where and why, without the line itself, which may hold a secret somebody put there (A36).
fn not_toml(text: &str, error: &toml::de::Error) -> ConfigErrors {
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
    let (line, column) =
        (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
    let mut errors = ConfigErrors::default();
    errors.add("", format!("line {line}, column {column}: {}", error.message().trim_end().replace('\n', ", ")));
    errors
}

const SHARED_KEYS: &str = "is missing; with sessions in Redis, all instances need the same keys";

/// Long enough for a slow page; systemd itself waits for 90 s before it kills.
const DRAIN: Duration = Duration::from_secs(30);
/// Soon enough for a certificate that is renewed weeks ahead and for a person who waits; next to nothing for a disk.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;

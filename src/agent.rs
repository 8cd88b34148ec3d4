//! `claviger agent`: one login on a developer's machine serves every tool.
//!
//! There is one for each user. It alone has the refresh tokens of their logins and the credentials made of them; tools ask
//! for those over a Unix socket that nobody else can use. Logins are kept as a server keeps its sessions: sealed, renewed
//! once however many ask, and still there after a crash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use toml::Value;

use crate::broker::Broker;
use crate::built_in::Environment;
use crate::clock::{Clock, rfc3339};
use crate::config::keys::{KeepError, Purpose, kept};
use crate::config::{Config, ConfigErrors};
use crate::credentials::{Credentials, IssueError};
use crate::fetch::Fetch;
use crate::generation::{Generation, Parts, Profile};
use crate::identity::Identity;
use crate::policy::{Ask, Denied, Grant, NormalPath, Wanted};
use crate::secret::{Sealer, Secret};
use crate::session::{OpenError, Place, SessionSettings, Sessions, StoreKind};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::upstream::Upstreams;

mod answers;
mod client;
mod door;
mod errand;
mod home;
mod logins;
mod loopback;

pub use answers::{Keys, LoginStatus, ProfileStatus, Refused, Status, Underway};
pub use client::{Client, ClientError};
pub use door::serve;
pub use errand::Errand;
pub use home::{Home, HomeError};

use logins::Logins;

/// The agent.
#[derive(Debug)]
pub struct Agent {
    home: Home,
    generation: Generation,
    logins: Logins,
    broker: Broker,
    sessions: Arc<Sessions>,
    clock: Arc<dyn Clock>,
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config can't be used.
    #[error("the config can't be used:\n{0}")]
    Config(ConfigErrors),
    /// It has no profiles.
    #[error("`{}` has no [profile.<name>], and so nothing to ask an agent for", .0.display())]
    NoProfiles(PathBuf),
    /// Where things are is not safe, or can't be said.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The key that seals logins can't be kept.
    #[error("the state folder can't be used")]
    Key(#[from] KeepError),
    /// Logins can't be kept.
    #[error("logins can't be kept")]
    Sessions(#[from] OpenError),
    /// Another agent of this user is running.
    #[error("an agent is running already, at `{}`", .0.display())]
    Running(PathBuf),
    /// The socket can't be had.
    #[error("`{}` can't be listened on", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Keys for a profile.
#[derive(Debug)]
struct Held {
    grant: Arc<Grant>,
    credentials: Arc<Credentials>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
enum NotHeld {
    #[error("there is no profile `{0}`; `claviger profiles` lists those there are")]
    NoProfile(String),
    #[error("nobody is logged in; run `claviger login {0}`")]
    LoginWanted(String),
    #[error("{0}")]
    Denied(Denied),
    #[error("no credentials for the role `{role}`")]
    Issue {
        role: String,
        #[source]
        source: Arc<IssueError>,
    },
}

impl Agent {
    /// Builds all that the config says, and finds the logins that an agent before has kept.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(home: Home, environment: &Environment, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        home.check()?;
        let metrics = Metrics::new();
        let trust = Trust::system();
        let parts = Parts {
            clock: Arc::clone(&clock),
            fetch: Arc::new(Fetch::new(&trust)),
            trust,
            upstreams: Arc::new(Upstreams::unchecked()),
            mint: None,
            identity_issuer: None,
            metrics: metrics.clone(),
        };
        let (config, generation) =
            Generation::load(&home.config, environment, |_, _| parts).map_err(StartError::Config)?;
        if generation.profiles.is_empty() {
            return Err(StartError::NoProfiles(home.config.clone()));
        }
        let folder = config.state_dir.join("agent");
        let key = kept(&folder, Purpose::Session, || Ok(Secret::random(32)))?;
        let sealer = Arc::new(Sealer::new(&[key]).unwrap_or_else(Sealer::random));
        let place = Place::File { folder: folder.join("logins"), sealer };
        let sessions = match Sessions::kept_in(&settings(&config), place, Arc::clone(&clock), &metrics) {
            // who keeps logins there is an agent
            Err(OpenError::InUse(_)) => return Err(StartError::Running(home.socket)),
            sessions => sessions?,
        };
        sessions.settled().await;
        sessions.use_sources(generation.sources.clone()).await;
        let broker = Broker::new(Arc::clone(&clock), metrics, tokio::runtime::Handle::current(), GRANTS);
        broker.use_providers(generation.providers.clone(), |_| true);
        sessions.on_end({
            let broker = broker.clone();
            move |holder| broker.release(&holder)
        });
        let logins = Logins::new(Arc::clone(&sessions), &generation, &folder, Arc::clone(&clock)).await;
        Ok(Arc::new(Self { home, generation, logins, broker, sessions, clock }))
    }

    /// Keeps what there is to keep.
    pub async fn close(&self) {
        self.sessions.close().await;
    }

    /// Keys for a profile: those at hand, or new ones. It waits for STS and for nobody else.
    async fn keys(&self, name: &str) -> Result<Held, NotHeld> {
        let profile = self.profile(name)?;
        let wanted = || NotHeld::LoginWanted(name.to_owned());
        let identity = self.logins.identity(&profile.source).await.ok_or_else(wanted)?;
        let now = self.clock.now();
        let grant = self.grant(profile, &identity, now).map_err(NotHeld::Denied)?;
        let provider = self.generation.providers.get(&grant.provider).ok_or_else(wanted)?;
        if let Some(credentials) = self.broker.fresh(&grant, &identity.holder, provider, now) {
            return Ok(Held { grant, credentials });
        }
        match self.broker.credentials(&grant, &identity.holder, provider).await {
            Ok(credentials) => Ok(Held { grant, credentials }),
            Err(error) if matches!(*error, IssueError::EvidenceExpired) => Err(wanted()),
            Err(source) => Err(NotHeld::Issue { role: grant.role.to_string(), source }),
        }
    }

    fn profile(&self, name: &str) -> Result<&Profile, NotHeld> {
        self.generation.profiles.get(name).ok_or_else(|| NotHeld::NoProfile(name.to_owned()))
    }

    fn grant(&self, profile: &Profile, identity: &Identity, now: SystemTime) -> Result<Arc<Grant>, Denied> {
        let path = NormalPath::parse("/").map_err(|error| Denied::Forbidden(error.to_string()))?;
        let ask = Ask {
            identity: Some(identity),
            method: &Method::GET,
            path: &path,
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
            role: Wanted::Any,
            now,
        };
        let permit = profile.policy.decide(ask)?;
        permit.grant().cloned().ok_or(Denied::Anonymous)
    }

    /// Who is logged in, and what each profile would be.
    async fn status(&self) -> Status {
        let now = self.clock.now();
        let mut logins = Vec::new();
        let asked: std::collections::BTreeSet<_> = self.generation.profiles.values().map(|it| &it.source).collect();
        for source in asked {
            let identity = self.logins.identity(source).await;
            logins.push(LoginStatus {
                identity: source.to_string(),
                subject: identity.as_ref().map(|identity| identity.subject.id.to_string()),
                name: identity.as_ref().and_then(|who| NAMES.iter().find_map(|name| who.claims.text(name))),
                ends: identity.as_ref().map(|identity| rfc3339(identity.ends_at)),
            });
        }
        let mut profiles = Vec::new();
        for (name, profile) in &self.generation.profiles {
            let identity = self.logins.identity(&profile.source).await;
            let grant = identity.as_ref().map(|identity| self.grant(profile, identity, now));
            let credentials = match (&grant, &identity) {
                (Some(Ok(grant)), Some(identity)) => self
                    .generation
                    .providers
                    .get(&grant.provider)
                    .and_then(|provider| self.broker.fresh(grant, &identity.holder, provider, now)),
                _ => None,
            };
            profiles.push(ProfileStatus {
                profile: name.to_string(),
                description: profile.description.as_deref().map(str::to_owned),
                identity: profile.source.to_string(),
                region: profile.region.as_ref().map(ToString::to_string),
                role: grant.as_ref().and_then(|grant| grant.as_ref().ok()).map(|grant| grant.role.to_string()),
                problem: grant.and_then(Result::err).map(|denied| denied.to_string()),
                expires: credentials.map(|credentials| rfc3339(credentials.expires)),
            });
        }
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.home.config.clone(),
            logins,
            profiles,
        }
    }
}

/// A developer's login lasts as long as the provider renews it, unless the config says otherwise.
fn settings(config: &Config) -> SessionSettings {
    let written =
        |key: &str| config.written.get("session").and_then(Value::as_table).is_some_and(|it| it.contains_key(key));
    let of_the_config = |key, length: Duration| if written(key) { length } else { LOGIN };
    SessionSettings {
        kind: StoreKind::File,
        idle: of_the_config("idle", config.session.idle),
        lifetime: of_the_config("lifetime", config.session.lifetime),
        ..SessionSettings::default()
    }
}

/// The socket in its folder, both for this user alone.
fn listen(path: &Path) -> Result<tokio::net::UnixListener, StartError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let failed = |source| StartError::Socket { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    home::check_private(folder)?;
    // who keeps the logins is the only agent, so what is there is of one that is gone
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// What people are called, the first of these that is there.
const NAMES: [&str; 4] = ["preferred_username", "email", "name", "sub"];
/// A person has a few dozen profiles.
const GRANTS: u64 = 1000;
/// As long as refresh tokens commonly last.
const LOGIN: Duration = Duration::from_secs(30 * 86_400);

//! Where people come from, and whether they could come from there now.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use url::Url;

use crate::config::Config;
use crate::generation::Generation;
use crate::identity::Login;
use crate::web::chain;

/// A source of identities.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    kind: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody logs in there, so there is nothing to ask for.
    Passive,
    /// Its provider was not asked.
    Unasked,
    /// A login can begin.
    Ready,
    /// A login can't begin: why.
    Off(String),
}

/// Every source of the config; where it is wanted, each provider is asked for what the first login would ask it for.
///
/// # Errors
/// The system gives no runtime to ask on.
pub(super) fn all(config: &Config, generation: &Generation, online: bool) -> std::io::Result<Vec<Source>> {
    let home = generation.entrances.values().find_map(|entrance| entrance.public_url.as_ref());
    let home = home.map(|url| url.as_url().clone());
    let asked = generation.sources.iter().map(|(name, source)| {
        let table = config.identity.get(name);
        let kind = table.and_then(|table| table.get("kind")?.as_str()).unwrap_or_default().to_owned();
        let (name, home) = (name.to_string(), home.as_ref());
        async move {
            let state = match (source.login(), home) {
                (Some(login), Some(home)) if online => ask(login, home).await,
                (Some(_), _) => State::Unasked,
                (None, _) => State::Passive,
            };
            Source { name, kind, state }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(join_all(asked)))
}

/// Begins a login that nobody will end.
async fn ask(login: &dyn Login, home: &Url) -> State {
    match tokio::time::timeout(PATIENCE, login.begin(home, false)).await {
        Ok(Ok(_)) => State::Ready,
        Ok(Err(error)) => State::Off(chain(&error)),
        Err(_) => State::Off(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}

impl Source {
    /// Whether its provider was asked and can't log anybody in.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.state, State::Off(_))
    }

    pub(super) fn columns(&self) -> [String; 2] {
        let says = match &self.state {
            State::Passive => String::new(),
            State::Unasked => "its provider was not asked; `--online` does".to_owned(),
            State::Ready => "people can log in".to_owned(),
            State::Off(why) => format!("off: {why}"),
        };
        [format!("{} ({})", self.name, self.kind), says]
    }

    pub(super) fn as_json(&self) -> Value {
        let (is_ready, why) = match &self.state {
            State::Passive | State::Unasked => (None, None),
            State::Ready => (Some(true), None),
            State::Off(why) => (Some(false), Some(why)),
        };
        json!({"name": self.name, "kind": self.kind, "ready": is_ready, "why": why})
    }
}

/// A provider that takes longer keeps people waiting at every start.
const PATIENCE: Duration = Duration::from_secs(10);

//! What the commands for developers have in common: the home, the agent, which profile is meant.

use std::path::PathBuf;
use std::process::ExitCode;

use super::check::tell;
use crate::agent::{Client, ClientError, Home, HomeError, Status};
use crate::built_in::Environment;
use crate::web::chain;

/// Where the config is.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The config (TOML). Default: $CLAVIGER_CONFIG, else claviger/developer.toml in $XDG_CONFIG_HOME or ~/.config.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why a command comes to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Agent(#[from] ClientError),
    #[error("{0}")]
    Other(String),
}

impl Place {
    pub(super) fn home(self, environment: &Environment) -> Result<Home, HomeError> {
        Home::find(self.config, environment)
    }

    /// A way to the agent, which runs from here on.
    pub(super) async fn agent(self, environment: &Environment) -> Result<Client, Failure> {
        let client = Client::new(self.home(environment)?);
        client.start().await?;
        Ok(client)
    }
}

/// The profile that is meant: the one that is named, else the one of the environment, else the only one.
pub(super) fn profile(named: Option<String>, environment: &Environment, status: &Status) -> Result<String, Failure> {
    let named = named.or_else(|| environment.value(PROFILE).filter(|name| !name.is_empty()).map(str::to_owned));
    let known = || status.profiles.iter().map(|profile| profile.profile.as_str()).collect::<Vec<_>>().join(", ");
    match (named, status.profiles.as_slice()) {
        (Some(name), profiles) if profiles.iter().any(|profile| profile.profile == name) => Ok(name),
        (Some(name), _) => Err(Failure::Other(format!("there is no profile `{name}`; there are: {}", known()))),
        (None, [only]) => Ok(only.profile.clone()),
        (None, _) => {
            Err(Failure::Other(format!("which profile? there are: {}; {PROFILE} names one for good", known())))
        }
    }
}

/// Runs a command to its end. 0: done; 1: failed.
pub(super) fn run(command: impl AsyncFnOnce(Environment) -> Result<ExitCode, Failure>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("claviger: the system gives no event queue: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(command(Environment::of_this_process())).unwrap_or_else(|failure| {
        eprintln!("claviger: {}", chain(&failure));
        ExitCode::FAILURE
    })
}

/// Prints an answer as JSON.
pub(super) fn tell_json(answer: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(answer) {
        Ok(text) => {
            tell(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("claviger: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Names the profile for all commands.
pub(super) const PROFILE: &str = "CLAVIGER_PROFILE";

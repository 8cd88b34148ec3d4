//! `claviger login` and `claviger logout`

use std::process::{Command, ExitCode, Stdio};

use super::developer::{Failure, Place, profile, run};
use crate::built_in::Environment;

/// Log in, in the browser: once for all profiles with the same identity provider.
///
/// Credentials then renew themselves until the provider ends the login.
#[derive(Debug, clap::Args)]
pub(super) struct Login {
    /// The profile. Default: $CLAVIGER_PROFILE, else the only one.
    profile: Option<String>,
    /// Print the address, and open no browser.
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    place: Place,
}

/// End a login.
///
/// Keys that were handed out go on until they end: STS can't take them back.
#[derive(Debug, clap::Args)]
pub(super) struct Logout {
    /// The profile. Default: $CLAVIGER_PROFILE, else the only one.
    profile: Option<String>,
    /// Of every profile.
    #[arg(long, conflicts_with = "profile")]
    all: bool,
    #[command(flatten)]
    place: Place,
}

impl Login {
    pub(super) fn run(self) -> ExitCode {
        run(async |environment| {
            let agent = self.place.agent(&environment).await?;
            let profile = profile(self.profile, &environment, &agent.status().await?)?;
            let begun = agent.begin(&profile).await?;
            if !begun.is_new {
                eprintln!("A login is under way already; finish it at\n\n    {}\n", begun.url);
            } else if self.no_browser || !open(&begun.url, &environment) {
                eprintln!("To log in, open this address in a browser of this machine:\n\n    {}\n", begun.url);
            } else {
                eprintln!("The browser shows where to log in. If it does not, open\n\n    {}\n", begun.url);
            }
            let status = agent.wait(&profile).await?;
            let login = status.logins.iter().find(|login| login.identity == begun.identity);
            let name = login.and_then(|login| login.name.clone()).unwrap_or_default();
            eprintln!("Logged in at {} as {name}.", begun.identity);
            let theirs = status.profiles.iter().filter(|profile| profile.identity == begun.identity);
            let theirs: Vec<_> = theirs.map(|profile| profile.profile.as_str()).collect();
            eprintln!("Profiles: {}.", theirs.join(", "));
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Logout {
    pub(super) fn run(self) -> ExitCode {
        run(async |environment| {
            let agent = self.place.agent(&environment).await?;
            let status = agent.status().await?;
            let mut profiles = Vec::new();
            if self.all {
                // one for each login is enough
                for login in &status.logins {
                    let one = status.profiles.iter().find(|profile| profile.identity == login.identity);
                    profiles.extend(one.map(|profile| profile.profile.clone()));
                }
            } else {
                profiles.push(profile(self.profile, &environment, &status)?);
            }
            let mut ended = 0;
            for profile in &profiles {
                ended += usize::from(agent.leave(profile).await?);
            }
            eprintln!("{}", if ended == 0 { "Nobody was logged in." } else { "Logged out." });
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Opens the browser; false where there is none to open.
fn open(url: &str, environment: &Environment) -> bool {
    let named = environment.value("BROWSER").filter(|command| !command.is_empty());
    let screen = |name: &str| environment.value(name).is_some_and(|value| !value.is_empty());
    let usual = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let has_screen = cfg!(target_os = "macos") || screen("DISPLAY") || screen("WAYLAND_DISPLAY");
    let Some(command) = named.or_else(|| has_screen.then_some(usual)) else { return false };
    let mut command = Command::new(command);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

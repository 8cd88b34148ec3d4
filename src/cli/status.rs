//! `claviger status` and `claviger profiles`

use std::fmt::Write as _;
use std::process::ExitCode;

use super::check::columns::Columns;
use super::check::tell;
use super::developer::{Place, run, tell_json};
use crate::agent::Status;

/// Say who is logged in, for which profiles, and until when.
///
/// Exits with 1 where nobody is.
#[derive(Debug, clap::Args)]
pub(super) struct StatusCommand {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// List the profiles.
#[derive(Debug, clap::Args)]
pub(super) struct Profiles {
    /// Print JSON.
    #[arg(long, conflicts_with = "example")]
    json: bool,
    /// Print a config to begin with.
    #[arg(long)]
    example: bool,
    #[command(flatten)]
    place: Place,
}

impl StatusCommand {
    pub(super) fn run(self) -> ExitCode {
        run(async |environment| {
            let status = self.place.agent(&environment).await?.status().await?;
            if self.json {
                tell_json(&status);
            } else {
                tell(&told(&status));
            }
            let is_anybody = status.logins.iter().any(|login| login.subject.is_some());
            Ok(if is_anybody { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

impl Profiles {
    pub(super) fn run(self) -> ExitCode {
        if self.example {
            tell(EXAMPLE);
            return ExitCode::SUCCESS;
        }
        run(async |environment| {
            let status = self.place.agent(&environment).await?.status().await?;
            if self.json {
                return Ok(tell_json(&status.profiles));
            }
            let mut rows = Columns::indented_by(0);
            for profile in &status.profiles {
                rows.row([profile.profile.clone(), profile.description.clone().unwrap_or_default()]);
            }
            tell(&rows.to_string());
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn told(status: &Status) -> String {
    let mut text = String::new();
    for login in &status.logins {
        let _ = match (&login.name, &login.ends) {
            (Some(name), Some(ends)) => {
                writeln!(text, "{}: logged in as {name}, until {ends} at the latest", login.identity)
            }
            _ => writeln!(text, "{}: nobody is logged in; run `claviger login`", login.identity),
        };
        let mut rows = Columns::indented();
        for profile in status.profiles.iter().filter(|profile| profile.identity == login.identity) {
            let keys = match (&profile.problem, &profile.expires) {
                (Some(problem), _) => problem.clone(),
                (None, Some(expires)) => format!("keys until {expires}"),
                (None, None) => String::new(),
            };
            rows.row([profile.profile.clone(), profile.role.clone().unwrap_or_default(), keys]);
        }
        let _ = write!(text, "{rows}");
    }
    text
}

pub(super) const EXAMPLE: &str = include_str!("../../config/developer.toml");

//! `claviger agent`

use std::process::ExitCode;
use std::sync::Arc;

use super::developer::Place;
use super::serve::until_told_to_stop;
use crate::agent::{Agent, StartError, serve};
use crate::built_in::Environment;
use crate::clock::SystemClock;
use crate::telemetry::{self, Format, Lines};
use crate::web::chain;

/// Keep this user's logins, and hand out credentials to their tools.
///
/// The other commands start it by themselves; run it by hand, or from systemd or launchd, to see what it says. There is
/// one for each user: it alone has the refresh tokens. They and nothing else are kept on disk, sealed, in the folder
/// `agent` of `state_dir`.
///
/// Exits with 2 for a config that can't be used, and with 1 where another agent is running.
#[derive(Debug, clap::Args)]
pub(super) struct AgentCommand {
    #[command(flatten)]
    place: Place,
}

impl AgentCommand {
    pub(super) fn run(self) -> ExitCode {
        let Ok(lines) = Lines::start(std::io::stderr()) else {
            eprintln!("claviger: the system gives no thread");
            return ExitCode::FAILURE;
        };
        let _level = telemetry::log_to(&lines, tracing_subscriber::filter::LevelFilter::INFO, Format::Text);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("claviger: the system gives no event queue: {error}");
                return ExitCode::FAILURE;
            }
        };
        let environment = Environment::of_this_process();
        let outcome = runtime.block_on(async {
            let home = self.place.home(&environment)?;
            let agent = Agent::start(home, &environment, Arc::new(SystemClock)).await?;
            serve(agent, until_told_to_stop()).await
        });
        let code = match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("claviger: {}", chain(&error));
                ExitCode::from(if matches!(error, StartError::Config(_) | StartError::NoProfiles(_)) { 2 } else { 1 })
            }
        };
        lines.finish();
        code
    }
}

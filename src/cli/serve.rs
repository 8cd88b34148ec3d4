//! `claviger serve FILE`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::check;
use crate::app::{Outside, Running, StartError, look_at};
use crate::built_in::Environment;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigErrors};
use crate::server::{self, Listener};
use crate::telemetry::{self, Lines};
use crate::web::chain;

/// Run the proxy from a config file.
///
/// It logs to standard error: JSON lines, or text with `[log] format = "text"`. On SIGHUP it reads the file again, as it
/// does by itself when the file, or one that it names, has changed: a config that is sound takes the place of the old one
/// between two requests, and any other is refused with its errors in the log. On SIGTERM or Ctrl-C it finishes the
/// requests under way, for as long as `[server] drain` says; on the second signal it stops at once.
///
/// Exits with 2 for a config that can't be used, and with 1 where the machine does not give what is needed: a port, a
/// folder.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The config file (TOML); `config/reference.toml` explains every key.
    file: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        server::raise_descriptors();
        let config = match Config::read(&self.file, &Environment::of_this_process()).and_then(|reading| reading.sound())
        {
            Ok(config) => config,
            Err(errors) => return refuse_whole(&self.file, errors),
        };
        if config.listen.is_empty() && config.endpoint.is_empty() {
            let shown = self.file.display();
            eprintln!("claviger: `{shown}` has profiles only, and nothing to serve; `claviger agent` is for those");
            return ExitCode::from(2);
        }
        run(config, Some(self.file), BTreeMap::new(), |running| {
            for (name, address) in running.addresses() {
                tracing::info!(listener = &**name, address = %address, "listening");
            }
        })
    }
}

/// Runs a config until a signal comes, on listeners that are `bound` already where there are any; calls `tell` once it
/// is serving. Where it has a file, that is read again on SIGHUP and when it changes.
pub(super) fn run(
    config: Config,
    file: Option<PathBuf>,
    bound: BTreeMap<Arc<str>, Listener>,
    tell: impl FnOnce(&Running),
) -> ExitCode {
    let Ok(lines) = Lines::start(std::io::stderr()) else {
        eprintln!("claviger: the system gives no thread");
        return ExitCode::FAILURE;
    };
    let level = telemetry::log_to(&lines, config.log_level, config.log_format);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("claviger: the system gives no event queue: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        // from here on a SIGHUP ends nothing
        let mut hangups = file.as_ref().and_then(|_| signal(SignalKind::hangup()).ok());
        let hung_up = async || match &mut hangups {
            Some(hangups) => drop(hangups.recv().await),
            None => std::future::pending().await,
        };
        let again = file.clone();
        let outside = Outside { clock: Arc::new(SystemClock), lines: lines.clone(), level, file, bound };
        match Running::start(config, outside).await {
            Ok(mut running) => {
                tell(&running);
                tokio::select! {
                    () = until_told_to_stop() => {}
                    () = running.keep_to_the_file(hung_up) => {}
                }
                let grace = running.grace();
                tracing::info!(grace_s = grace.as_secs(), "stopping: requests under way may finish");
                tokio::select! {
                    () = running.drain(grace) => {}
                    () = until_told_to_stop() => tracing::warn!("stopping at once"),
                }
                ExitCode::SUCCESS
            }
            Err(error) => match (error, again) {
                (StartError::Config(errors), Some(file)) => refuse_whole(&file, errors),
                (error, _) => {
                    eprintln!("claviger: {}", chain(&error));
                    ExitCode::from(error.exit_code())
                }
            },
        }
    });
    lines.finish();
    code
}

/// Says what is wrong with a config. The start ends at the first that it meets; here all is listed, so that one round of
/// mending is enough.
fn refuse_whole(file: &Path, met: ConfigErrors) -> ExitCode {
    let all = look_at(file, &Environment::of_this_process()).err().unwrap_or(met);
    check::refuse(file, &all, false)
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn until_told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

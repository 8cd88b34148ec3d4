//! Where a developer's config and the agent's socket are, and that nobody else has a hand in them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::built_in::Environment;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Home {
    /// The config.
    pub config: PathBuf,
    /// The agent's socket.
    pub socket: PathBuf,
}

/// Why this is no place for keys.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no home.
    #[error("neither {0} nor HOME is set; set one of them, or name the file with --config")]
    Homeless(&'static str),
    /// There is no config.
    #[error("there is no config at `{}`; `claviger profiles --example` shows one", .0.display())]
    NoConfig(PathBuf),
    /// Somebody else could change what is asked for.
    #[error("`{}` can be written by others than you; expected it to be yours, and mode 0600 or 0644", .0.display())]
    Writable(PathBuf),
    /// Somebody else could take the socket's place.
    #[error("`{}` must be a folder that only you can use (mode 0700)", .0.display())]
    Exposed(PathBuf),
}

impl Home {
    /// As the XDG base directory specification has it; a config that is named wins.
    ///
    /// # Errors
    /// [`HomeError::Homeless`]
    pub fn find(config: Option<PathBuf>, environment: &Environment) -> Result<Self, HomeError> {
        let variable = |name: &str| environment.value(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let below = |base: Option<PathBuf>, home: &str| base.or_else(|| Some(variable("HOME")?.join(home)));
        let config = match config.or_else(|| variable("CLAVIGER_CONFIG")) {
            Some(config) => config,
            None => below(variable("XDG_CONFIG_HOME"), ".config")
                .ok_or(HomeError::Homeless("XDG_CONFIG_HOME"))?
                .join("claviger/developer.toml"),
        };
        let socket = match variable("CLAVIGER_SOCKET") {
            Some(socket) => socket,
            None => below(variable("XDG_RUNTIME_DIR").or_else(|| variable("XDG_STATE_HOME")), ".local/state")
                .ok_or(HomeError::Homeless("XDG_RUNTIME_DIR"))?
                .join("claviger/agent.sock"),
        };
        Ok(Self { config, socket })
    }

    /// Who can write the config decides where refresh tokens are sent (A25).
    pub(super) fn check(&self) -> Result<(), HomeError> {
        let found = std::fs::metadata(&self.config).map_err(|_| HomeError::NoConfig(self.config.clone()))?;
        if !is_ours(found.uid()) || found.mode() & 0o022 != 0 {
            return Err(HomeError::Writable(self.config.clone()));
        }
        Ok(())
    }
}

/// That a folder is this user's alone (A25).
pub(super) fn check_private(folder: &Path) -> Result<(), HomeError> {
    let exposed = || HomeError::Exposed(folder.to_owned());
    let found = std::fs::symlink_metadata(folder).map_err(|_| exposed())?;
    if found.is_dir() && found.uid() == rustix::process::getuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(exposed())
}

fn is_ours(uid: u32) -> bool {
    uid == rustix::process::getuid().as_raw() || uid == 0
}

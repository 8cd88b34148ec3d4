//! `claviger new-token`

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::secret::random_token;

/// Write a new random token to a file, for an endpoint and the SDKs that ask it.
///
/// The file has no line end, as SDKs send what is in it to the letter. It takes the place of one that is there in one step,
/// so that a token can be changed while it is in use: both sides read it again.
#[derive(Debug, clap::Args)]
pub(super) struct NewToken {
    /// The file.
    file: PathBuf,
    /// Who may read it, as chmod has it.
    #[arg(long, value_name = "OCTAL", default_value = "600", value_parser = mode)]
    mode: u32,
}

impl NewToken {
    pub(super) fn run(self) -> ExitCode {
        match self.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("claviger: `{}` can't be written: {error}", self.file.display());
                ExitCode::FAILURE
            }
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let beside = self.file.with_extension(format!("{}.new", random_token(8)));
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&beside);
        let written = written.and_then(|mut file| {
            file.write_all(random_token(32).as_bytes())?;
            // whatever the umask has taken away
            file.set_permissions(fs::Permissions::from_mode(self.mode))?;
            file.sync_all()?;
            fs::rename(&beside, &self.file)
        });
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

/// Only what lets its readers read: a token that others can change is theirs.
fn mode(text: &str) -> Result<u32, String> {
    let expected = || "expected 600, 640 or 644, or less".to_owned();
    let mode = u32::from_str_radix(text, 8).map_err(|_| expected())?;
    if mode & !0o644 == 0 { Ok(mode) } else { Err(expected()) }
}

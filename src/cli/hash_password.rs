//! `claviger hash-password`

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use crate::secret::Secret;
use crate::users::hash_password;

/// Hash a password for the built-in user directory.
///
/// Reads the password from standard input, never from an argument, which other users of the machine could see.
/// Prints its Argon2id hash for the users file.
#[derive(Debug, clap::Args)]
pub(super) struct HashPassword {}

impl HashPassword {
    pub(super) fn run(self) -> ExitCode {
        if std::io::stdin().is_terminal() {
            eprintln!(
                "Type the password (it is shown as you type; `claviger hash-password < file` avoids that), then Ctrl-D:"
            );
        }
        let mut text = String::new();
        if let Err(error) = std::io::stdin().read_to_string(&mut text) {
            eprintln!("claviger: the password can't be read: {error}");
            return ExitCode::from(2);
        }
        let password = Secret::new(text.trim_end_matches(['\r', '\n']));
        if password.expose().is_empty() {
            eprintln!("claviger: the password is empty; expected it on standard input");
            return ExitCode::from(2);
        }
        match hash_password(&password) {
            Ok(hash) => {
                println!("{hash}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("claviger: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

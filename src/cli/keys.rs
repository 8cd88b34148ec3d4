//! `claviger credential-process`, `claviger env` and `claviger exec`

use std::fmt::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::check::tell;
use super::developer::{Failure, PROFILE, Place, profile, run};
use crate::agent::{Client, Errand, Keys};
use crate::built_in::Environment;

/// Print credentials as AWS SDKs want them of a `credential_process`.
///
/// In ~/.aws/config: credential_process = claviger credential-process PROFILE
#[derive(Debug, clap::Args)]
pub(super) struct CredentialProcess {
    /// The profile. Default: $CLAVIGER_PROFILE, else the only one.
    profile: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Print credentials as variables for a shell: eval "$(claviger env PROFILE)"
///
/// They do not renew themselves; `claviger exec` has those that do.
#[derive(Debug, clap::Args)]
pub(super) struct Env {
    /// The profile. Default: $CLAVIGER_PROFILE, else the only one.
    profile: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Run a command with a profile's credentials, which renew themselves for as long as it runs.
///
/// The command's SDKs ask this process for them, on a port of loopback that answers them alone. Exits as the command does.
#[derive(Debug, clap::Args)]
pub(super) struct Exec {
    /// The profile.
    profile: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Hand over credentials as variables, for tools that know nothing else: these do not renew themselves.
    #[arg(long)]
    env: bool,
    #[command(flatten)]
    place: Place,
}

impl CredentialProcess {
    pub(super) fn run(self) -> ExitCode {
        run(async |environment| {
            let (_, _, keys) = keys(self.place, self.profile, &environment).await?;
            let mut answer = json!({
                "Version": 1,
                "AccessKeyId": keys.access_key_id,
                "SecretAccessKey": keys.secret_access_key.expose(),
                "SessionToken": keys.token.expose(),
                "Expiration": keys.expiration,
            });
            if let (Some(account), Some(answer)) = (keys.account_id, answer.as_object_mut()) {
                answer.insert("AccountId".to_owned(), account.into());
            }
            tell(&format!("{answer}\n"));
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Env {
    pub(super) fn run(self) -> ExitCode {
        run(async |environment| {
            let (_, _, keys) = keys(self.place, self.profile, &environment).await?;
            let mut text = String::new();
            for (name, value) in variables(&keys) {
                // of what keys, tokens and names are made of nothing means anything to a shell between these
                let _ = writeln!(text, "export {name}='{}'", value.replace('\'', ""));
            }
            tell(&text);
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Exec {
    pub(super) fn run(self) -> ExitCode {
        run(async |environment| {
            let (agent, profile, keys) = keys(self.place, Some(self.profile), &environment).await?;
            let Some((program, arguments)) = self.command.split_first() else {
                return Err(Failure::Other("there is no command to run".to_owned()));
            };
            let mut command = Command::new(program);
            command.args(arguments).env(PROFILE, &profile);
            for name in OTHERS {
                command.env_remove(name);
            }
            let failed = |error| Failure::Other(format!("`{program}` can't be run: {error}"));
            if self.env {
                return Err(failed(command.envs(variables(&keys)).exec()));
            }
            let errand = Errand::open(agent, &profile).await?;
            command.envs(errand.variables()).envs(region(&keys));
            // both are in the terminal's foreground: Ctrl-C reaches the child by itself, and what it makes of that counts
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut children = signal(SignalKind::child())?;
            let mut child = command.spawn().map_err(failed)?;
            let serving = tokio::spawn(errand.serve());
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                tokio::select! {
                    _ = children.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {
                        let pid = rustix::process::Pid::from_child(&child);
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                    }
                }
            };
            serving.abort();
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        })
    }
}

/// Keys for the profile that is meant.
async fn keys(
    place: Place,
    named: Option<String>,
    environment: &Environment,
) -> Result<(Client, String, Keys), Failure> {
    let agent = place.agent(environment).await?;
    let profile = match named {
        Some(profile) => profile,
        None => profile(None, environment, &agent.status().await?)?,
    };
    let keys = agent.keys(&profile).await?;
    Ok((agent, profile, keys))
}

fn variables(keys: &Keys) -> Vec<(&'static str, String)> {
    let of_keys = [
        ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.expose().to_owned()),
        ("AWS_SESSION_TOKEN", keys.token.expose().to_owned()),
        ("AWS_CREDENTIAL_EXPIRATION", keys.expiration.clone()),
    ];
    of_keys.into_iter().chain(region(keys)).collect()
}

fn region(keys: &Keys) -> impl Iterator<Item = (&'static str, String)> {
    let region = keys.region.clone();
    ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(move |name| Some((name, region.clone()?)))
}

/// Where SDKs would look before they look where we say.
const OTHERS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

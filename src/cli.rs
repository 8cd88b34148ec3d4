//! The command line: one file a subcommand. Prints live here and nowhere else.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line speaks to people through these")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agent;
mod check;
mod demo;
mod developer;
mod explain;
mod hash_password;
mod keys;
mod kinds;
mod login;
mod new_token;
mod serve;
mod status;

/// The key-bearer: an identity-aware reverse proxy that turns logins into temporary AWS credentials.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, propagate_version = true, arg_required_else_help = true, after_help = FIRST)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Check(check::Check),
    Explain(Box<explain::Explain>),
    Kinds(kinds::Kinds),
    HashPassword(hash_password::HashPassword),
    NewToken(new_token::NewToken),
    Login(login::Login),
    Logout(login::Logout),
    Status(status::StatusCommand),
    Profiles(status::Profiles),
    Exec(keys::Exec),
    Env(keys::Env),
    CredentialProcess(keys::CredentialProcess),
    Agent(agent::AgentCommand),
}

/// Runs the command that the arguments name. 0: done, or allowed; 1: denied, or failed while running; 2: bad input.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Kinds(command) => command.run(),
        Command::HashPassword(command) => command.run(),
        Command::NewToken(command) => command.run(),
        Command::Login(command) => command.run(),
        Command::Logout(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Profiles(command) => command.run(),
        Command::Exec(command) => command.run(),
        Command::Env(command) => command.run(),
        Command::CredentialProcess(command) => command.run(),
        Command::Agent(command) => command.run(),
    }
}

const FIRST: &str = "\
To see it work: `claviger demo`, and open the address it prints.
To front an app: write a config (`claviger kinds --example oidc` shows a login, and so on), look at what would run with
`claviger check FILE`, ask why somebody is let in or not with `claviger explain`, and run it with `claviger serve FILE`.
To give an app beside it credentials: `claviger kinds --example container`.
To have them on your own machine: `claviger profiles --example`, then `claviger login` and `claviger exec`.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_fit_together() {
        super::Arguments::command().debug_assert();
    }
}

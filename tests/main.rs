//! Everything that is tested from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_debug_implementations,
    dead_code,
    reason = "tests fail by panicking, and not every test uses all that supports them"
)]

mod agent;
mod architecture;
#[cfg(feature = "saml")]
mod assertions;
mod callers;
mod command_line;
mod conformance;
mod credentials;
#[cfg(feature = "saml")]
mod demo;
mod egress;
mod endpoints;
mod findings_login;
mod fuzz;
mod injectors;
mod limits;
mod login;
mod own_keys;
mod proxy;
mod reload;
mod roles;
#[cfg(feature = "saml")]
mod saml;
#[cfg(feature = "saml")]
mod saml_logins;
mod seeing;
mod sessions;
mod support;
mod unauthorized;
mod upstreams;

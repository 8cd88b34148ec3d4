//! The proxy, over real sockets.

mod answers;
mod findings_proxy;
mod forwarded;
mod framing;
mod identity_headers;
mod listeners;
mod main_job;
mod passing;
mod paths;
mod signing;
mod upgrades;

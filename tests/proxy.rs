//! The proxy, over real sockets.

mod answers;
mod forwarded;
mod framing;
mod identity_headers;
mod listeners;
mod main_job;
mod passing;
mod paths;
mod signing;
mod upgrades;

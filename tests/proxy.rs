//! The proxy, over real sockets.

mod forwarded;
mod framing;
mod identity_headers;
mod main_job;
mod paths;
mod upgrades;

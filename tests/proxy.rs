//! The proxy, over real sockets.

mod framing;
mod identity_headers;
mod main_job;
mod upgrades;

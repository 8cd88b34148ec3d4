//! The proxy, over real sockets.

mod answers;
mod forwarded;
mod framing;
mod identity_headers;
mod main_job;
mod paths;
mod signing;
mod upgrades;

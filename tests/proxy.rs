//! The proxy, over real sockets.

mod answers;
mod forwarded;
mod findings_proxy;
mod framing;
mod identity_headers;
mod main_job;
mod passing;
mod paths;
mod signing;
mod upgrades;

//! The proxy, over real sockets.

mod findings_proxy;
mod framing;
mod identity_headers;
mod main_job;
mod upgrades;

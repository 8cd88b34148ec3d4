//! The proxy, over real sockets.

mod identity_headers;
mod main_job;

//! The proxy, over real sockets.

mod main_job;

//! Sessions that are kept outside of the process: across restarts, and among several of them.

mod file;
pub mod redis;
mod redis_outages;

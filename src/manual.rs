//! What is worth knowing beside the code: pages without code, kept where the code is.

pub mod decisions;
pub mod metrics;
pub mod vulnerabilities;

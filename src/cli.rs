//! The command line.

/// Runs the command that the arguments name.
pub fn main() {}

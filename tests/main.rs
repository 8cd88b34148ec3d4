//! Tests of the whole, from outside.

mod architecture;
mod conformance;

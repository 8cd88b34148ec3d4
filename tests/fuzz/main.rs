//! One fuzz target, as libFuzzer runs it: `CLAVIGER_FUZZ` names it, and its seeds are written to the folder that
//! `CLAVIGER_SEEDS` names.
#![no_main]

#[cfg(feature = "saml")]
#[path = "../support"]
mod support {
    #[allow(dead_code, reason = "it serves the tests, too")]
    pub mod saml_attacks;
}
mod targets;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;

static RUN: OnceLock<targets::Run> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("CLAVIGER_FUZZ").expect("CLAVIGER_FUZZ names a target");
        let target = targets::ALL.iter().find(|target| target.name == name).expect("one of the targets");
        if let Some(folder) = std::env::var_os("CLAVIGER_SEEDS").map(PathBuf::from) {
            for (n, seed) in (target.seeds)().into_iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{n}")), seed).expect("the folder of seeds is writable");
            }
        }
        RUN.get_or_init(|| target.run);
    },
    |data: &[u8]| {
        RUN.get().expect("it is set first")(data);
        // libFuzzer ends without a last word
        if RUNS.fetch_add(1, Relaxed) % EACH == EACH - 1 {
            targets::reached().into_iter().for_each(|far| eprintln!("reached: {far}"));
        }
    }
);

static RUNS: AtomicU64 = AtomicU64::new(0);
const EACH: u64 = 1_000;

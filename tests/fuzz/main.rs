//! One fuzz target, as libFuzzer runs it: `CLAVIGER_FUZZ` names it, and its seeds are written to the folder that
//! `CLAVIGER_SEEDS` names.
#![no_main]

mod targets;

use std::path::PathBuf;
use std::sync::OnceLock;

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
    |data: &[u8]| RUN.get().expect("it is set first")(data)
);

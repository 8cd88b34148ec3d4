//! Every fuzz target on its seeds, on pieces of them, and on whatever was found once: `make fuzz` goes on from there.

use std::fs;
use std::panic;
use std::path::Path;

mod targets;

use targets::{ALL, Target};

#[test]
fn every_target_holds_on_its_seeds_and_on_what_was_found() {
    for target in ALL {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for seed in seeds.iter().chain(&found(target)) {
            holds(target, seed);
        }
        // cut anywhere, which is where most readers stumble; long seeds in steps
        for seed in &seeds {
            (0..seed.len()).step_by(seed.len() / 200 + 1).for_each(|end| holds(target, &seed[..end]));
        }
    }
}

/// Two seeds joined, and one with a byte changed: a little of what the fuzzer does, the same each time.
#[test]
fn every_target_holds_on_seeds_that_were_changed() {
    for target in ALL {
        let mut random = fastrand::Rng::with_seed(7);
        let seeds = (target.seeds)();
        for _ in 0..ROUNDS {
            let mut changed = random.choice(&seeds).expect("a seed").clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..=changed.len());
                match random.u8(0..4) {
                    0 if at < changed.len() => changed[at] = random.u8(..),
                    1 => changed.insert(at, random.u8(..)),
                    2 => changed.truncate(at),
                    _ => {
                        let other = random.choice(&seeds).expect("a seed");
                        changed.truncate(at);
                        changed.extend_from_slice(&other[random.usize(0..=other.len())..]);
                    }
                }
            }
            holds(target, &changed);
        }
    }
}

fn holds(target: &Target, data: &[u8]) {
    let outcome = panic::catch_unwind(|| (target.run)(data));
    assert!(outcome.is_ok(), "{} on {:?}", target.name, String::from_utf8_lossy(data));
}

/// What `make fuzz` found once.
fn found(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found").join(target.name);
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| fs::read(file.path()).expect("a kept input")).collect()
}

const ROUNDS: usize = 300;

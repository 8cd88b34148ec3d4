//! Maps by keys that are random already: to hash them once more for each request would bring nothing.

use std::hash::{BuildHasherDefault, Hasher};

/// For the map's last parameter. Only for keys that nobody chooses: half of 128 random bits, a piece of a SHA-256.
pub type Unhashed = BuildHasherDefault<AsItIs>;

/// Takes the number a key says for its hash.
#[derive(Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

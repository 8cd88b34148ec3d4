//! Numbers of bytes as people write them.

use serde::{Deserialize, Deserializer};

/// `8388608` or `"8MiB"`: a number of bytes, or one with KiB, MiB or GiB.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ByteCount(pub u64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number of bytes, or a text like \"8MiB\"")]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Some(bytes),
            Written::Text(text) => parse(&text),
        };
        count.map(Self).ok_or_else(|| serde::de::Error::custom("expected a number of bytes, or a text like \"8MiB\""))
    }
}

fn parse(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_and_written_out() {
        for (text, bytes) in
            [("8MiB", Some(8 << 20)), ("1 KiB", Some(1 << 10)), ("2GiB", Some(2 << 30)), ("0KiB", Some(0))]
        {
            assert_eq!(parse(text), bytes, "{text}");
        }
        for text in ["", "8", "MiB", "8MB", "8mib", "-1KiB", "1.5GiB", "99999999999GiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

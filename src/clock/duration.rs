//! Durations as people write them: `90s`, `15m`, `1h30m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A duration from text: whole numbers with `ms`, `s`, `m`, `h` or `d`, one after the other (`1h30m`).
///
/// # Errors
/// A sentence that says what was found and what was expected. More than [`LONGEST`] is refused, so that adding a
/// duration to a time can't overflow.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write numbers with ms, s, m, h or d, such as `90s` or `1h30m`");
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        sum = number
            .checked_mul(millis)
            .and_then(|millis| sum.checked_add(Duration::from_millis(millis)))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| format!("`{text}` is longer than ten years"))?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

/// For `#[serde(deserialize_with = "crate::clock::duration_text")]`.
pub fn duration_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// For an optional one: `#[serde(default, deserialize_with = "crate::clock::optional_duration_text")]`.
pub fn optional_duration_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration_text(deserializer).map(Some)
}

/// Ten years.
pub const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "15", "m", "15 m", "-1s", "1.5h", "1w", "1h30", "١s", "99999999999999999999s", "9999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}

//! Times of the day and days of the week, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::Deserialize;

use crate::clock::epoch_seconds;

/// `08:00-18:00`: from the first minute to before the last. One that ends before it starts goes over midnight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Hours {
    from: u64,
    to: u64,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Hours {
    pub(super) fn contains(self, at: SystemTime) -> bool {
        let minute = epoch_seconds(at) / 60 % MINUTES_OF_A_DAY;
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("`{text}` is not a time of the day; expected something like 08:00-18:00, in UTC");
        let (from, to) = text.split_once('-').ok_or_else(error)?;
        let (from, to) = (minute(from).ok_or_else(error)?, minute(to).ok_or_else(error)?);
        if from == to {
            return Err(format!("`{text}` starts where it ends"));
        }
        Ok(Self { from, to })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02} UTC", from / 60, from % 60, to / 60, to % 60)
    }
}

impl Weekday {
    /// The day of a moment.
    pub(super) fn at(at: SystemTime) -> Self {
        // the epoch was a Thursday
        match epoch_seconds(at) / 60 / MINUTES_OF_A_DAY % 7 {
            0 => Self::Thu,
            1 => Self::Fri,
            2 => Self::Sat,
            3 => Self::Sun,
            4 => Self::Mon,
            5 => Self::Tue,
            _ => Self::Wed,
        }
    }
}

/// `hh:mm` as the minute of the day; `24:00` is its end.
fn minute(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |s: &str| (s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<u64>().ok());
    let (hours, minutes) = (digits(hours)??, digits(minutes)??);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= MINUTES_OF_A_DAY).then_some(minute)
}

const MINUTES_OF_A_DAY: u64 = 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_epoch_seconds;

    #[test]
    fn hours_count_in_utc_and_may_pass_midnight() {
        let at = |h: u64, m: u64| from_epoch_seconds(1_456_358_400 + h * 3600 + m * 60); // 2016-02-25T00:00:00Z
        for (hours, h, m, inside) in [
            ("08:00-18:00", 8, 0, true),
            ("08:00-18:00", 17, 59, true),
            ("08:00-18:00", 18, 0, false),
            ("08:00-18:00", 7, 59, false),
            ("22:00-06:00", 23, 0, true),
            ("22:00-06:00", 5, 59, true),
            ("22:00-06:00", 12, 0, false),
            ("00:00-24:00", 23, 59, true),
        ] {
            assert_eq!(hours.parse::<Hours>().unwrap().contains(at(h, m)), inside, "{hours} {h}:{m}");
        }
        assert_eq!(Weekday::at(at(0, 0)), Weekday::Thu);
        assert_eq!(Weekday::at(at(4 * 24, 0)), Weekday::Mon);
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "8-18", "08:00", "08:00-08:00", "08:60-09:00", "25:00-26:00", "+8:00-09:00", "24:01-09:00"] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
    }
}

//! When and where a signature counts.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Date, Month, OffsetDateTime, Time};

use crate::arn::{Region, ServiceName};
use crate::clock::{epoch_seconds, from_epoch_seconds};

/// A credential scope: `20260101/eu-west-1/s3/aws4_request`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Scope {
    date: ScopeDate,
    region: Region,
    service: ServiceName,
}

impl Scope {
    /// The day in UTC, as eight digits.
    pub fn date(&self) -> &str {
        self.date.as_str()
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date.as_str(), self.region, self.service)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or_default();
        let (date, region, service, end) = (next(), next(), next(), next());
        match (ScopeDate::parse(date), region.parse(), service.parse(), end, parts.next()) {
            (Some(date), Ok(region), Ok(service), "aws4_request", None) => Ok(Self { date, region, service }),
            _ => Err(ScopeError),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is no credential scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a credential scope; expected something like 20260101/eu-west-1/s3/aws4_request")]
pub struct ScopeError;

/// A moment as `X-Amz-Date` writes it: `20260101T120000Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Timestamp([u8; 16]);

impl Timestamp {
    pub(super) fn at(time: SystemTime) -> Self {
        // there and back saturates what no calendar of four-digit years holds
        let time = OffsetDateTime::from(from_epoch_seconds(epoch_seconds(time)));
        let year = u32::try_from(time.year()).unwrap_or_default();
        let mut text = *b"00000000T000000Z";
        let [y1, y2, y3, y4, m1, m2, d1, d2, _, h1, h2, min1, min2, s1, s2, _] = &mut text;
        for (digits, number) in [
            ([y1, y2], year / 100),
            ([y3, y4], year % 100),
            ([m1, m2], u32::from(u8::from(time.month()))),
            ([d1, d2], u32::from(time.day())),
            ([h1, h2], u32::from(time.hour())),
            ([min1, min2], u32::from(time.minute())),
            ([s1, s2], u32::from(time.second())),
        ] {
            let [tens, ones] = digits;
            *tens += (number / 10) as u8;
            *ones += (number % 10) as u8;
        }
        Self(text)
    }

    /// Only the exact form; AWS's other forms of a date are not for signatures made by today's clients.
    pub(super) fn parse(text: &str) -> Option<(Self, SystemTime)> {
        let bytes: [u8; 16] = text.as_bytes().try_into().ok()?;
        let date = calendar_date(text.get(..8)?)?;
        let (separator, time, zone) = (text.get(8..9)?, text.get(9..15)?, text.get(15..)?);
        if separator != "T" || zone != "Z" {
            return None;
        }
        let number = |range| two_digits(time, range);
        let time = Time::from_hms(number(0)?, number(2)?, number(4)?).ok()?;
        let seconds = date.with_time(time).assume_utc().unix_timestamp();
        Some((Self(bytes), from_epoch_seconds(u64::try_from(seconds).ok()?)))
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn date(&self) -> &str {
        self.as_str().get(..8).unwrap_or_default()
    }
}

/// Eight digits that are a day of the calendar.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct ScopeDate(Box<str>);

impl ScopeDate {
    fn parse(text: &str) -> Option<Self> {
        calendar_date(text).map(|_| Self(text.into()))
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

fn calendar_date(text: &str) -> Option<Date> {
    if text.len() != 8 {
        return None;
    }
    let number = |at| two_digits(text, at);
    let year = i32::from(number(0)?) * 100 + i32::from(number(2)?);
    Date::from_calendar_date(year, Month::try_from(number(4)?).ok()?, number(6)?).ok()
}

fn two_digits(text: &str, at: usize) -> Option<u8> {
    match text.as_bytes().get(at..at + 2)? {
        &[tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + ones - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_from_their_text() {
        for seconds in [0, 951_782_400, 1_440_938_160, 1_798_761_599, 253_402_300_799] {
            let time = from_epoch_seconds(seconds);
            let text = Timestamp::at(time);
            assert_eq!(Timestamp::parse(text.as_str()).map(|(_, time)| time), Some(time), "{}", text.as_str());
        }
        assert_eq!(Timestamp::at(from_epoch_seconds(1_440_938_160)).as_str(), "20150830T123600Z");
    }

    #[test]
    fn nothing_but_the_exact_form_is_a_moment() {
        for bad in [
            "",
            "20150830T123600",
            "20150830T123600z",
            "20150830t123600Z",
            "20150830T123600+",
            "20150230T123600Z",
            "20150830T243600Z",
            "2015-8-30T12360Z",
            "+0150830T123600Z",
            "20150830T1236000Z",
            "2015083éT12360Z",
        ] {
            assert!(Timestamp::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn scopes_come_back_from_their_text() {
        let text = "20260101/eu-west-1/s3/aws4_request";
        let scope: Scope = text.parse().unwrap();
        assert_eq!((scope.date(), scope.region().as_str(), scope.service().as_str()), ("20260101", "eu-west-1", "s3"));
        assert_eq!(scope.to_string(), text);
        assert_eq!(serde_json::to_value(&scope).unwrap(), text);
        assert_eq!(serde_json::from_value::<Scope>(text.into()).unwrap(), scope);
    }

    #[test]
    fn scopes_of_another_shape_are_refused() {
        for bad in [
            "",
            "20260101/eu-west-1/s3",
            "20260101/eu-west-1/s3/aws4_request/",
            "20260101/eu-west-1/s3/aws5_request",
            "20261301/eu-west-1/s3/aws4_request",
            "2026010/eu-west-1/s3/aws4_request",
            "20260101//s3/aws4_request",
            "20260101/eu-west-1/S3/aws4_request",
            "x/20260101/eu-west-1/s3/aws4_request",
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }
}

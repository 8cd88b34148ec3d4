//! `traceparent` and `tracestate` (W3C Trace Context, level 1).

use std::fmt;

use http::{HeaderMap, HeaderName};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The caller's span.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Parent {
    pub(super) span: u64,
    flags: u8,
}

impl Parent {
    /// The trace and span that the one `traceparent` names; nothing where it is malformed (§3.2.2).
    pub(super) fn read(headers: &HeaderMap) -> Option<(u128, Self)> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let (head, rest) = line.as_bytes().split_at_checked(LENGTH)?;
        let [v1, v2, b'-', trace @ .., b'-', f1, f2] = head else { return None };
        let (trace, span) = trace.split_at_checked(32)?;
        let version = number(&[*v1, *v2])?;
        // version 00 ends here; later ones may go on after a dash, and 255 is none
        if version == 255 || (version == 0 && !rest.is_empty()) || !(rest.is_empty() || rest.starts_with(b"-")) {
            return None;
        }
        let trace = number(trace).filter(|trace| *trace != 0)?;
        let span = number(span.strip_prefix(b"-")?).filter(|span| *span != 0)?;
        let flags = number(&[*f1, *f2])?;
        Some((trace, Self { span: u64::try_from(span).ok()?, flags: u8::try_from(flags).ok()? }))
    }

    pub(super) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// `00-<trace>-<span>-<flags>`
pub(super) fn write(trace: u128, span: u64, is_sampled: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(LENGTH);
    text.extend_from_slice(b"00-");
    digits(&mut text, trace, 32);
    text.push(b'-');
    digits(&mut text, span.into(), 16);
    text.extend_from_slice(if is_sampled { b"-01" } else { b"-00" });
    text
}

/// Whether what is there of `tracestate` is well formed (§3.3.1).
pub(super) fn is_state(headers: &HeaderMap) -> bool {
    let mut count = 0;
    headers.get_all(TRACESTATE).iter().all(|line| {
        line.as_bytes().split(|byte| *byte == b',').all(|member| {
            let member = member.trim_ascii();
            count += usize::from(!member.is_empty());
            member.is_empty() || (count <= MEMBERS && is_member(member))
        })
    })
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = member.split_at(at);
    let is_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let starts = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let value = value.get(1..).unwrap_or_default();
    let is_value = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'=';
    starts
        && key.len() <= 256
        && key.iter().all(is_key)
        && (1..=256).contains(&value.len())
        && value.iter().all(is_value)
}

/// Lower-case hexadecimal digits, and nothing else, as a number.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

fn digits(text: &mut Vec<u8>, number: u128, count: u32) {
    text.extend((0..count).rev().map(|place| digit(number, place)));
}

fn digit(number: u128, place: u32) -> u8 {
    let digit = (number >> (4 * place) & 15) as u8;
    digit + if digit < 10 { b'0' } else { b'a' - 10 }
}

/// A number as 32 digits.
pub(super) struct Hex128(pub(super) u128);

impl fmt::Display for Hex128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: [u8; 32] = std::array::from_fn(|at| digit(self.0, 31 - u32::try_from(at).unwrap_or(31)));
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
/// Members of `tracestate` (§3.3.1.1).
const MEMBERS: usize = 32;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(text: &str) -> Option<(u128, Parent)> {
        Parent::read(&HeaderMap::from_iter([(TRACEPARENT, text.parse().unwrap())]))
    }

    #[test]
    fn what_is_written_is_read() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (trace, parent) = read(GOOD).unwrap();
        assert!(parent.is_sampled());
        assert_eq!(write(trace, parent.span, true), GOOD.as_bytes());
        assert_eq!(Hex128(trace).to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(Hex128(1).to_string().len(), 32);
        // a later version may say more
        assert_eq!(read("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"), Some((trace, parent)));
    }

    #[test]
    fn anything_else_is_no_context() {
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let good = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let mut headers = HeaderMap::from_iter([(TRACEPARENT, good.clone())]);
        headers.append(TRACEPARENT, good);
        assert_eq!(Parent::read(&headers), None);
    }

    #[test]
    fn a_state_is_a_list_of_members() {
        let many = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        let (most, too_many, long) = (many(32), many(33), format!("k={}", "v".repeat(257)));
        for (text, is_one) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true),
            ("fw529a3039@dt=FfAEL, , x=1 ", true),
            ("", true),
            (&most, true),
            (&too_many, false),
            (&long, false),
            ("no", false),
            ("=v", false),
            ("k=", false),
            ("K=v", false),
            ("k=a=b", false),
        ] {
            let headers = HeaderMap::from_iter([(TRACESTATE, text.parse().unwrap())]);
            assert_eq!(is_state(&headers), is_one, "{text}");
        }
    }
}

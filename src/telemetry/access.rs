//! One line a request.
//!
//! Written by hand, as it runs for every request: a line costs about a microsecond, and nothing where access lines are off.

use std::fmt::{self, Display, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::text::{escaped, pair};
use super::{Format, Lines};
use crate::clock::rfc3339;

/// What is said of a request. Its query is not: it may hold codes and tokens.
pub struct Access<'a> {
    /// When it came.
    pub at: SystemTime,
    /// Its id, which error pages show too.
    pub request: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The method.
    pub method: &'a Method,
    /// The host it asked for.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// The answer's status.
    pub status: StatusCode,
    /// Why it failed, where it did: a fault's code.
    pub fault: Option<&'a str>,
    /// The route, where one was found.
    pub route: Option<&'a str>,
    /// Who asked: source and id.
    pub subject: Option<(&'a str, &'a str)>,
    /// Their session.
    pub session: Option<String>,
    /// The trace it belongs to, as 32 hexadecimal digits.
    pub trace: &'a dyn Display,
    /// From the head's arrival to the answer's head.
    pub took: Duration,
}

impl Access<'_> {
    /// Hands the line over; it is lost where the log can't keep up.
    pub fn write(&self, lines: &Lines, format: Format) {
        let mut line = String::with_capacity(448);
        match format {
            Format::Json => self.write_json(&mut line),
            Format::Text => self.write_text(&mut line),
        }
        lines.offer(line.as_bytes());
    }

    fn write_json(&self, line: &mut String) {
        let _ =
            write!(line, "{{\"timestamp\":\"{}\",\"level\":\"INFO\",\"target\":\"claviger::access\"", rfc3339(self.at));
        text(line, "request.id", self.request);
        let _ = write!(line, ",\"trace.id\":\"{}\"", self.trace);
        text(line, "listener", self.listener);
        let _ = write!(line, ",\"client\":\"{}\"", self.client);
        text(line, "method", self.method.as_str());
        text(line, "host", self.host);
        text(line, "path", self.path);
        let _ = write!(line, ",\"status\":{}", self.status.as_u16());
        if let Some(fault) = self.fault {
            text(line, "fault", fault);
        }
        if let Some(route) = self.route {
            text(line, "route.name", route);
        }
        if let Some((source, id)) = self.subject {
            text(line, "subject.source", source);
            text(line, "subject.id", id);
        }
        if let Some(session) = &self.session {
            text(line, "session.id", session);
        }
        let _ = writeln!(line, ",\"duration_ms\":{:.3}}}", self.took.as_secs_f64() * 1000.0);
    }

    /// Like the common log format (`client - person [time] "method target" status`), then what that has no place for.
    fn write_text(&self, line: &mut String) {
        let _ = write!(line, "{} - ", self.client);
        match self.subject {
            // a space ends the field
            Some((source, id)) => {
                let mut person = String::new();
                escaped(&mut person, &format!("{source}/{id}"));
                line.push_str(&person.replace(' ', "\\u{20}"));
            }
            None => line.push('-'),
        }
        let _ = write!(line, " [{}] \"{} ", rfc3339(self.at), self.method);
        escaped(line, self.host);
        escaped(line, self.path);
        let _ = write!(line, "\" {} {:.3}ms", self.status.as_u16(), self.took.as_secs_f64() * 1000.0);
        let session = self.session.as_deref();
        for (key, value) in [("route", self.route), ("fault", self.fault), ("session", session)] {
            if let Some(value) = value {
                line.push(' ');
                pair(line, key, value);
            }
        }
        let _ = writeln!(line, " listener={} request={} trace={}", self.listener, self.request, self.trace);
    }
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("request", &self.request).finish_non_exhaustive()
    }
}

/// `,"name":"value"` with the value escaped, so that no client can write a line of its own (A36).
fn text(line: &mut String, name: &str, value: &str) {
    line.push_str(",\"");
    line.push_str(name);
    line.push_str("\":\"");
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_breaks_out_of_its_line() {
        for hostile in ["\",\"status\":200,\"x\":\"", "a\nb\r\u{0}", "\\", "\u{2028}\u{9b}", "é🦀"] {
            let mut line = "{\"a\":1".to_owned();
            text(&mut line, "path", hostile);
            line.push('}');
            assert!(!line.contains('\n'));
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["path"], hostile);
            assert_eq!(read.as_object().unwrap().len(), 2);
        }
    }
}

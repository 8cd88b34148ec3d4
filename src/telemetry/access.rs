//! One JSON line a request.
//!
//! Written by hand, as it runs for every request: a line costs about a microsecond, and nothing where access lines are off.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::Lines;
use crate::clock::rfc3339;

/// What is said of a request. Its query is not: it may hold codes and tokens.
#[derive(Debug)]
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
    /// From the head's arrival to the answer's head.
    pub took: Duration,
}

impl Access<'_> {
    /// Hands the line over; it is lost where the log can't keep up.
    pub fn write(&self, lines: &Lines) {
        let mut line = String::with_capacity(384);
        let _ =
            write!(line, "{{\"timestamp\":\"{}\",\"level\":\"INFO\",\"target\":\"claviger::access\"", rfc3339(self.at));
        text(&mut line, "request.id", self.request);
        text(&mut line, "listener", self.listener);
        let _ = write!(line, ",\"client\":\"{}\"", self.client);
        text(&mut line, "method", self.method.as_str());
        text(&mut line, "host", self.host);
        text(&mut line, "path", self.path);
        let _ = write!(line, ",\"status\":{}", self.status.as_u16());
        if let Some(fault) = self.fault {
            text(&mut line, "fault", fault);
        }
        if let Some(route) = self.route {
            text(&mut line, "route.name", route);
        }
        if let Some((source, id)) = self.subject {
            text(&mut line, "subject.source", source);
            text(&mut line, "subject.id", id);
        }
        if let Some(session) = &self.session {
            text(&mut line, "session.id", session);
        }
        let _ = writeln!(line, ",\"duration_ms\":{:.3}}}", self.took.as_secs_f64() * 1000.0);
        lines.offer(line.as_bytes());
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

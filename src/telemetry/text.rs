//! Lines for people's eyes: `2026-01-01T00:00:00Z INFO the sentence key=value key="another value"`.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// The format of an event.
#[derive(Debug)]
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let mut said = Said::default();
        event.record(&mut said);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let audit = if target == super::AUDIT { " audit:" } else { "" };
        writeln!(writer, " {level}{audit} {}{}", said.sentence, said.fields)
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    sentence: String,
    fields: String,
}

impl Said {
    fn note(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            escaped(&mut self.sentence, value);
        } else {
            self.fields.push(' ');
            pair(&mut self.fields, field.name(), value);
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, &format!("{value:?}"));
    }
}

/// `key=value`, in quotes where the value has a space or a quote, or is empty.
pub(super) fn pair(line: &mut String, key: &str, value: &str) {
    line.push_str(key);
    line.push('=');
    let is_plain = !value.is_empty() && !value.contains([' ', '"', '=', '\\']);
    if !is_plain {
        line.push('"');
    }
    escaped(line, value);
    if !is_plain {
        line.push('"');
    }
}

/// The value so that it stays in its line and in its quotes, whoever wrote it (A36).
pub(super) fn escaped(line: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_breaks_out_of_its_line_or_its_quotes() {
        for (value, written) in [
            ("plain", "k=plain"),
            ("", "k=\"\""),
            ("two words", "k=\"two words\""),
            ("x\" other=1", "k=\"x\\\" other=1\""),
            ("a\nINFO forged", "k=\"a\\u{a}INFO forged\""),
            ("\u{1b}[2J\u{2028}", "k=\\u{1b}[2J\\u{2028}"),
            ("back\\", "k=\"back\\\\\""),
        ] {
            let mut line = String::new();
            pair(&mut line, "k", value);
            assert_eq!(line, written);
        }
    }
}

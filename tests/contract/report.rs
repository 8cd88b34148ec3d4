//! What was expected and what was seen, as rows of one table.

use std::fmt::Display;

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    expected: String,
    seen: String,
    met: bool,
}

impl Report {
    /// Expects exactly this.
    pub(crate) fn equal<T: Display + PartialEq>(&mut self, what: &str, expected: T, seen: T) {
        let met = expected == seen;
        self.row(what, expected, seen, met);
    }

    /// Expects what `met` says of `seen`; `expected` puts it in words.
    pub(crate) fn row(&mut self, what: &str, expected: impl Display, seen: impl Display, met: bool) {
        let row = Row { what: what.to_owned(), expected: expected.to_string(), seen: seen.to_string(), met };
        println!("{} {}: {}", if met { "ok  " } else { "FAIL" }, row.what, row.seen);
        self.rows.push(row);
    }

    /// The rows of a part that was asked meanwhile.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
    }

    /// Whether anything was asked, and everything was as expected.
    pub(crate) fn all_met(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.met)
    }

    /// The table, for people.
    pub(crate) fn table(&self) -> String {
        let head = ["", "what", "expected", "seen"].map(str::to_owned);
        let cells = self.rows.iter().map(|row| {
            let mark = if row.met { "ok" } else { "FAIL" };
            [mark.to_owned(), row.what.clone(), row.expected.clone(), row.seen.clone()]
        });
        let lines: Vec<[String; 4]> = std::iter::once(head).chain(cells).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths = [width(0), width(1), width(2)];
        let mut table = String::new();
        for [mark, what, expected, seen] in &lines {
            let [first, second, third] = widths;
            table.push_str(&format!("{mark:first$}  {what:second$}  {expected:third$}  {seen}\n"));
        }
        table
    }
}

//! What was expected and what was seen, as rows of one table.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

/// The rows so far, shared by all attacks.
#[derive(Clone, Debug, Default)]
pub struct Report(Rc<RefCell<Vec<Row>>>);

#[derive(Debug)]
struct Row {
    /// As `manual::vulnerabilities` numbers it.
    number: &'static str,
    name: String,
    expected: String,
    seen: String,
    /// None where it could not be tried.
    met: Option<bool>,
}

impl Report {
    /// Expects exactly this.
    pub fn equal<T: Display + PartialEq>(&self, number: &'static str, name: impl Display, expected: T, seen: T) {
        let met = expected == seen;
        self.row(number, name, expected, seen, met);
    }

    /// Expects what `met` says of `seen`; `expected` puts it in words.
    pub fn row(&self, number: &'static str, name: impl Display, expected: impl Display, seen: impl Display, met: bool) {
        self.add(Row { number, name: shown(name), expected: shown(expected), seen: shown(seen), met: Some(met) });
    }

    fn add(&self, row: Row) {
        let (mark, number) = (row.mark(), row.number);
        println!("{mark:7}  {number:4}  {}: expected {}; seen {}", row.name, row.expected, row.seen);
        self.0.borrow_mut().push(row);
    }

    /// A case that can't be tried here, and why.
    pub fn skipped(&self, number: &'static str, name: &str, why: &str) {
        self.add(Row { number, name: name.to_owned(), expected: String::new(), seen: shown(why), met: None });
    }

    /// Whether anything was asked, and everything was as expected.
    pub fn all_met(&self) -> bool {
        let rows = self.0.borrow();
        !rows.is_empty() && rows.iter().all(|row| row.met != Some(false))
    }

    /// The table, and what is not as expected in it with a summary.
    pub fn table(&self) -> (String, String) {
        let rows = self.0.borrow();
        let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default();
        let (names, expected) = (width(|row| &row.name), width(|row| &row.expected));
        let line = |row: &Row| {
            let (mark, number, name) = (row.mark(), row.number, &row.name);
            format!("{mark:7}  {number:4}  {name:names$}  {:expected$}  {}\n", row.expected, row.seen)
        };
        let count = |met: Option<bool>| rows.iter().filter(|row| row.met == met).count();
        let failures = rows.iter().filter(|row| row.met == Some(false)).map(line).collect::<String>();
        let counts = [count(Some(true)), count(Some(false)), count(None)];
        let summary = format!("{failures}{} passed, {} failed, {} skipped\n", counts[0], counts[1], counts[2]);
        (rows.iter().map(line).collect(), summary)
    }
}

impl Row {
    fn mark(&self) -> &'static str {
        match self.met {
            Some(true) => "ok",
            Some(false) => "NOT OK",
            None => "SKIPPED",
        }
    }
}

/// On one line, without what a terminal would act on.
fn shown(text: impl Display) -> String {
    let text: String = text.to_string().chars().flat_map(char::escape_debug).collect();
    let text = text.replace("\\\"", "\"").replace("\\'", "'");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

const LONGEST: usize = 160;

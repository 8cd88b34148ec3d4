//! Plain columns: no colours, no lines, nothing at the end of a row, so that they can be read by people and by `awk`.

use std::fmt;

/// Rows of texts, each column as wide as its widest text.
#[derive(Debug)]
pub(in crate::cli) struct Columns {
    indent: usize,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// By two spaces.
    pub(in crate::cli) fn indented() -> Self {
        Self::indented_by(2)
    }

    /// By so many spaces.
    pub(in crate::cli) fn indented_by(indent: usize) -> Self {
        Self { indent, rows: Vec::new() }
    }

    /// Whether there is nothing to show.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One more row.
    pub(in crate::cli) fn row(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get::<usize>(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (column, cell) in row.iter().enumerate() {
                let gap = if column + 1 < row.len() { width(column) + 2 } else { 0 };
                line.push_str(&format!("{cell:gap$}"));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut columns = Columns::indented();
        columns.row(["a".into(), "longer".into(), "x".into()]);
        columns.row(["äöü".into(), "b".into(), String::new()]);
        assert_eq!(columns.to_string(), "  a    longer  x\n  äöü  b\n");
    }
}

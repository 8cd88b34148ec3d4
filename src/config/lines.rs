//! Where in a config's text a key stands. It is asked only once something is wrong.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::error::below;

/// The line of each key and of each entry of a list, by its dotted path.
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Those of a text; none where it is no TOML.
    pub(super) fn of(text: &str) -> Self {
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
        let mut lines = BTreeMap::new();
        if let Ok(table) = DeTable::parse(text) {
            enter(table.get_ref(), "", &line, &mut lines);
        }
        Self(lines)
    }

    /// The line of the key at `path`, or of what it is missing in.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        let above = || self.find(path.get(..path.rfind(['.', '['])?)?);
        self.0.get(path).copied().or_else(above)
    }
}

fn enter(table: &DeTable<'_>, path: &str, line: &impl Fn(usize) -> usize, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = below(path, key.get_ref());
        lines.insert(path.clone(), line(key.span().start));
        enter_value(value.get_ref(), &path, line, lines);
    }
}

fn enter_value(value: &DeValue<'_>, path: &str, line: &impl Fn(usize) -> usize, lines: &mut BTreeMap<String, usize>) {
    match value {
        DeValue::Table(table) => enter(table, path, line, lines),
        DeValue::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                let path = below(path, &format!("[{i}]"));
                lines.insert(path.clone(), line(value.span().start));
                enter_value(value.get_ref(), &path, line, lines);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_where_it_stands_and_a_missing_one_in_its_section() {
        let text =
            "a = 1\n\n[route.wiki] # it\nhost = 'x'\nallow = [\n  { groups = ['y'] },\n  { }\n]\n[[list]]\nb.c = 1\n";
        let lines = Lines::of(text);
        for (path, line) in [
            ("a", Some(1)),
            ("route.wiki", Some(3)),
            ("route.wiki.host", Some(4)),
            ("route.wiki.allow[0].groups[0]", Some(6)),
            ("route.wiki.allow[1].users", Some(7)),
            ("route.wiki.upstream", Some(3)),
            ("list[0].b.c", Some(10)),
            ("listen", None),
            ("", None),
        ] {
            assert_eq!(lines.find(path), line, "{path}");
        }
        assert_eq!(Lines::of("no toml").find("a"), None);
    }
}

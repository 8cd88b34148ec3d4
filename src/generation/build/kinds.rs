//! Sections that name a kind: built with every mistake in them, or carried over where they stand on the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::{Table, Value};

use super::super::footing::{Footing, is_same_section};
use super::{Builder, Generation};
use crate::built_in::{self, BuiltIn, Settings, SettingsError};
use crate::config::{below, is_at_or_below};

impl Builder<'_> {
    /// Every section of a table of kinds that can be built.
    pub(super) fn kinds<T: ?Sized, C>(
        &mut self,
        section: &str,
        tables: &BTreeMap<Arc<str>, Table>,
        list: &[BuiltIn<T, C>],
        materials: &C,
    ) -> BTreeMap<Arc<str>, Arc<T>> {
        let build = |(name, table): (&Arc<str>, &Table)| {
            Some((Arc::clone(name), self.kind(name, &below(section, name), table, list, materials)?))
        };
        tables.iter().filter_map(build).collect()
    }

    /// Puts what the generation before had in the place of what stands on the same.
    pub(super) fn carry_over<T: ?Sized>(
        &self,
        section: &str,
        built: &mut BTreeMap<Arc<str>, Arc<T>>,
        had: &BTreeMap<Arc<str>, Arc<T>>,
        before: &Generation,
        stays: impl Fn(&Arc<str>) -> bool,
    ) {
        let is_same = |path: &str| is_same_section(&self.footings, &before.footings, path);
        for (name, part) in built {
            if let Some(old) = had.get(name).filter(|_| stays(name) && is_same(&below(section, name))) {
                *part = Arc::clone(old);
            }
        }
    }

    pub(super) fn kind<T: ?Sized, C>(
        &mut self,
        name: &str,
        path: &str,
        table: &Table,
        list: &[BuiltIn<T, C>],
        materials: &C,
    ) -> Option<Arc<T>> {
        let surroundings = self.config.surroundings.apart();
        let (mut rest, mut wrong) = (table.clone(), Vec::new());
        let built = loop {
            let (surroundings, table) = (&surroundings, rest.clone());
            let settings = Settings { name, table, surroundings, clock: &self.parts.clock };
            match built_in::build(list, settings, materials) {
                Ok(built) => break wrong.is_empty().then_some(built),
                // a kind stops at the first mistake: it is taken out, and the kind built again to find the others
                Err(error) if is_news(&error, &wrong) => {
                    let is_last = !take_out(&mut rest, &error.key);
                    wrong.push(error.key.clone());
                    self.errors.add_settings(path, error);
                    if is_last {
                        break None;
                    }
                }
                Err(_) => break None,
            }
        };
        let files = surroundings.files();
        self.config.surroundings.note(files.clone());
        self.footings.insert(path.to_owned(), Footing { table: table.clone(), files });
        built
    }
}

/// Whether an error is of itself, and not of one of these keys having been taken out.
fn is_news(error: &SettingsError, taken_out: &[String]) -> bool {
    !taken_out.iter().any(|key| is_at_or_below(key, &error.key) || error.problem.contains(&format!("`{key}`")))
}

/// Takes the key out of the table; false where it is not there.
fn take_out(table: &mut Table, key: &str) -> bool {
    match key.split_once('.') {
        Some((first, rest)) => match table.get_mut(first) {
            Some(Value::Table(inner)) => take_out(inner, rest),
            _ => false,
        },
        // of a list with a mistake in it, all goes
        None => table.remove(key.split('[').next().unwrap_or_default()).is_some(),
    }
}

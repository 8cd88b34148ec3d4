//! What a section stands on, so that a reload knows which sections have changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Table;

use crate::credentials::Mint;
use crate::files::Files;

/// What each section was built from, by its key path (`identity.corp`).
pub(super) type Footings = BTreeMap<String, Footing>;

/// A section's own text, what the files it names held, and the issuer it was given. The environment is no part of it:
/// a process has one for all its life.
#[derive(Clone, Debug)]
pub(super) struct Footing {
    pub(super) table: Table,
    pub(super) files: Files,
}

impl Footing {
    fn is_same(&self, other: &Self) -> bool {
        self.table == other.table && self.files == other.files
    }
}

/// Whether a section is what it was, with all the files it names.
pub(super) fn is_same_section(now: &Footings, then: &Footings, path: &str) -> bool {
    now.get(path).zip(then.get(path)).is_some_and(|(now, then)| now.is_same(then))
}

/// Whether both are the same issuer, or both none.
pub(super) fn is_same_mint(one: Option<&Arc<Mint>>, other: Option<&Arc<Mint>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

//! `claviger kinds`

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;

use super::check::tell;
use crate::built_in::BuiltIn;
use crate::{credentials, endpoint, identity, inject};

/// List what a section can name by its `kind`, or show an example of one.
#[derive(Debug, clap::Args)]
pub(super) struct Kinds {
    /// One table only.
    table: Option<Table>,
    /// Print a complete example of this kind; of each, where several tables have one of this name. `saml/keycloak`,
    /// `saml/entra`, `saml/okta` and `saml/adfs` are made for those providers.
    #[arg(long, value_name = "KIND")]
    example: Option<String>,
}

/// A table of kinds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Table {
    /// Where people and workloads come from: `[identity.<name>]`
    Identity,
    /// Services that issue AWS credentials: `[credentials.<name>]`
    Credentials,
    /// Doors for SDKs: `[endpoint.<name>]`
    Endpoint,
    /// What is put on a request: `inject` of a route
    Inject,
}

/// A kind without its type.
struct Kind {
    table: Table,
    kind: &'static str,
    summary: &'static str,
    example: &'static str,
}

impl Kinds {
    pub(super) fn run(self) -> ExitCode {
        let mut kinds = all();
        kinds.retain(|kind| self.table.is_none_or(|table| table == kind.table));
        match self.example {
            None => tell(&list(&kinds)),
            Some(name) => match kinds.iter().filter(|kind| kind.kind == name).collect::<Vec<_>>().as_slice() {
                [kind] => tell(kind.example),
                several @ [_, ..] => {
                    let each = several.iter().map(|kind| format!("# {}\n\n{}", kind.table.heading(), kind.example));
                    tell(&each.collect::<Vec<_>>().join("\n"));
                }
                [] if let Some((_, example)) = shaped().find(|(shape, _)| *shape == name) => tell(example),
                [] => {
                    let known = kinds.iter().map(|kind| kind.kind).chain(shaped().map(|(shape, _)| *shape));
                    let known: Vec<_> = known.collect();
                    eprintln!("claviger: there is no kind `{name}`; it may be one of: {}", known.join(", "));
                    return ExitCode::from(2);
                }
            },
        }
        ExitCode::SUCCESS
    }
}

impl Table {
    fn heading(self) -> &'static str {
        match self {
            Self::Identity => "[identity.<name>]",
            Self::Credentials => "[credentials.<name>]",
            Self::Endpoint => "[endpoint.<name>]",
            Self::Inject => "[route.<name>] inject",
        }
    }
}

fn all() -> Vec<Kind> {
    fn of<T: ?Sized, C>(table: Table, list: &'static [BuiltIn<T, C>]) -> impl Iterator<Item = Kind> {
        list.iter().map(move |b| Kind { table, kind: b.kind, summary: b.summary, example: b.example })
    }
    of(Table::Identity, identity::BUILT_INS)
        .chain(of(Table::Credentials, credentials::BUILT_INS))
        .chain(of(Table::Endpoint, endpoint::BUILT_INS))
        .chain(of(Table::Inject, inject::BUILT_INS))
        .collect()
}

/// Examples of a kind for what stands on the other side, by `kind/that`.
fn shaped() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    #[cfg(feature = "saml")]
    let of_saml = identity::SAML_EXAMPLES;
    #[cfg(not(feature = "saml"))]
    let of_saml = &[];
    identity::BEARER_EXAMPLES.iter().chain(of_saml)
}

fn list(kinds: &[Kind]) -> String {
    let width = kinds.iter().map(|kind| kind.kind.len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut last = None;
    for kind in kinds {
        if last.replace(kind.table) != Some(kind.table) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", kind.table.heading());
        }
        let _ = writeln!(text, "  {:width$}  {}", kind.kind, kind.summary);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_under_its_table() {
        let text = list(&all());
        for expected in
            ["[identity.<name>]\n  oidc", "[credentials.<name>]\n  minted", "[route.<name>] inject\n  headers"]
        {
            assert!(text.contains(expected), "{text}");
        }
    }
}

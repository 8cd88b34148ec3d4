//! Issuers whose tokens anybody in the world can get: what is wanted of a token there must say whose it is.

use std::collections::BTreeMap;

use super::wanted::Wanted;
use crate::built_in::SettingsError;

/// An issuer that all the service's customers share.
struct Shared {
    issuer: &'static str,
    /// Claims that say whose a token is: numbers, which nobody else ever gets.
    numbers: &'static [&'static str],
    /// Names, which somebody else may take after they were given up.
    names: &'static [&'static str],
}

/// Whether somebody's tokens alone are taken, where the issuer is one that all share.
pub(super) fn check(source: &str, issuer: &str, claims: &BTreeMap<String, Wanted>) -> Result<(), SettingsError> {
    let Some(shared) = SHARED.iter().find(|shared| shared.issuer == issuer.trim_end_matches('/')) else {
        return Ok(());
    };
    let has_number = shared.numbers.iter().any(|name| claims.get(*name).is_some_and(Wanted::is_exact));
    // `repo:acme/` says whose it is, and `repo:ac` could be anybody's
    let is_somebodys = |wanted: &Wanted| {
        let starts = wanted.starts();
        !starts.is_empty() && starts.iter().all(|start| wanted.is_exact() || start.contains('/'))
    };
    if !has_number && !shared.names.iter().any(|name| claims.get(*name).is_some_and(is_somebodys)) {
        let names: Vec<_> = shared.numbers.iter().chain(shared.names).map(|name| format!("`{name}`")).collect();
        let problem =
            format!("let in whoever has a token of {issuer}, which is anybody; expected one of {}", names.join(", "));
        return Err(SettingsError::at("claims", problem));
    }
    if !has_number {
        let numbers = shared.numbers.join(", ");
        tracing::warn!(source, numbers, "claims go by a name, which somebody else may take after it was given up");
    }
    let of_pull_requests = |wanted: &Wanted| wanted.starts().iter().any(|start| start.ends_with(":pull_request"));
    if claims.get("sub").is_some_and(of_pull_requests) {
        tracing::warn!(
            source,
            "claims take pull requests: whoever can open one may run code of their own with these keys"
        );
    }
    Ok(())
}

const SHARED: [Shared; 2] = [
    Shared {
        issuer: "https://token.actions.githubusercontent.com",
        numbers: &["repository_id", "repository_owner_id", "enterprise_id"],
        names: &["sub", "repository", "repository_owner", "job_workflow_ref"],
    },
    Shared {
        issuer: "https://gitlab.com",
        numbers: &["project_id", "namespace_id"],
        names: &["sub", "project_path", "namespace_path"],
    },
];

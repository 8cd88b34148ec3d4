//! Where SDKs ask, and what they would lack there now.

use serde_json::{Value, json};
use toml::Table;

use crate::config::Config;
use crate::generation::Generation;

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    name: String,
    kind: String,
    place: String,
    roles: Vec<String>,
    /// What it needs and is not there now; it may be there by the time it is needed.
    lacks: Option<String>,
}

/// Every endpoint of the config.
pub(super) fn all(config: &Config, generation: &Generation) -> Vec<Endpoint> {
    let each = generation.endpoints.iter().map(|(name, endpoint)| {
        let written = config.endpoint.get(name);
        Endpoint {
            name: name.to_string(),
            kind: text(written, "kind").unwrap_or_default(),
            place: endpoint.binding().to_string(),
            roles: roles(written),
            lacks: endpoint.lacks(),
        }
    });
    each.collect()
}

impl Endpoint {
    pub(super) fn columns(&self) -> [String; 4] {
        let warning = self.lacks.as_ref().map(|lacks| format!("nobody gets anything now: {lacks}"));
        [
            format!("{} ({})", self.name, self.kind),
            format!("on {}", self.place),
            self.roles.join(", "),
            warning.unwrap_or_default(),
        ]
    }

    pub(super) fn as_json(&self) -> Value {
        json!({"name": self.name, "kind": self.kind, "at": self.place, "roles": self.roles, "lacks": self.lacks})
    }
}

fn roles(written: Option<&Table>) -> Vec<String> {
    let several = written.and_then(|table| table.get("roles")?.as_array()).into_iter().flatten();
    let several = several.filter_map(|role| {
        let (name, role) = (role.get("name")?.as_str()?, role.get("role")?.as_str()?);
        Some(format!("{name}: {role}"))
    });
    text(written, "role").into_iter().chain(several).collect()
}

fn text(written: Option<&Table>, key: &str) -> Option<String> {
    written.and_then(|table| table.get(key)?.as_str()).map(str::to_owned)
}

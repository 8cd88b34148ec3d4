//! What an operator sees: access and audit lines, health, metrics; and what nobody does.

mod health;
mod lines;
mod metrics;
mod secrets;
mod text;
mod traces;

use crate::support::routes::{FINANCE, OPEN, SIGNED};
use crate::support::world::Plan;

/// Paths of every kind: signed, open to whoever is logged in, and such as STS or we refuse to some.
fn plan(more: &str) -> Plan {
    Plan::with_routes(&[SIGNED, OPEN, FINANCE, ROUTES, more].concat())
}

const ROUTES: &str = r#"
[route.direct]
host = "*"
path = "/direct"
upstream = "{upstream}"
credentials = "direct"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1" }

[route.staff]
host = "*"
path = "/staff"
upstream = "{upstream}"
allow = { groups = ["staff"] }
"#;

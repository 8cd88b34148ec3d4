//! What may be asked of claviger: by one connection, one client, and all together.

mod connections;
mod descriptors;
mod garbage;
mod parking;
mod rates;
mod shedding;
mod slow;

use crate::support::world::{Plan, World};

/// A claviger with these limits, whose routes are open to anyone but for `/private`.
async fn world(limits: &str) -> World {
    plan(limits).start().await
}

fn plan(limits: &str) -> Plan {
    Plan::with_routes(&format!("{ROUTES}\n{limits}"))
}

const ROUTES: &str = r#"
[route.public]
host = "*"
upstream = "{upstream}"
allow = "anyone"

[route.private]
host = "*"
path = "/private"
upstream = "{upstream}"
allow = "signed-in"
"#;

//! Credentials: asked for once, renewed in time, given to nobody else, and what happens when there are none.

mod outages;
mod own_token;
mod refusals;
mod rotation;
mod sharing;

/// A path that is signed for whoever is logged in, and one that is not, to log in without asking STS for anything.
const SIGNED: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
source_identity = "{subject.id}"
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]

[route.open]
host = "*"
path = "/open"
upstream = "{upstream}"
allow = "signed-in"
"#;

/// Lookups that found nothing at hand.
const MISSES: &str = "claviger_credentials_lookups_total{verdict=\"miss\"}";
const ENTRIES: &str = "claviger_credentials_entries";

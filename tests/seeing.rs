//! What an operator sees: access and audit lines, health, metrics; and what nobody does.

mod health;
mod lines;
mod metrics;
mod secrets;
mod text;
mod traces;

/// A path that is signed for whoever is logged in, one that is not, and one that STS refuses to most.
const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]

[route.open]
host = "*"
path = "/open"
upstream = "{upstream}"
allow = "signed-in"

[route.direct]
host = "*"
path = "/direct"
upstream = "{upstream}"
credentials = "direct"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1" }

[route.finance]
host = "*"
path = "/finance"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/finance"
tags = { department = "{claims.department}" }
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.staff]
host = "*"
path = "/staff"
upstream = "{upstream}"
allow = { groups = ["staff"] }
"#;

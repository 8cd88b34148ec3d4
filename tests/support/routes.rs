//! Routes that many worlds have, each a section of the config.

use http::StatusCode;

use super::browser::Browser;
use super::world::World;

/// Everything that is no other route's: for whoever is logged in, whom the upstream is told of.
pub const APP: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "headers" }
"#;

/// For anyone.
pub const PUBLIC: &str = r#"
[route.public]
host = "*"
path = "/public"
upstream = "{upstream}"
allow = "anyone"
"#;

/// For whoever is logged in, without any credentials: see [`World::newcomer`].
pub const OPEN: &str = r#"
[route.open]
host = "*"
path = "/open"
upstream = "{upstream}"
allow = "signed-in"
"#;

/// Everything that is no other route's, signed with a role that STS gives to whoever is logged in.
pub const SIGNED: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/anyone"
source_identity = "{subject.id}"
inject = [{ kind = "headers" }, { kind = "sigv4", service = "s3", region = "eu-west-1" }]
"#;

/// Everything that is no other route's, signed with a role that STS gives for the provider's own token.
pub const DIRECT: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "direct"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// Signed with a role that trusts tokens tagged with its own department: alice's are, and bob's are not.
pub const FINANCE: &str = r#"
[route.finance]
host = "*"
path = "/finance"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/finance"
tags = { department = "{claims.department}" }
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// For anyone, at an upstream of its own.
pub fn behind(upstream: &str) -> String {
    format!(
        r#"
[route.behind]
host = "*"
path = "/behind"
upstream = "{upstream}"
allow = "anyone"
"#
    )
}

impl World {
    /// A browser in which `name` has logged in at [`OPEN`], so that nothing was asked of STS yet.
    pub async fn newcomer(&self, name: &str) -> Browser {
        let mut browser = Browser::default();
        let answer = self.log_in(&mut browser, &self.url("/open"), name).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        browser
    }
}

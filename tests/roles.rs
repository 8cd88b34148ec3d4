//! Several roles on one route: one person, one choice, and nobody else's role.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::client::Answer;
use crate::support::routes::OPEN;
use crate::support::world::{Plan, World};

mod choosing;
mod losing;
mod others;
mod programs;

/// Everybody may read; alice may also work for finance, and nobody here is an engineer but who engineers.
const CONSOLE: &str = r#"
[route.console]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
tags = { department = "{claims.department}" }
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[[route.console.roles]]
name = "reader"
description = "Looks at everything"
role = "arn:aws:iam::123456789012:role/anyone"

[[route.console.roles]]
name = "accountant"
role = "arn:aws:iam::123456789012:role/{claims.department}"
allow = { groups = ["finance"] }

[[route.console.roles]]
name = "engineer"
role = "arn:aws:iam::123456789012:role/engineering"
allow = { groups = ["engineers"] }
"#;

/// Somebody can log in and have chosen nothing yet.
fn plan() -> Plan {
    Plan::with_routes(&[CONSOLE, OPEN].concat())
}

impl World {
    /// The role that the last request was signed with, and the key.
    async fn last_role(&self) -> (String, String) {
        let seen = self.upstream.last();
        let signer = self.signer(&seen, "s3").await;
        let role = signer["role"].as_str().unwrap_or_else(|| panic!("{signer}")).to_owned();
        let line = seen.all("authorization")[0].to_owned();
        (role, line.split("Credential=").nth(1).unwrap().split('/').next().unwrap().to_owned())
    }
}

/// Only the form that chooses this role, as if its button was pressed.
fn form_for(page: &Answer, role: &str) -> Answer {
    let forms = page.text().split("<form").skip(1).filter(|form| form.split('>').next().unwrap().contains(role));
    let mut body = String::new();
    forms.for_each(|form| write!(body, "<form{form}").unwrap());
    assert!(!body.is_empty(), "no {role} in {}", page.text());
    Answer { body: body.into_bytes(), ..page.clone() }
}

/// The names that an answer offers.
fn offered(answer: &Answer) -> Vec<String> {
    let names: Option<Vec<_>> = answer.json()["roles"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    names.unwrap_or_else(|| panic!("{}", answer.text()))
}

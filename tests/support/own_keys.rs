//! What the authority knows of claviger itself, which asks for people's roles with keys of its own.

use std::time::Duration;

use claviger::authority::{Account, PolicyText};
use claviger::secret::Secret;
use serde_json::{Value, json};

/// A user `claviger`, and the role `machine` that it may take: both may take `own`, told what is agreed on, and `direct`
/// may too.
pub fn add(account: &mut Account) {
    let arn = |resource: &str| format!("arn:aws:iam::123456789012:{resource}");
    let trust = |principals: &[String], condition: Value| {
        let actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
        let mut statement = json!({ "Effect": "Allow", "Principal": { "AWS": principals }, "Action": actions });
        if !condition.is_null() {
            statement["Condition"] = json!({ "StringEquals": condition });
        }
        PolicyText::Json(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string())
    };
    account.add_user("claviger", OWN_KEY, Secret::new(OWN_SECRET)).unwrap();
    let hour = Duration::from_secs(3600);
    account.add_role("machine", trust(&[arn("user/claviger")], Value::Null), hour).unwrap();
    let trusted = [arn("user/claviger"), arn("role/machine"), arn("role/direct")];
    let agreed = json!({ "sts:ExternalId": "agreed-on", "aws:RequestTag/department": "finance" });
    account.add_role("own", trust(&trusted, agreed), hour * 12).unwrap();
}

/// The keys of the authority's user `claviger`.
pub const OWN_KEY: &str = "AKIAOWNKEYEXAMPLE000";
pub const OWN_SECRET: &str = "own-canary-secret";

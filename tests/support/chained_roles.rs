//! Roles that only other roles may take.

use std::time::Duration;

use claviger::authority::{Account, PolicyText};
use serde_json::{Value, json};

/// `hub`, for those who have `anyone` or `direct`; `spoke`, for those who have `hub`, know what is agreed on and have a
/// department.
pub fn add(account: &mut Account) {
    let trust = |roles: &[&str], condition: Value| {
        let principals: Vec<_> = roles.iter().map(|role| format!("arn:aws:iam::123456789012:role/{role}")).collect();
        let actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
        let mut statement = json!({ "Effect": "Allow", "Principal": { "AWS": principals }, "Action": actions });
        if !condition.is_null() {
            statement["Condition"] = json!({ "StringEquals": condition });
        }
        PolicyText::Json(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string())
    };
    let hours = Duration::from_secs(12 * 3600);
    account.add_role("hub", trust(&["anyone", "direct"], Value::Null), hours).unwrap();
    let agreed = json!({ "sts:ExternalId": "agreed-on", "aws:PrincipalTag/department": "finance" });
    account.add_role("spoke", trust(&["hub"], agreed), hours).unwrap();
}

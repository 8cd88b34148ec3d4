//! What keys may at most, beside what their role may: STS's session policies (IAM guide, "Session policies").

use std::sync::Arc;

use serde_json::Value;

use super::settings::WantSettings;
use crate::arn::PolicyArn;
use crate::built_in::SettingsError;

/// Session policies. The keys may what the role and all of these allow.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SessionBounds {
    /// An IAM policy in JSON, without needless spaces: STS counts characters.
    pub policy: Option<Arc<str>>,
    /// Managed policies.
    pub policy_arns: Vec<PolicyArn>,
}

impl SessionBounds {
    pub(super) fn read(settings: &WantSettings, note: &mut impl FnMut(SettingsError)) -> Self {
        let policy = settings.policy.as_ref().and_then(|text| match compact(text) {
            Ok(policy) => Some(policy),
            Err(problem) => {
                note(SettingsError::at("policy", problem));
                None
            }
        });
        let arns = &settings.policy_arns;
        if arns.len() > MOST_ARNS {
            note(SettingsError::at("policy_arns", format!("{} policies; STS takes up to {MOST_ARNS}", arns.len())));
        }
        let read = arns.iter().enumerate().filter_map(|(i, text)| {
            text.parse().map_err(|e| note(SettingsError::at(format!("policy_arns[{i}]"), e))).ok()
        });
        Self { policy, policy_arns: read.collect() }
    }
}

/// A policy is an object with statements; what they mean only STS knows.
fn compact(text: &str) -> Result<Arc<str>, String> {
    let read: Value = serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))?;
    if !read.get("Statement").is_some_and(|it| it.is_object() || it.is_array()) {
        return Err("is no IAM policy; expected { \"Version\": \"2012-10-17\", \"Statement\": […] }".to_owned());
    }
    let compact = read.to_string();
    match compact.chars().count() {
        ..=LONGEST => Ok(compact.into()),
        count => Err(format!("has {count} characters; STS takes up to {LONGEST}")),
    }
}

/// STS API reference, `PolicyArns`.
const MOST_ARNS: usize = 10;
/// STS API reference, `Policy`.
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(policy: Option<&str>, arns: &[&str]) -> (SessionBounds, Vec<String>) {
        let mut keys = Vec::new();
        let settings = WantSettings {
            policy: policy.map(str::to_owned),
            policy_arns: arns.iter().map(|&arn| arn.to_owned()).collect(),
            ..WantSettings::default()
        };
        let bounds = SessionBounds::read(&settings, &mut |problem| keys.push(problem.key));
        (bounds, keys)
    }

    #[test]
    fn a_policy_is_an_object_with_statements_and_loses_its_spaces() {
        let (bounds, keys) = read(Some("{ \"Statement\":\n [] }"), &["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
        assert_eq!(
            (bounds.policy.as_deref(), bounds.policy_arns.len(), keys.len()),
            (Some(r#"{"Statement":[]}"#), 1, 0)
        );
        let long = format!(r#"{{"Statement":[],"Id":"{}"}}"#, "x".repeat(2048));
        for bad in ["", "[]", "{}", "null", r#"{"Statement":"*"}"#, long.as_str()] {
            assert_eq!(read(Some(bad), &[]).1, ["policy"], "{bad}");
        }
        for bad in
            ["", "ReadOnlyAccess", "arn:aws:iam::aws:role/x", "arn:aws:iam::aws:policy/", "arn:aws:iam::1:policy/x"]
        {
            assert_eq!(read(None, &["arn:aws:iam::123456789012:policy/team/x", bad]).1, ["policy_arns[1]"], "{bad}");
        }
        assert_eq!(read(None, &["arn:aws:iam::aws:policy/x"; 11]).1, ["policy_arns"]);
    }
}

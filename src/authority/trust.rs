//! A role's trust policy: who may assume it, and on what conditions (IAM's policy language, for STS actions).
//!
//! A policy is read whole or not at all: an operator, key, action or principal that this module doesn't know is an
//! error when the policy is loaded, because a `Deny` that is not understood would deny nothing.

mod condition;
mod context;
mod document;
mod pattern;

use std::fmt;

use self::condition::Condition;
pub(super) use self::context::{Context, Key};
use self::document::{Document, Many, RawEffect, RawPrincipal, RawStatement};

/// A trust policy that has been read and understood.
#[derive(Clone, Debug)]
pub(super) struct TrustPolicy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    deny: bool,
    principals: Vec<Trusted>,
    actions: Vec<String>,
    conditions: Vec<Condition>,
}

/// Whom a statement speaks of.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Trusted {
    Anyone,
    /// Any signed caller.
    AnyAws,
    /// A registered provider's ARN.
    Provider(String),
    /// Every user and role session of an account. IAM would look at their own policies next; here there are none.
    Account(String),
    /// A user, a role (so each of its sessions), or one session.
    Arn(String),
    /// A service of AWS's: none is here.
    Nobody,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker<'a> {
    /// The bearer of a token of this provider (its ARN).
    Federated(&'a str),
    /// A signed caller.
    Aws {
        account: &'a str,
        /// The user or session.
        arn: &'a str,
        /// The role that a session is of.
        role: Option<&'a str>,
    },
}

/// What policies may be about: the providers that are registered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// `host/path` of each, the prefix of its claims' keys.
    pub(super) providers: &'a [String],
    /// The ARN of each.
    pub(super) provider_arns: &'a [String],
}

/// Why a policy can't be loaded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{problem}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub(super) struct PolicyError {
    path: String,
    problem: String,
}

impl PolicyError {
    fn at(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        let path = path.into();
        Self { path: if path == "." { String::new() } else { path }, problem: problem.to_string() }
    }
}

impl TrustPolicy {
    /// Reads a policy in JSON.
    pub(super) fn from_json(text: &str, known: Known<'_>) -> Result<Self, PolicyError> {
        Self::understand(Document::from_json(text)?, known)
    }

    /// Reads a policy in the same shape as a TOML table.
    pub(super) fn from_table(table: toml::Table, known: Known<'_>) -> Result<Self, PolicyError> {
        Self::understand(Document::from_table(table)?, known)
    }

    /// Whether `asker` may do `action`: some statement allows it, and none denies it.
    pub(super) fn allows(&self, action: &str, asker: Asker<'_>, context: &Context) -> bool {
        let concerned = |s: &&Statement| s.speaks_of(asker) && s.covers(action);
        let denied = self.statements.iter().filter(|s| s.deny).filter(concerned).any(|s| s.may_apply(context));
        let allowed = self.statements.iter().filter(|s| !s.deny).filter(concerned).any(|s| s.applies(context));
        allowed && !denied
    }

    fn understand(document: Document, known: Known<'_>) -> Result<Self, PolicyError> {
        if let Some(version) = &document.version
            && !matches!(version.as_str(), "2012-10-17" | "2008-10-17")
        {
            return Err(PolicyError::at("Version", format!("`{version}` is not 2012-10-17")));
        }
        if document.statement.0.is_empty() {
            return Err(PolicyError::at("Statement", "there is none"));
        }
        let statements = document.statement.0.into_iter().enumerate();
        let statements = statements.map(|(i, s)| Statement::understand(s, &format!("Statement[{i}]"), known));
        Ok(Self { statements: statements.collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn understand(raw: RawStatement, at: &str, known: Known<'_>) -> Result<Self, PolicyError> {
        let principals = match raw.principal {
            RawPrincipal::Anyone => vec![Trusted::Anyone],
            RawPrincipal::Listed(listed) => {
                let aws = listed.aws.0.into_iter().map(Trusted::aws);
                let federated = listed.federated.0.into_iter().map(|arn| Trusted::provider(arn, known));
                let service = listed.service.0.into_iter().map(|_| Ok(Trusted::Nobody));
                let principals = aws.chain(federated).chain(service).collect::<Result<Vec<_>, _>>();
                principals.map_err(|problem| PolicyError::at(format!("{at}.Principal"), problem))?
            }
        };
        if principals.is_empty() {
            return Err(PolicyError::at(format!("{at}.Principal"), "there is none"));
        }
        let Many(actions) = raw.action;
        if actions.is_empty() {
            return Err(PolicyError::at(format!("{at}.Action"), "there is none"));
        }
        for action in &actions {
            if !ACTIONS.iter().any(|known| covers(action, known)) {
                let problem = format!("`{action}` is no STS action; expected one of {}", ACTIONS.join(", "));
                return Err(PolicyError::at(format!("{at}.Action"), problem));
            }
        }
        let mut conditions = Vec::new();
        for (operator, keys) in raw.condition.0 {
            for (name, values) in keys.0 {
                let at = format!("{at}.Condition.{operator}.{name}");
                let key = Key::parse(&name, known.providers).ok_or_else(|| {
                    PolicyError::at(&at, "unknown condition key, or a claim of no registered provider")
                })?;
                let values: Vec<String> = values.0.into_iter().map(|v| v.0).collect();
                conditions.push(Condition::parse(&operator, key, &values).map_err(|p| PolicyError::at(&at, p))?);
            }
        }
        Ok(Self { deny: raw.effect == RawEffect::Deny, principals, actions, conditions })
    }

    fn speaks_of(&self, asker: Asker<'_>) -> bool {
        self.principals.iter().any(|trusted| trusted.is(asker))
    }

    fn covers(&self, action: &str) -> bool {
        self.actions.iter().any(|pattern| covers(pattern, action))
    }

    /// For an `Allow`: every condition surely holds.
    fn applies(&self, context: &Context) -> bool {
        self.conditions.iter().all(|c| c.holds(context) == Some(true))
    }

    /// For a `Deny`: no condition surely fails.
    fn may_apply(&self, context: &Context) -> bool {
        self.conditions.iter().all(|c| c.holds(context) != Some(false))
    }
}

impl Trusted {
    fn aws(text: String) -> Result<Self, String> {
        let is_account = |text: &str| text.parse::<crate::arn::AccountId>().is_ok();
        if text == "*" {
            return Ok(Self::AnyAws);
        }
        if is_account(&text) {
            return Ok(Self::Account(text));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", _, "iam", "", account, "root"] if is_account(account) => Ok(Self::Account((*account).to_owned())),
            ["arn", _, "iam", "", account, name]
                if is_account(account)
                    && (name.starts_with("user/") || name.starts_with("role/"))
                    && is_plain(name) =>
            {
                Ok(Self::Arn(text))
            }
            ["arn", _, "sts", "", account, name]
                if is_account(account) && name.starts_with("assumed-role/") && is_plain(name) =>
            {
                Ok(Self::Arn(text))
            }
            // IAM takes no wildcard within a principal either
            _ => Err(format!("`{text}` is not \"*\", an account, or the ARN of a user, role or role session")),
        }
    }

    fn provider(arn: String, known: Known<'_>) -> Result<Self, String> {
        if known.provider_arns.contains(&arn) {
            Ok(Self::Provider(arn))
        } else {
            Err(format!("`{arn}` is not a registered provider; there are: {}", known.provider_arns.join(", ")))
        }
    }

    fn is(&self, asker: Asker<'_>) -> bool {
        match (self, asker) {
            (Self::Anyone, _) | (Self::AnyAws, Asker::Aws { .. }) => true,
            (Self::Provider(trusted), Asker::Federated(arn)) => trusted == arn,
            (Self::Account(trusted), Asker::Aws { account, .. }) => trusted == account,
            (Self::Arn(trusted), Asker::Aws { arn, role, .. }) => trusted == arn || Some(trusted.as_str()) == role,
            _ => false,
        }
    }
}

/// Actions have no case in IAM.
fn covers(pattern: &str, action: &str) -> bool {
    pattern::matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

fn is_plain(name: &str) -> bool {
    !name.contains(['*', '?', '$']) && !name.ends_with('/')
}

/// What a trust policy can speak of.
const ACTIONS: [&str; 5] = [
    "sts:AssumeRole",
    "sts:AssumeRoleWithSAML",
    "sts:AssumeRoleWithWebIdentity",
    "sts:SetSourceIdentity",
    "sts:TagSession",
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "idp.example.com:8443/realms/corp";
    const ARN: &str = "arn:aws:iam::123456789012:oidc-provider/idp.example.com:8443/realms/corp";
    const OTHER: &str = "arn:aws:iam::123456789012:oidc-provider/other.example.com";

    fn read(policy: &Value) -> Result<TrustPolicy, PolicyError> {
        let providers = [ID.to_owned(), "other.example.com".to_owned()];
        let known = Known { providers: &providers, provider_arns: &[ARN.to_owned(), OTHER.to_owned()] };
        TrustPolicy::from_json(&policy.to_string(), known)
    }

    fn statement(effect: &str, condition: &Value) -> Value {
        json!({"Effect": effect, "Principal": {"Federated": ARN}, "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": condition})
    }

    fn context() -> Context {
        let claims = json!({"sub": "alice", "aud": "app", "groups": ["dev", "ops"], "email_verified": true, "level": 3,
            "address": {"country": "x"}, "none": []});
        let mut context = Context::default();
        context.add_claims(ID, claims.as_object().unwrap());
        context.set(Key::global("aws:SourceIp"), "10.1.2.3");
        context.set(Key::global("sts:RoleSessionName"), "alice");
        context.set(Key::request_tag("Department"), "finance");
        context.set_all(Key::global("aws:TagKeys"), vec!["Department".to_owned()]);
        context
    }

    fn allows(policy: &Value) -> bool {
        read(policy).unwrap().allows("sts:AssumeRoleWithWebIdentity", Asker::Federated(ARN), &context())
    }

    #[test]
    fn conditions_decide() {
        let key = |claim: &str| format!("{ID}:{claim}");
        for (condition, allowed) in [
            (json!({}), true),
            (json!({"StringEquals": {key("aud"): "app", key("sub"): ["alice", "bob"]}}), true),
            (json!({"StringEquals": {key("aud"): "app", key("sub"): "bob"}}), false),
            (json!({"StringEquals": {key("aud"): "app"}, "StringLike": {key("sub"): "b*"}}), false),
            (json!({"ForAnyValue:StringEquals": {key("groups"): "ops"}}), true),
            (json!({"ForAllValues:StringEquals": {key("groups"): "ops"}}), false),
            (json!({"StringEquals": {key("groups"): "ops"}}), false),
            (json!({"StringNotEquals": {key("groups"): "admin"}}), false),
            (json!({"StringEquals": {key("missing"): "x"}}), false),
            (json!({"Null": {key("address"): "true", key("none"): "true"}}), true),
            (json!({"Bool": {key("email_verified"): true}}), true),
            (json!({"NumericGreaterThanEquals": {key("level"): 3}}), true),
            (json!({"StringEquals": {"aws:RequestTag/department": "finance"}}), true),
            (json!({"StringEquals": {"AWS:requesttag/Department": "hr"}}), false),
            (json!({"ForAllValues:StringEquals": {"aws:TagKeys": ["Department", "Project"]}}), true),
            (json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), true),
            (json!({"StringEquals": {"sts:RoleSessionName": "mallory"}}), false),
            (json!({"StringEquals": {"sts:SourceIdentity": "alice"}}), false),
        ] {
            assert_eq!(allows(&json!({"Statement": statement("Allow", &condition)})), allowed, "{condition}");
        }
    }

    #[test]
    fn a_deny_wins_and_an_unclear_one_too() {
        let key = |claim: &str| format!("{ID}:{claim}");
        for (condition, allowed) in [
            (json!({"StringEquals": {key("sub"): "alice"}}), false),
            (json!({"StringEquals": {key("sub"): "bob"}}), true),
            (json!({"StringEquals": {key("groups"): "guests"}}), false), // several values: can't be judged
            (json!({"NumericLessThan": {key("sub"): 5}}), false),        // not a number: can't be judged
        ] {
            let policy = json!({"Version": "2012-10-17",
                "Statement": [statement("Allow", &json!({})), statement("Deny", &condition)]});
            assert_eq!(allows(&policy), allowed, "{condition}");
        }
    }

    #[test]
    fn only_who_and_what_is_named_is_allowed() {
        let aws = |arn, role| Asker::Aws { account: "123456789012", arn, role };
        let user = aws("arn:aws:iam::123456789012:user/ci", None);
        let session =
            aws("arn:aws:sts::123456789012:assumed-role/app/alice", Some("arn:aws:iam::123456789012:role/app"));
        let (web, plain) = ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRole");
        for (principal, action, asker, asked, allowed) in [
            (json!({"Federated": ARN}), json!(web), Asker::Federated(ARN), web, true),
            (json!({"Federated": ARN}), json!(web), Asker::Federated(OTHER), web, false),
            (json!({"Federated": [OTHER, ARN]}), json!([web]), Asker::Federated(ARN), web, true),
            (json!({"Federated": ARN}), json!(web), Asker::Federated(ARN), "sts:TagSession", false),
            (json!({"Federated": ARN}), json!("sts:*"), Asker::Federated(ARN), "sts:TagSession", true),
            (json!({"Federated": ARN}), json!("STS:assumerolewith*"), Asker::Federated(ARN), web, true),
            (json!({"Federated": ARN}), json!(plain), user, plain, false),
            (json!("*"), json!("*"), Asker::Federated(OTHER), web, true),
            (json!({"AWS": "*"}), json!("*"), Asker::Federated(ARN), web, false),
            (json!({"AWS": "*"}), json!(plain), user, plain, true),
            (json!({"AWS": "123456789012"}), json!(plain), user, plain, true),
            (json!({"AWS": "arn:aws:iam::123456789012:root"}), json!(plain), session, plain, true),
            (json!({"AWS": "arn:aws:iam::210987654321:root"}), json!(plain), session, plain, false),
            (json!({"AWS": "arn:aws:iam::123456789012:role/app"}), json!(plain), session, plain, true),
            (json!({"AWS": "arn:aws:iam::123456789012:role/app"}), json!(plain), user, plain, false),
            (json!({"AWS": "arn:aws:iam::123456789012:role/ap"}), json!(plain), session, plain, false),
            (json!({"AWS": "arn:aws:sts::123456789012:assumed-role/app/alice"}), json!(plain), session, plain, true),
            (json!({"AWS": "arn:aws:sts::123456789012:assumed-role/app/bob"}), json!(plain), session, plain, false),
            (json!({"Service": "ec2.amazonaws.com"}), json!(plain), user, plain, false),
        ] {
            let policy = json!({"Statement": {"Effect": "Allow", "Principal": principal, "Action": action}});
            assert_eq!(read(&policy).unwrap().allows(asked, asker, &Context::default()), allowed, "{policy} {asked}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_and_not_loaded() {
        let allow = |key: &str, value: Value| {
            let mut statement = statement("Allow", &json!({}));
            statement[key] = value;
            json!({"Statement": [statement]})
        };
        for (policy, named) in [
            (allow("Effect", json!("allow")), "Statement[0].Effect"),
            (allow("NotPrincipal", json!("*")), "NotPrincipal"),
            (allow("NotAction", json!("sts:AssumeRole")), "NotAction"),
            (allow("Resource", json!("*")), "Resource"),
            (allow("Action", json!("sts:AssumeRoleWithWebIdentify")), "Statement[0].Action"),
            (allow("Action", json!("s3:GetObject")), "Statement[0].Action"),
            (allow("Action", json!([])), "Statement[0].Action"),
            (allow("Principal", json!("arn:aws:iam::123456789012:root")), "Statement[0].Principal"),
            (allow("Principal", json!({})), "Statement[0].Principal"),
            (allow("Principal", json!({"Federated": "*"})), "Statement[0].Principal"),
            (allow("Principal", json!({"Federated": format!("{ARN}x")})), "Statement[0].Principal"),
            (allow("Principal", json!({"AWS": "arn:aws:iam::123456789012:role/*"})), "Statement[0].Principal"),
            (allow("Principal", json!({"Canonical": "x"})), "Canonical"),
            (allow("Condition", json!({"StringEquals": {"nobody.example.com:sub": "a"}})), "nobody.example.com:sub"),
            (allow("Condition", json!({"StringEquals": {format!("{ID}:"): "a"}})), ID),
            (allow("Condition", json!({"StringEquals": {"aws:SourceIpp": "a"}})), "aws:SourceIpp"),
            (allow("Condition", json!({"StringEquals": {"aws:RequestTag/": "a"}})), "aws:RequestTag/"),
            (allow("Condition", json!({"StringEqual": {"aws:SourceIp": "a"}})), "StringEqual"),
            (allow("Condition", json!({"StringEquals": {"aws:SourceIp": {"a": 1}}})), "Condition"),
            (json!({"Statement": []}), "Statement"),
            (json!({"Version": "2026-01-01", "Statement": []}), "Version"),
            (json!([]), ""),
        ] {
            let error = read(&policy).unwrap_err().to_string();
            assert!(error.contains(named), "{policy}: {error}");
        }
    }

    #[test]
    fn a_condition_given_twice_is_not_dropped() {
        let providers = Known { providers: &[], provider_arns: &[] };
        let policy = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Condition": {
            "StringEquals": {"sts:ExternalId": "a"}, "StringEquals": {"sts:RoleSessionName": "b"}}}}"#;
        let error = TrustPolicy::from_json(policy, providers).unwrap_err();
        assert!(error.to_string().contains("`StringEquals` is given twice"), "{error}");
    }

    #[test]
    fn a_table_reads_as_json_does() {
        let table = toml::toml! {
            Version = "2012-10-17"
            [[Statement]]
            Effect = "Allow"
            Principal = "*"
            Action = ["sts:AssumeRole", "sts:TagSession"]
            Condition = { StringEquals = { "sts:ExternalId" = ["one", "two"] } }
        };
        let policy = TrustPolicy::from_table(table, Known { providers: &[], provider_arns: &[] }).unwrap();
        let user = Asker::Aws { account: "123456789012", arn: "arn:aws:iam::123456789012:user/ci", role: None };
        let mut context = Context::default();
        assert!(!policy.allows("sts:AssumeRole", user, &context));
        context.set(Key::global("sts:ExternalId"), "two");
        assert!(policy.allows("sts:AssumeRole", user, &context));
    }
}

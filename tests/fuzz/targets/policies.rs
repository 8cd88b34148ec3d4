//! Templates, trust policies and configs: whatever they say, it is one thing or refused (A20, A33).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use claviger::authority::{Account, PolicyText};
use claviger::built_in::{Environment, Surroundings};
use claviger::clock::from_epoch_seconds;
use claviger::config::Config;
use claviger::identity::{Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Identity, Subject};
use claviger::policy::{AllowSettings, Ask, Call, NormalPath, Policy, Tellable, WantSettings, Wanted, Way};
use http::Method;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;

/// Claims as JSON: the role is the one that the template means, or none.
pub fn template(data: &[u8]) {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let want = WantSettings {
            role: Some(format!("{ROLE}{{claims.department}}")),
            tags: [("team".to_owned(), "{claims.team.name}".to_owned())].into(),
            source_identity: Some("{subject.id}".to_owned()),
            ..WantSettings::default()
        };
        let all = Tellable {
            call: Call::AssumeRoleWithWebIdentity,
            session_name: Way::Parameter,
            tags: Way::MintedClaim,
            source_identity: Way::MintedClaim,
            duration: Way::Parameter,
        };
        Policy::build(&AllowSettings::SignedIn, Some(&want), Some(("minted", all))).expect("a policy")
    });
    let Ok(Value::Object(mut claims)) = serde_json::from_slice::<Value>(data) else { return };
    let id = claims.remove("sub").and_then(|sub| sub.as_str().map(str::to_owned)).unwrap_or_else(|| "u-1".to_owned());
    let department = claims.get("department").cloned();
    let ends = from_epoch_seconds(NOW + 60);
    let identity = Identity {
        subject: Arc::new(Subject { source: "corp".into(), id: id.as_str().into() }),
        claims: Claims::new(claims),
        ends_at: ends,
        holder: Holder { id: HolderId::random(), ends, evidence: Arc::new(NoEvidence) },
    };
    let path = NormalPath::parse("/").expect("a path");
    let (peer, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), from_epoch_seconds(NOW));
    let ask = Ask { identity: Some(&identity), method: &Method::GET, path: &path, role: Wanted::Any, peer, now };
    let Ok(permit) = POLICY.decide(ask) else { return };
    let grant = permit.grant().expect("the policy wants a role");
    let name = |text: &str, longest| {
        (1..=longest).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte))
    };
    let filled = grant.role.as_str().strip_prefix(ROLE).expect("no claim changes the rest");
    assert!(name(filled, 64), "{filled:?}");
    let said = match department {
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
        None => panic!("a role without the claim"),
    };
    assert_eq!(filled, said);
    assert!(
        grant.session_name.as_str().len() >= 2 && name(grant.session_name.as_str(), 64),
        "{:?}",
        grant.session_name
    );
    assert_eq!(grant.source_identity.as_ref().map(|identity| identity.as_str()), Some(id.as_str()));
    assert!(
        grant
            .tags
            .iter()
            .all(|(_, value)| value.as_str().chars().count() <= 256 && !value.as_str().contains(char::is_control))
    );
}

const ROLE: &str = "arn:aws:iam::123456789012:role/reports-";

#[derive(Debug)]
struct NoEvidence;

#[async_trait]
impl EvidenceSource for NoEvidence {
    async fn evidence(&self, _: Duration) -> Result<Evidence, EvidenceError> {
        Err(EvidenceError::Expired)
    }
}

pub fn template_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        r#"{"department":"finance","team":{"name":"a b"},"preferred_username":"alice"}"#,
        r#"{"department":"x/admin","team":{"name":"y"}}"#,
        r#"{"department":5,"team":{"name":true},"email":"a@b@c","sub":"a*b"}"#,
        r#"{"department":"{claims.team.name}","team":{"name":"\n"},"name":"\u00e4\u0000"}"#,
        r#"{"department":["finance"],"team.name":"z"}"#,
    ])
}

/// A trust policy: it reads, or it is refused; and what is not even JSON is refused.
pub fn trust(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut account = Account::new("123456789012".parse().expect("an account"), "eu-west-1".parse().expect("a region"));
    account.add_provider("https://idp.test", vec!["claviger".to_owned()]).expect("a provider");
    let role = account.add_role("reports", PolicyText::Json(text.to_owned()), Duration::from_secs(3600));
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        assert!(role.is_err(), "{text:?} is a policy");
        return;
    };
    let statements = match value.get("Statement") {
        Some(Value::Array(list)) => list.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => Vec::new(),
    };
    if role.is_ok() {
        assert!(!statements.is_empty(), "{text:?} says nothing, and is a policy");
        // what is not understood must not be taken for nothing: it might have been a condition
        for statement in &statements {
            let known = ["Sid", "Effect", "Principal", "Action", "Condition"];
            let all = statement.as_object().expect("a statement is an object");
            assert!(all.keys().all(|key| known.contains(&key.as_str())), "{text:?}");
            assert!(matches!(all.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")), "{text:?}");
        }
    }
}

pub fn trust_seeds() -> Vec<Vec<u8>> {
    let provider = "arn:aws:iam::123456789012:oidc-provider/idp.test";
    let statement = |condition: Value| {
        json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Principal": { "Federated": provider },
                "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition } })
    };
    let conditions = [
        json!({ "StringEquals": { "idp.test:aud": "claviger", "aws:RequestTag/department": ["finance", "it"] } }),
        json!({ "StringLike": { "idp.test:sub": "a*b?" }, "Null": { "aws:RequestTag/x": "true" } }),
        json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["a"] } }),
        json!({ "NumericLessThan": { "x": "1" } }),
    ];
    let mut seeds: Vec<Vec<u8>> = conditions.map(|condition| statement(condition).to_string().into_bytes()).into();
    seeds.extend(super::texts(&[
        r#"{"Version":"2012-10-17","Statement":[]}"#,
        r#"{"Statement":[{"Effect":"Deny","NotPrincipal":"*"}]}"#,
        "[[[[",
    ]));
    seeds
}

/// A config: it is sound, or every error says where; reading it twice gives the same.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = || Config::parse(text, Surroundings::new("/nonexistent", Environment::default()));
    match (read(), read()) {
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        (Ok(one), Ok(two)) => {
            assert_eq!(one.errors.to_string(), two.errors.to_string());
            if let Ok(config) = one.sound() {
                let serves_people = !config.listen.is_empty() && !config.route.is_empty();
                let serves_programs = !config.endpoint.is_empty() || !config.profile.is_empty();
                assert!(serves_people || serves_programs, "{text:?} serves nothing");
            }
        }
        _ => panic!("{text:?} is read in two ways"),
    }
}

pub fn config_seeds() -> Vec<Vec<u8>> {
    let reference = include_bytes!("../../../config/reference.toml").to_vec();
    let small = "[listen.main]\naddress = '127.0.0.1:1'\n[route.a]\nhost = '*'\nupstream = 'http://127.0.0.1:2'\nallow = 'anyone'\n";
    let mut seeds = vec![reference, small.as_bytes().to_vec()];
    seeds.extend(super::texts(&[
        "route = 1",
        "[route.a]\nallow = [{ groups = [] }]\ntimeouts = { idle = '1y' }",
        "a.b.c.d = [[[]]]",
    ]));
    seeds
}

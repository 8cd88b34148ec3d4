//! What rules let pass, what grants hold, and what is wrong with settings.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::clock::from_epoch_seconds;
use crate::identity::{Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId};

#[derive(Debug)]
struct NoEvidence;

#[async_trait]
impl EvidenceSource for NoEvidence {
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        Err(EvidenceError::Expired)
    }
}

/// `u-1` of `corp`, logged in until [`ENDS`], with these claims.
pub(super) fn identity(claims: Value) -> Identity {
    let ends = from_epoch_seconds(ENDS);
    Identity {
        subject: Arc::new(Subject { source: "corp".into(), id: "u-1".into() }),
        claims: Claims::new(claims.as_object().cloned().unwrap()),
        ends_at: ends,
        holder: Holder { id: HolderId::random(), ends, evidence: Arc::new(NoEvidence) },
    }
}

pub(super) fn policy(text: &str) -> Result<Policy, Vec<SettingsError>> {
    by(text, ALL)
}

/// A policy whose provider can tell STS this much.
fn by(text: &str, tellable: Tellable) -> Result<Policy, Vec<SettingsError>> {
    #[derive(serde::Deserialize)]
    struct Section {
        allow: AllowSettings,
        #[serde(default)]
        want: WantSettings,
    }
    let section: Section = toml::from_str(text).unwrap();
    Policy::build(&section.allow, Some(&section.want), Some(("aws", tellable)))
}

fn decide(policy: &Policy, identity: Option<&Identity>, method: Method, path: &str) -> Result<Permit, Denied> {
    let path = NormalPath::parse(path).unwrap();
    policy.decide(Ask {
        identity,
        method: &method,
        path: &path,
        peer: PEER,
        role: Wanted::Any,
        now: from_epoch_seconds(NOW),
    })
}

#[test]
fn conditions_of_a_rule_must_all_hold() {
    let who = identity(json!({
        "groups": ["finance", "staff"], "department": "sales", "level": 5, "roles": ["a", "b"],
        "email": "Alice@Corp.Example", "email_verified": true,
    }));
    for (allow, passes) in [
        (r#""anyone""#, true),
        (r#""signed-in""#, true),
        (r#"{ groups = ["finance"] }"#, true),
        (r#"{ groups = ["admins", "staff"] }"#, true),
        (r#"{ groups = ["fin"] }"#, false),
        (r#"{ groups = ["finance"], methods = ["PUT"] }"#, false),
        (r#"{ claims = { department = "sales", level = 5 } }"#, true),
        (r#"{ claims = { department = ["it", "sales"], roles = "b" } }"#, true),
        (r#"{ claims = { level = "5" } }"#, false),
        (r#"{ claims = { nothing = "x" } }"#, false),
        (r#"{ subjects = ["corp/u-1"] }"#, true),
        (r#"{ subjects = ["partner/u-1"] }"#, false), // A21: the same id from another source
        (r#"{ emails = ["alice@corp.example"] }"#, true),
        (r#"{ email_domains = ["corp.example"] }"#, true),
        (r#"{ email_domains = ["example"] }"#, false),
        (r#"{ paths = ["/reports/*"] }"#, true),
        (r#"{ paths = ["/reports"] }"#, false),
        (r#"{ sources = ["10.0.0.0/8"] }"#, true),
        (r#"{ sources = ["10.1.0.0/16", "::1"] }"#, false),
        (r#"{ between = "06:00-06:05" }"#, true), // NOW is a Thursday, 06:03:31
        (r#"{ between = "06:04-06:03" }"#, false),
        (r#"{ weekdays = ["thu"] }"#, true),
        (r#"{ weekdays = ["sat", "sun"] }"#, false),
        (r#"[{ groups = ["admins"] }, { methods = ["GET"] }]"#, true),
    ] {
        let policy = policy(&format!("allow = {allow}")).unwrap();
        assert_eq!(decide(&policy, Some(&who), Method::GET, "/reports/x").is_ok(), passes, "{allow}");
    }
}

#[test]
fn the_answer_says_what_to_do() {
    let rules = r#"allow = [{ who = "anyone", paths = ["/public/*"] }, { groups = ["finance"], name = "money" }]"#;
    let policy = policy(rules).unwrap();
    assert_eq!(decide(&policy, None, Method::GET, "/public/a").unwrap().rule(), "allow[0]");
    assert_eq!(decide(&policy, None, Method::GET, "/a").unwrap_err(), Denied::Anonymous);
    let finance = identity(json!({"groups": ["finance"]}));
    assert_eq!(decide(&policy, Some(&finance), Method::GET, "/a").unwrap().rule(), "money");
    let reason = "`allow[0]` needs the path /public/*; `money` needs the group finance".to_owned();
    let other = identity(json!({"groups": "staff"}));
    assert_eq!(decide(&policy, Some(&other), Method::GET, "/a").unwrap_err(), Denied::Forbidden(reason));
    let ended = Identity { ends_at: from_epoch_seconds(NOW), ..finance };
    assert_eq!(decide(&policy, Some(&ended), Method::GET, "/a").unwrap_err(), Denied::Anonymous); // A34
}

#[test]
fn where_no_login_helps_none_is_asked_for() {
    let policy = policy(r#"allow = { who = "anyone", sources = ["192.0.2.0/24"] }"#).unwrap();
    let reason = Denied::Forbidden("`allow` needs a source address in 192.0.2.0/24".to_owned());
    assert_eq!(decide(&policy, None, Method::GET, "/").unwrap_err(), reason);
    assert_eq!(decide(&policy, Some(&identity(json!({}))), Method::GET, "/").unwrap_err(), reason);
}

#[test]
fn grants_hold_everything_sts_is_told() {
    let policy = policy(WANT).unwrap();
    let who = identity(json!({"department": "sales", "preferred_username": "alice"}));
    let permit = decide(&policy, Some(&who), Method::GET, "/").unwrap();
    let grant = permit.grant().unwrap();
    assert_eq!(grant.role.as_str(), "arn:aws:iam::123456789012:role/reports-sales");
    assert_eq!(grant.session_name.as_str(), "alice");
    assert_eq!(grant.duration, Some(Duration::from_secs(900)));
    assert_eq!(grant.source_identity.as_ref().map(SourceIdentity::as_str), Some("u-1"));
    let tags: Vec<_> = grant.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(tags, [("department", "sales"), ("via", "claviger")]);
    assert_eq!(grant.transitive.iter().map(TagKey::as_str).collect::<Vec<_>>(), ["department"]);

    let hostile = identity(json!({"department": "x/admin"})); // A20
    let denied = decide(&policy, Some(&hostile), Method::GET, "/").unwrap_err();
    assert!(matches!(&denied, Denied::Unfillable(why) if why.contains("`role`") && why.contains("`department`")));

    let path = NormalPath::parse("/").unwrap();
    let ask = Ask {
        identity: Some(&who),
        method: &Method::GET,
        path: &path,
        peer: PEER,
        role: Wanted::Any,
        now: from_epoch_seconds(NOW),
    };
    let explained = serde_json::to_value(policy.explain(ask)).unwrap();
    assert_eq!(explained["grant"]["tags"][0]["told"], "minted_claim");
    assert_eq!(explained["grant"]["session_name"]["value"], "alice");
}

#[test]
fn mistakes_name_their_keys() {
    for (text, keys) in [
        ("allow = []", vec!["allow"]),
        ("allow = {}", vec!["allow"]),
        (
            r#"allow = [{ groups = [] }, { paths = ["x"], methods = ["get"], sources = ["10.0.0.0/33"] }]"#,
            vec!["allow[0].groups", "allow[1].methods", "allow[1].paths", "allow[1].sources"],
        ),
        (r#"allow = { who = "anyone", groups = ["a"] }"#, vec!["allow.who"]),
        (r#"allow = { subjects = ["u-1"] }"#, vec!["allow.subjects"]),
        (
            r#"allow = { email_domains = ["@corp.example"], between = "8-18" }"#,
            vec!["allow.between", "allow.email_domains"],
        ),
        ("allow = \"signed-in\"\nwant.tags = { a = \"b\" }", vec!["tags"]),
        ("allow = \"anyone\"\nwant.role = \"arn:aws:iam::123456789012:role/x\"", vec!["allow"]),
        (
            "allow = \"signed-in\"\n[want]\nrole = \"{claims.role}\"\nduration = \"5m\"\n\
             transitive_tags = [\"b\"]\ntags = { a = \"{claim.x}\", \"aws:x\" = \"y\" }",
            vec!["role", "tags.a", "tags.aws:x", "transitive_tags", "duration"],
        ),
    ] {
        let problems = policy(text).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), keys, "{text}: {problems:?}");
    }
}

#[test]
fn what_stays_with_a_chain_is_told_once_and_first_by_who_can() {
    let text = r#"
        allow = "signed-in"
        [want]
        through = ["arn:aws:iam::123456789012:role/hub", { role = "arn:aws:iam::123456789012:role/{claims.department}", external_id = "agreed" }]
        role = "arn:aws:iam::123456789012:role/spoke"
        external_id = "agreed-too"
        tags = { department = "{claims.department}", via = "claviger" }
        transitive_tags = ["department"]
        source_identity = "{subject.id}"
        duration = "1h"
    "#;
    let none = Tellable { tags: Way::No, source_identity: Way::No, ..ALL };
    let alice = identity(json!({ "department": "finance" }));
    // for each link its role, tags, transitive tags, and whether it is told the source identity
    for (first, told) in [
        (ALL, [("hub", "department", 1, true), ("finance", "", 0, false), ("spoke", "via", 0, false)]),
        (none, [("hub", "", 0, false), ("finance", "department", 1, true), ("spoke", "via", 0, false)]),
    ] {
        let grant = decide(&by(text, first).unwrap(), Some(&alice), Method::GET, "/").unwrap().grant().cloned();
        let mut chain: Vec<_> = std::iter::successors(grant, |grant| grant.after.clone()).collect();
        chain.reverse();
        let seen: Vec<_> = chain
            .iter()
            .map(|link| {
                let tags: Vec<_> = link.tags.iter().map(|(key, _)| key.as_str()).collect();
                (
                    link.role.role_name().to_owned(),
                    tags.join(" "),
                    link.transitive.len(),
                    link.source_identity.is_some(),
                )
            })
            .collect();
        assert_eq!(seen, told.map(|(role, tags, count, is)| (role.to_owned(), tags.to_owned(), count, is)));
        let agreed: Vec<_> = chain.iter().map(|link| link.external_id.as_ref().map(ToString::to_string)).collect();
        assert_eq!(agreed, [None, Some("agreed".to_owned()), Some("agreed-too".to_owned())]);
        assert_eq!(chain.iter().map(|link| link.duration.is_some()).collect::<Vec<_>>(), [false, false, true]);
    }
    // A20: a claim can't make another role of one on the way
    let mallory = identity(json!({ "department": "x/../admin" }));
    assert!(matches!(decide(&policy(text).unwrap(), Some(&mallory), Method::GET, "/"), Err(Denied::Unfillable(_))));
}

#[test]
fn what_is_no_chain_is_refused_by_name() {
    let role = "role = \"arn:aws:iam::123456789012:role/x\"";
    let hub = "through = [\"arn:aws:iam::123456789012:role/hub\"]";
    for (lines, key) in [
        (format!("{role}\nexternal_id = \"agreed\""), "external_id"),
        (format!("{role}\n{hub}\nexternal_id = \"x\""), "external_id"),
        (format!("{role}\n{hub}\nduration = \"2h\""), "duration"),
        (format!("{role}\nthrough = [\"hub\"]"), "through[0]"),
        (
            format!("{role}\nthrough = [{{ role = \"arn:aws:iam::123456789012:role/hub\", external_id = \"first\" }}]"),
            "through[0].external_id",
        ),
        (format!("{role}\nthrough = [{}]", "\"arn:aws:iam::123456789012:role/hub\",".repeat(9)), "through"),
        (format!("{role}\npolicy = \"deny\""), "policy"),
        (hub.to_owned(), "through"),
    ] {
        let problems = policy(&format!("allow = \"signed-in\"\n[want]\n{lines}")).unwrap_err();
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), [key], "{lines}");
    }
}

#[test]
fn what_a_provider_cannot_tell_is_refused() {
    let none = Tellable { tags: Way::No, source_identity: Way::No, ..ALL };
    let want = WantSettings {
        role: Some("arn:aws:iam::123456789012:role/x".to_owned()),
        tags: [("a".to_owned(), "b".to_owned())].into(),
        source_identity: Some("{subject.id}".to_owned()),
        ..WantSettings::default()
    };
    let problems = Policy::build(&AllowSettings::SignedIn, Some(&want), Some(("idp", none))).unwrap_err();
    assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["tags", "source_identity"]);
    assert!(problems[0].problem.contains("`minted`"));
    assert!(Policy::build(&AllowSettings::SignedIn, Some(&want), None).is_err());
}

pub(super) const NOW: u64 = 1_456_380_211; // 2016-02-25T06:03:31Z
const ENDS: u64 = NOW + 3600;
pub(super) const PEER: IpAddr = IpAddr::V6(std::net::Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped());
const ALL: Tellable = Tellable {
    call: Call::AssumeRoleWithWebIdentity,
    session_name: Way::Parameter,
    tags: Way::MintedClaim,
    source_identity: Way::MintedClaim,
    duration: Way::Parameter,
};
const WANT: &str = r#"
    allow = "signed-in"
    [want]
    role = "arn:aws:iam::123456789012:role/reports-{claims.department}"
    tags = { department = "{claims.department}", via = "claviger" }
    transitive_tags = ["department"]
    source_identity = "{subject.id}"
    duration = "15m"
"#;

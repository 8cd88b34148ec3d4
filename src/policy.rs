//! Who may have what: an identity and a route's wishes become a [`Permit`], or [`Denied`] with the reason.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, header};
use serde::Serialize;

use crate::arn::{RoleArn, SessionName, SourceIdentity, TagKey, TagValue};
use crate::built_in::SettingsError;
use crate::identity::{Derived, Identity, Subject};
use offer::Offer;
use rule::Rule;
use want::Want;

mod explain;
mod hours;
mod offer;
mod path;
mod path_pattern;
mod rule;
mod session_name;
mod settings;
mod template;
mod want;

pub use explain::{Asked, Explanation, RoleVerdict, Tag, Told, Verdict};
pub use hours::Weekday;
pub use offer::{Offered, Wanted};
pub use path::{NormalPath, Oddities, Oddity, PathError};
pub use settings::{AllowSettings, RoleSettings, RuleSettings, Values, WantSettings, Who};

/// A route's rules and wishes, read.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    want: Option<Want>,
    /// Roles to choose among, in place of `want`; mostly none.
    roles: Vec<Offer>,
    /// Filling a grant's templates and checking what came of it takes longer than all the rest of a decision.
    grants: Derived<Arc<Grant>>,
}

/// Leave to pass. Only [`Policy::decide`] and, for what is nobody's, [`Policy::preflight`] make one; only a permit is
/// dressed and sent.
#[derive(Clone, Debug)]
pub struct Permit {
    identity: Option<Identity>,
    grant: Option<Arc<Grant>>,
    rule: Arc<str>,
    is_preflight: bool,
}

impl Permit {
    /// Who passes; absent where the rule lets anyone pass.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The role that goes with it, where the route wants one.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// The rule that gave leave, for logs and `explain`.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Whether this is leave for a CORS preflight: nobody's request, on which nothing is put.
    pub fn is_preflight(&self) -> bool {
        self.is_preflight
    }
}

/// Leave for one subject to hold one role, with everything STS will be told; also the broker's cache key.
///
/// Every field takes part in `Eq` and `Hash`, so a new one joins the key by being added (A27).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Grant {
    /// The `[credentials.<name>]` that issues.
    pub provider: Arc<str>,
    /// For whom.
    pub subject: Arc<Subject>,
    /// The role.
    pub role: RoleArn,
    /// The role session's name.
    pub session_name: SessionName,
    /// What the route asks for; absent: the service's default. The session's remaining life is no part of the key:
    /// the broker clamps when it issues.
    pub duration: Option<Duration>,
    /// Session tags, sorted by key.
    pub tags: Vec<(TagKey, TagValue)>,
    /// Which of them are passed on along role chains, sorted.
    pub transitive: Vec<TagKey>,
    /// The source identity.
    pub source_identity: Option<SourceIdentity>,
}

/// What is asked of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks; absent: nobody is logged in.
    pub identity: Option<&'a Identity>,
    /// The request's method.
    pub method: &'a Method,
    /// The path: the same bytes that go upstream (A5).
    pub path: &'a NormalPath<'a>,
    /// The client's address; behind a believed load balancer the one it vouches for (A6).
    pub peer: IpAddr,
    /// Which role they want, where the route offers several.
    pub role: Wanted<'a>,
    /// Now.
    pub now: SystemTime,
}

/// Why there is no leave.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// Nobody is logged in, and a rule may let those pass who are: log in.
    #[error("nobody is logged in")]
    Anonymous,
    /// No rule allows this, and no login would help. The reason says why each rule did not, for the log and `explain`.
    #[error("no rule allows it: {0}")]
    Forbidden(String),
    /// A rule allows it, but the claims don't make a valid role, session name or tag (A20).
    #[error("the claims don't fill what the route asks STS for: {0}")]
    Unfillable(String),
    /// Several roles are theirs, and they must say which they want: these.
    #[error("several roles are theirs, and none was chosen: {}", .0.join(", "))]
    RoleWanted(Vec<Arc<str>>),
    /// The role they name is not theirs, whether or not there is one; these are.
    #[error("the role that was named is not theirs; theirs are: {}", .0.join(", "))]
    NotTheirRole(Vec<Arc<str>>),
}

/// How a credential provider can tell STS each value of a [`Grant`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tellable {
    /// The role session's name.
    pub session_name: Way,
    /// Session tags.
    pub tags: Way,
    /// The source identity.
    pub source_identity: Way,
    /// The duration.
    pub duration: Way,
}

/// A way to tell STS something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As a parameter of the call.
    Parameter,
    /// As a claim in a token that claviger signs.
    MintedClaim,
    /// Not at all: only the person's own token could say it, and claviger can't write there.
    No,
}

impl Policy {
    /// A route's policy. `provider` is the `[credentials.<name>]` the route uses, and what it can tell STS.
    ///
    /// # Errors
    /// Every problem, with its key below the route's section: `allow[1].paths`, `tags.department`.
    pub fn build(
        allow: &AllowSettings,
        want: Option<&WantSettings>,
        provider: Option<(&str, Tellable)>,
    ) -> Result<Self, Vec<SettingsError>> {
        let rules = Rule::read(allow);
        let several = want.filter(|want| !want.roles.is_empty());
        let roles = several.map_or(Ok(Vec::new()), |want| Offer::read(want, provider));
        let want = want.filter(|_| several.is_none()).map_or(Ok(None), |want| Want::read(want, provider));
        match (rules, want, roles) {
            (Ok(rules), Ok(want), Ok(roles)) => {
                let is_signed = want.is_some() || !roles.is_empty();
                if is_signed && rules.iter().any(Rule::is_for_anyone) {
                    let problem = "`anyone` has no role to sign with; give public paths a route without `role`";
                    return Err(vec![SettingsError::at("allow", problem)]);
                }
                Ok(Self { rules, want, roles, grants: Derived::default() })
            }
            (rules, want, roles) => {
                Err(rules.err().into_iter().chain(want.err()).chain(roles.err()).flatten().collect())
            }
        }
    }

    /// Leave to pass, by the first rule that gives it, and the role that goes with it.
    ///
    /// # Errors
    /// [`Denied`], by what the caller can do about it.
    pub fn decide(&self, ask: Ask<'_>) -> Result<Permit, Denied> {
        let ask = ask.of_the_living();
        let rule = self.rule(&ask)?;
        let grant = match (&self.want, ask.identity) {
            (Some(want), Some(identity)) => {
                Some(self.grants.of(identity, |identity| want.grant(identity).map(Arc::new))?)
            }
            (Some(_), None) => return Err(Denied::Anonymous),
            (None, _) if self.roles.is_empty() => None,
            (None, Some(identity)) => Some(Offer::grant(&self.roles, identity, &ask)?),
            (None, None) => return Err(Denied::Anonymous),
        };
        Ok(Permit { identity: ask.identity.cloned(), grant, rule: Arc::clone(&rule.name), is_preflight: false })
    }

    /// Leave for a CORS preflight, where the request is one. Browsers send them without cookies, so no rule could
    /// ever hold; they ask and change nothing (Fetch §3.3.5). Only routes that say so ask for this.
    pub fn preflight(&self, ask: Ask<'_>, headers: &HeaderMap) -> Option<Permit> {
        let is_preflight = *ask.method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        is_preflight.then(|| Permit { identity: None, grant: None, rule: "preflight".into(), is_preflight })
    }

    /// Whether nobody ever needs to log in here.
    pub fn is_public(&self) -> bool {
        self.rules.iter().all(Rule::is_for_anyone)
    }

    /// Whether a permit of this policy comes with a grant.
    pub fn wants_role(&self) -> bool {
        self.want.is_some() || self.offers_roles()
    }

    /// Whether there are roles to choose among.
    pub fn offers_roles(&self) -> bool {
        !self.roles.is_empty()
    }

    /// The roles that whoever asks may choose among; none where there is nothing to choose.
    ///
    /// # Errors
    /// [`Denied`], where they would not get as far as a role.
    pub fn offers(&self, ask: Ask<'_>) -> Result<Vec<Offered>, Denied> {
        let ask = ask.of_the_living();
        self.rule(&ask)?;
        let identity = ask.identity.ok_or(Denied::Anonymous)?;
        let theirs = Offer::theirs(&self.roles, identity, &ask);
        Ok(theirs.iter().map(|(offer, grant)| offer.offered(grant)).collect())
    }

    /// The first rule that lets pass.
    fn rule(&self, ask: &Ask<'_>) -> Result<&Rule, Denied> {
        self.rules.iter().find(|rule| rule.first_unmet(ask).is_none()).ok_or_else(|| match ask.identity {
            // who logs in where every rule is for anyone is asked for what the request lacks, not for who they are
            None if !self.is_public() => Denied::Anonymous,
            _ => Denied::Forbidden(self.objections(ask)),
        })
    }

    /// What each rule lacks.
    fn objections(&self, ask: &Ask<'_>) -> String {
        let unmet = |rule: &Rule| rule.first_unmet(ask).map(|condition| format!("`{}` needs {condition}", rule.name));
        self.rules.iter().filter_map(unmet).collect::<Vec<_>>().join("; ")
    }
}

impl Ask<'_> {
    /// A login that has ended is none, whoever vouches for it (A34).
    fn of_the_living(self) -> Self {
        Self { identity: self.identity.filter(|identity| identity.ends_at > self.now), ..self }
    }
}

/// `a`, `a or b`, `a, b or c`.
struct Named<'a, T>(&'a [T]);

impl<T: Display> Display for Named<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        for (i, one) in others.iter().enumerate() {
            write!(f, "{one}{}", if i + 1 == others.len() { " or " } else { ", " })?;
        }
        write!(f, "{last}")
    }
}

#[cfg(test)]
mod tests {
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
        #[derive(serde::Deserialize)]
        struct Section {
            allow: AllowSettings,
            #[serde(default)]
            want: WantSettings,
        }
        let section: Section = toml::from_str(text).unwrap();
        Policy::build(&section.allow, Some(&section.want), Some(("aws", ALL)))
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
}

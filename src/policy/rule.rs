//! One rule of a route: who, and under which conditions.

use std::fmt;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;
use serde_json::Value;

use super::hours::{Hours, Weekday};
use super::path_pattern::PathPattern;
use super::settings::{AllowSettings, RuleSettings, Who};
use super::{Ask, Named};
use crate::built_in::SettingsError;
use crate::identity::{Claims, Email, Identity, Subject};
use crate::web::network;

/// A rule: all of its conditions must hold.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    who: Who,
    /// In the order of their cost.
    conditions: Vec<Condition>,
}

/// A condition; of each list one entry must fit.
#[derive(Debug)]
pub(super) enum Condition {
    SignedIn,
    Methods(Vec<Method>),
    Paths(Vec<PathPattern>),
    Sources(Vec<IpNet>),
    Between(Hours),
    Weekdays(Vec<Weekday>),
    Subjects(Vec<Subject>),
    Groups(Vec<String>),
    Claim { name: String, values: Vec<Value> },
    Emails(Vec<String>),
    EmailDomains(Vec<String>),
}

impl Rule {
    /// A route's rules. Every problem is found, not only the first.
    pub(super) fn read(allow: &AllowSettings) -> Result<Vec<Self>, Vec<SettingsError>> {
        let plain = |who| Self { name: "allow".into(), who, conditions: Vec::new() };
        let mut problems = Vec::new();
        let rules = match allow {
            AllowSettings::Anyone => vec![plain(Who::Anyone)],
            AllowSettings::SignedIn => vec![plain(Who::SignedIn)],
            AllowSettings::Rule(rule) => vec![Self::compile("allow", rule, &mut problems)],
            AllowSettings::AnyOf(rules) if rules.is_empty() => {
                problems
                    .push(SettingsError::at("allow", "an empty list lets nobody pass; leave the route out instead"));
                Vec::new()
            }
            AllowSettings::AnyOf(rules) => rules
                .iter()
                .enumerate()
                .map(|(i, rule)| Self::compile(&format!("allow[{i}]"), rule, &mut problems))
                .collect(),
        };
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    /// Whether the rule needs nobody to be logged in.
    pub(super) fn is_for_anyone(&self) -> bool {
        self.who == Who::Anyone
    }

    /// The first condition that does not hold; none: the rule lets pass.
    pub(super) fn first_unmet(&self, ask: &Ask<'_>) -> Option<&Condition> {
        if self.who == Who::SignedIn && ask.identity.is_none() {
            return Some(&Condition::SignedIn);
        }
        self.conditions.iter().find(|condition| !condition.holds(ask))
    }

    fn compile(key: &str, settings: &RuleSettings, problems: &mut Vec<SettingsError>) -> Self {
        let mut reader = Reader { key, problems, conditions: Vec::new() };
        let RuleSettings { name, who, methods, paths, sources, between, weekdays, .. } = settings;
        reader.list("methods", methods.as_ref(), |text| method(text), Condition::Methods);
        reader.list("paths", paths.as_ref(), |text| text.parse(), Condition::Paths);
        reader.list("sources", sources.as_ref(), |text| network(text), Condition::Sources);
        reader.list(
            "between",
            between.as_ref().map(std::slice::from_ref),
            |text| text.parse(),
            |mut hours| Condition::Between(hours.remove(0)),
        );
        reader.list("weekdays", weekdays.as_ref(), |day| Ok(*day), Condition::Weekdays);
        let about_anyone = reader.conditions.len();

        let RuleSettings { subjects, groups, claims, emails, email_domains, .. } = settings;
        reader.list("subjects", subjects.as_ref(), |text| subject(text), Condition::Subjects);
        reader.list("groups", groups.as_ref(), |text| filled(text), Condition::Groups);
        for (name, values) in claims.iter().flatten() {
            let key = format!("claims.{name}");
            reader
                .list(&key, Some(values.as_slice()), scalar, |values| Condition::Claim { name: name.clone(), values });
        }
        reader.list("emails", emails.as_ref(), |text| email(text), Condition::Emails);
        reader.list("email_domains", email_domains.as_ref(), |text| domain(text), Condition::EmailDomains);

        if *who == Who::Anyone && reader.conditions.len() > about_anyone {
            reader.problem("who", "`anyone` can't be combined with conditions on who asks");
        } else if reader.conditions.is_empty() && *who == Who::SignedIn && reader.problems.is_empty() {
            reader.problem("", r#"has no condition; for everyone who is logged in write "signed-in""#);
        }
        let conditions = reader.conditions;
        Self { name: name.as_deref().unwrap_or(key).into(), who: *who, conditions }
    }
}

/// All that it takes.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.who {
            Who::Anyone => "anyone",
            Who::SignedIn => "signed-in",
        })?;
        self.conditions.iter().try_for_each(|condition| write!(f, ", {condition}"))
    }
}

impl Condition {
    fn holds(&self, ask: &Ask<'_>) -> bool {
        let about = |holds: &dyn Fn(&Identity) -> bool| ask.identity.is_some_and(holds);
        let claims = |holds: &dyn Fn(&Claims) -> bool| about(&|identity| holds(&identity.claims));
        match self {
            Self::SignedIn => ask.identity.is_some(),
            Self::Methods(methods) => methods.contains(ask.method),
            Self::Paths(patterns) => patterns.iter().any(|pattern| pattern.matches(ask.path)),
            Self::Sources(networks) => {
                let peer = ask.peer.to_canonical(); // `::ffff:10.0.0.1` is 10.0.0.1
                networks.iter().any(|network| network.contains(&peer))
            }
            Self::Between(hours) => hours.contains(ask.now),
            Self::Weekdays(days) => days.contains(&Weekday::at(ask.now)),
            Self::Subjects(subjects) => about(&|identity| subjects.contains(&identity.subject)),
            Self::Groups(groups) => claims(&|c| c.texts("groups").any(|has| groups.iter().any(|group| group == has))),
            Self::Claim { name, values } => claims(&|c| match c.value(name) {
                Some(Value::Array(has)) => has.iter().any(|one| values.contains(one)),
                Some(one) => values.contains(one),
                None => false,
            }),
            Self::Emails(emails) => claims(&|c| {
                Email::verified(c).is_some_and(|has| emails.iter().any(|email| email.eq_ignore_ascii_case(has.whole)))
            }),
            Self::EmailDomains(domains) => claims(&|c| {
                Email::verified(c).is_some_and(|has| domains.iter().any(|d| d.eq_ignore_ascii_case(has.domain)))
            }),
        }
    }
}

/// What it takes: reads on after "needs".
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn => f.write_str("someone logged in"),
            Self::Methods(methods) => write!(f, "the method {}", Named(methods)),
            Self::Paths(patterns) => write!(f, "the path {}", Named(patterns)),
            Self::Sources(networks) => write!(f, "a source address in {}", Named(networks)),
            Self::Between(hours) => write!(f, "a time in {hours}"),
            Self::Weekdays(days) => write!(f, "a day of {days:?}, in UTC"),
            Self::Subjects(_) => f.write_str("one of its subjects"),
            Self::Groups(groups) => write!(f, "the group {}", Named(groups)),
            Self::Claim { name, values } => write!(f, "the claim {name} to be {}", Named(values)),
            Self::Emails(_) => f.write_str("one of its verified e-mail addresses"),
            Self::EmailDomains(domains) => write!(f, "a verified e-mail address at {}", Named(domains)),
        }
    }
}

/// Reads a rule's lists; an empty one is an error, as it would fit nobody.
struct Reader<'a> {
    key: &'a str,
    problems: &'a mut Vec<SettingsError>,
    conditions: Vec<Condition>,
}

impl Reader<'_> {
    fn list<S, T, L: AsRef<[S]>>(
        &mut self,
        key: &str,
        entries: Option<L>,
        read: impl Fn(&S) -> Result<T, String>,
        condition: impl FnOnce(Vec<T>) -> Condition,
    ) {
        let Some(entries) = entries else { return };
        let entries = entries.as_ref();
        if entries.is_empty() {
            return self.problem(key, "an empty list fits nobody; leave the key out, or name at least one");
        }
        let (mut values, before) = (Vec::with_capacity(entries.len()), self.problems.len());
        for entry in entries {
            match read(entry) {
                Ok(value) => values.push(value),
                Err(problem) => self.problem(key, problem),
            }
        }
        if self.problems.len() == before {
            self.conditions.push(condition(values));
        }
    }

    fn problem(&mut self, key: &str, problem: impl fmt::Display) {
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.push(SettingsError::at(format!("{}{dot}{key}", self.key), problem));
    }
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'))
        .ok_or_else(|| format!("`{text}` is not a method; expected one in capitals, such as GET"))
}

/// Names of sources have no slash, so that the first one ends the name (A27).
fn subject(text: &str) -> Result<Subject, String> {
    match text.split_once('/') {
        Some((source, id)) if !source.is_empty() && !id.is_empty() => {
            Ok(Subject { source: source.into(), id: id.into() })
        }
        _ => Err(format!("`{text}` is not a subject; expected the identity section's name, a slash, and the `sub`")),
    }
}

fn filled(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("an empty name fits nobody".to_owned()) } else { Ok(text.to_owned()) }
}

fn scalar(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        _ => Err("expected a text, number or boolean, or a list of them".to_owned()),
    }
}

fn email(text: &str) -> Result<String, String> {
    Email::parse(text).map(|_| text.to_owned()).ok_or_else(|| format!("`{text}` is not an e-mail address"))
}

fn domain(text: &str) -> Result<String, String> {
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    if text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a domain; expected something like example.com, without `@` or `*`"))
    }
}

//! One condition of a policy statement: IAM's operators, their set forms, `…IfExists` and `Null`.

use std::net::IpAddr;

use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::context::{Context, Key};
use super::pattern::matches as matches_pattern;

/// A condition on one key.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    key: Key,
    over: Over,
    if_exists: bool,
    test: Test,
}

/// How many of the key's values must pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    TheOne,
    Any,
    All,
}

#[derive(Clone, Debug)]
enum Test {
    /// `Null`: whether the key must be absent.
    Absent(bool),
    /// Whether a value is one of these, or, negated, none of them.
    Compare { negated: bool, expected: Vec<Expected> },
}

/// What a policy compares a value with.
#[derive(Clone, Debug)]
enum Expected {
    Text(String),
    TextInAnyCase(String),
    Pattern(String),
    /// A pattern for each of an ARN's six parts.
    Arn(String),
    Number(Relation, f64),
    /// In seconds since the epoch.
    Time(Relation, f64),
    Truth(bool),
    Network(IpNet),
}

#[derive(Clone, Copy, Debug)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Reads one line of a `Condition` block.
    pub(super) fn parse(operator: &str, key: Key, values: &[String]) -> Result<Self, String> {
        if values.is_empty() {
            return Err("has no values".to_owned());
        }
        // a variable that is not filled in would be compared to the letter, and a Deny would then deny nothing
        if let Some(value) = values.iter().find(|value| value.contains("${")) {
            return Err(format!("`{value}`: policy variables are not supported here"));
        }
        let (over, name) = match operator.split_once(':') {
            None => (Over::TheOne, operator),
            Some(("ForAnyValue", name)) => (Over::Any, name),
            Some(("ForAllValues", name)) => (Over::All, name),
            Some(_) => return Err(unknown(operator)),
        };
        if name == "Null" && over == Over::TheOne {
            let [value] = values else { return Err("takes one value".to_owned()) };
            return Ok(Self { key, over, if_exists: false, test: Test::Absent(truth(value)?) });
        }
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (kind, negated) = Kind::of(name).ok_or_else(|| unknown(operator))?;
        let expected = values.iter().map(|value| kind.read(value)).collect::<Result<_, _>>()?;
        Ok(Self { key, over, if_exists, test: Test::Compare { negated, expected } })
    }

    /// Whether it holds; `None` where the call's values don't let it be judged, such as several values for an operator
    /// that takes one, or a text where a number is compared. Neither an `Allow` nor the way around a `Deny` follows then.
    pub(super) fn holds(&self, context: &Context) -> Option<bool> {
        let values = context.values(&self.key);
        let (negated, expected) = match &self.test {
            Test::Absent(absent) => return Some(values.is_empty() == *absent),
            Test::Compare { negated, expected } => (*negated, expected),
        };
        let one = |value: &String| Some(any(expected.iter().map(|e| e.matches(value)))? != negated);
        match (self.over, values) {
            (_, []) if self.if_exists => Some(true),
            // IAM: without the key a negated operator holds, ForAllValues holds, and ForAnyValue does not
            (Over::TheOne, []) => Some(negated),
            (Over::TheOne, [value]) => one(value),
            (Over::TheOne, _) => None,
            (Over::Any, values) => any(values.iter().map(one)),
            (Over::All, values) => any(values.iter().map(|v| one(v).map(|holds| !holds))).map(|fails| !fails),
        }
    }
}

impl Expected {
    fn matches(&self, value: &str) -> Option<bool> {
        match self {
            Self::Text(text) => Some(text == value),
            Self::TextInAnyCase(text) => Some(text.to_lowercase() == value.to_lowercase()),
            Self::Pattern(pattern) => Some(matches_pattern(pattern, value)),
            Self::Arn(pattern) => Some(arn_matches(pattern, value)),
            Self::Number(relation, number) => Some(relation.holds(finite(value).ok()?, *number)),
            Self::Time(relation, time) => Some(relation.holds(seconds(value).ok()?, *time)),
            Self::Truth(expected) => Some(truth(value).ok()? == *expected),
            // ::ffff:10.0.0.1 is 10.0.0.1
            Self::Network(network) => Some(network.contains(&value.parse::<IpAddr>().ok()?.to_canonical())),
        }
    }
}

impl Relation {
    fn holds(self, value: f64, expected: f64) -> bool {
        match self {
            Self::Equal => value == expected,
            Self::Less => value < expected,
            Self::LessOrEqual => value <= expected,
            Self::Greater => value > expected,
            Self::GreaterOrEqual => value >= expected,
        }
    }
}

/// What kind of comparison an operator makes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    TextInAnyCase,
    Pattern,
    Arn,
    Number(Relation),
    Time(Relation),
    Truth,
    Network,
}

impl Kind {
    /// The kind of an operator, and whether it is negated.
    fn of(operator: &str) -> Option<(Self, bool)> {
        if let Some((relation, negated)) = operator.strip_prefix("Numeric").and_then(relation) {
            return Some((Self::Number(relation), negated));
        }
        if let Some((relation, negated)) = operator.strip_prefix("Date").and_then(relation) {
            return Some((Self::Time(relation), negated));
        }
        Some(match operator {
            "StringEquals" => (Self::Text, false),
            "StringNotEquals" => (Self::Text, true),
            "StringEqualsIgnoreCase" => (Self::TextInAnyCase, false),
            "StringNotEqualsIgnoreCase" => (Self::TextInAnyCase, true),
            "StringLike" => (Self::Pattern, false),
            "StringNotLike" => (Self::Pattern, true),
            // IAM: the two forms behave the same
            "ArnEquals" | "ArnLike" => (Self::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Self::Arn, true),
            "Bool" => (Self::Truth, false),
            "IpAddress" => (Self::Network, false),
            "NotIpAddress" => (Self::Network, true),
            _ => return None,
        })
    }

    /// A policy's value for this kind of comparison.
    fn read(self, value: &str) -> Result<Expected, String> {
        Ok(match self {
            Self::Text => Expected::Text(value.to_owned()),
            Self::TextInAnyCase => Expected::TextInAnyCase(value.to_owned()),
            Self::Pattern => Expected::Pattern(value.to_owned()),
            Self::Arn if value.splitn(6, ':').count() == 6 => Expected::Arn(value.to_owned()),
            Self::Arn => return Err(format!("`{value}` is not an ARN")),
            Self::Number(relation) => Expected::Number(relation, finite(value)?),
            Self::Time(relation) => Expected::Time(relation, seconds(value)?),
            Self::Truth => Expected::Truth(truth(value)?),
            Self::Network => {
                let address = || value.parse::<IpAddr>().map(IpNet::from);
                let network = value.parse::<IpNet>().or_else(|_| address());
                let network = network.map_err(|_| format!("`{value}` is no address or network such as 10.0.0.0/8"))?;
                Expected::Network(network)
            }
        })
    }
}

fn relation(name: &str) -> Option<(Relation, bool)> {
    Some(match name {
        "Equals" => (Relation::Equal, false),
        "NotEquals" => (Relation::Equal, true),
        "LessThan" => (Relation::Less, false),
        "LessThanEquals" => (Relation::LessOrEqual, false),
        "GreaterThan" => (Relation::Greater, false),
        "GreaterThanEquals" => (Relation::GreaterOrEqual, false),
        _ => return None,
    })
}

/// A wildcard stands for text within one part: it can't reach over the colon into another account.
fn arn_matches(pattern: &str, arn: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    patterns.by_ref().all(|pattern| parts.next().is_some_and(|part| matches_pattern(pattern, part)))
        && parts.next().is_none()
}

fn unknown(operator: &str) -> String {
    format!("unknown operator `{operator}`")
}

fn truth(value: &str) -> Result<bool, String> {
    value.to_ascii_lowercase().parse().map_err(|_| format!("`{value}` is neither true nor false"))
}

fn finite(value: &str) -> Result<f64, String> {
    value.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| format!("`{value}` is not a number"))
}

/// A W3C date with time and offset, or seconds since the epoch.
fn seconds(value: &str) -> Result<f64, String> {
    finite(value).or_else(|_| {
        OffsetDateTime::parse(value, &Rfc3339)
            .map(|at| at.unix_timestamp() as f64)
            .map_err(|_| format!("`{value}` is not a time such as 2026-01-31T00:00:00Z"))
    })
}

/// Whether one is true; unclear only if none is true and one is unclear.
fn any(values: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut so_far = Some(false);
    for value in values {
        match value {
            Some(true) => return Some(true),
            Some(false) => {}
            None => so_far = None,
        }
    }
    so_far
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, expected: &[&str], values: &[&str]) -> Option<bool> {
        let key = Key::global("aws:TagKeys");
        let expected: Vec<String> = expected.iter().map(|&v| v.to_owned()).collect();
        let mut context = Context::default();
        context.set_all(key.clone(), values.iter().map(|&v| v.to_owned()).collect());
        Condition::parse(operator, key, &expected).unwrap().holds(&context)
    }

    #[test]
    fn operators_judge_as_iam_does() {
        let (yes, no, unclear) = (Some(true), Some(false), None);
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<bool>);
        let cases: &[Case<'_>] = &[
            ("StringEquals", &["a", "b"], &["b"], yes),
            ("StringEquals", &["a"], &["A"], no),
            ("StringEquals", &["a*"], &["ab"], no),
            ("StringEquals", &["a"], &[], no),
            ("StringEquals", &["a"], &["a", "b"], unclear),
            ("StringEqualsIfExists", &["a"], &[], yes),
            ("StringEqualsIfExists", &["a"], &["b"], no),
            ("StringNotEquals", &["a", "b"], &["b"], no),
            ("StringNotEquals", &["a"], &["b"], yes),
            ("StringNotEquals", &["a"], &[], yes),
            ("StringEqualsIgnoreCase", &["Straße"], &["STRAßE"], yes),
            ("StringLike", &["repo:me/*:ref:?ain"], &["repo:me/x:ref:main"], yes),
            ("StringLike", &["a*"], &["ba"], no),
            ("StringNotLike", &["a*"], &["ab"], no),
            ("ArnLike", &["arn:aws:iam::1:role/*"], &["arn:aws:iam::1:role/a/b"], yes),
            ("ArnEquals", &["arn:aws:iam::*:role/a"], &["arn:aws:iam::1:role/a"], yes),
            ("ArnLike", &["arn:aws:*::1:role/*"], &["arn:aws:iam:x:2::1:role/a"], no),
            ("ArnLike", &["arn:aws:iam::1:*"], &["not an ARN"], no),
            ("ArnNotLike", &["arn:aws:iam::1:role/*"], &["arn:aws:iam::1:user/a"], yes),
            ("ForAnyValue:StringEquals", &["a"], &["x", "a"], yes),
            ("ForAnyValue:StringEquals", &["a"], &[], no),
            ("ForAnyValue:StringEqualsIfExists", &["a"], &[], yes),
            ("ForAnyValue:StringNotEquals", &["a"], &["a", "b"], yes),
            ("ForAllValues:StringLike", &["a*", "b"], &["ax", "b"], yes),
            ("ForAllValues:StringLike", &["a*"], &["ax", "b"], no),
            ("ForAllValues:StringEquals", &["a"], &[], yes),
            ("NumericLessThan", &["10"], &["9.5"], yes),
            ("NumericLessThanEquals", &["10"], &["10"], yes),
            ("NumericGreaterThan", &["10"], &["10"], no),
            ("NumericGreaterThanEquals", &["10"], &["10"], yes),
            ("NumericEquals", &["1"], &["1.0"], yes),
            ("NumericNotEquals", &["1"], &["2"], yes),
            ("NumericLessThan", &["10"], &["many"], unclear),
            ("DateLessThan", &["2026-01-01T00:00:00Z"], &["2025-12-31T23:59:59Z"], yes),
            ("DateGreaterThan", &["1767225600"], &["2025-12-31T23:59:59Z"], no),
            ("Bool", &["true"], &["True"], yes),
            ("Bool", &["false"], &["true"], no),
            ("Null", &["true"], &[], yes),
            ("Null", &["true"], &["a"], no),
            ("Null", &["false"], &["a", "b"], yes),
            ("IpAddress", &["10.0.0.0/8", "192.0.2.7"], &["192.0.2.7"], yes),
            ("IpAddress", &["10.0.0.0/8"], &["::ffff:10.1.2.3"], yes),
            ("IpAddress", &["10.0.0.0/8"], &["11.0.0.1"], no),
            ("NotIpAddress", &["10.0.0.0/8"], &["11.0.0.1"], yes),
        ];
        for (operator, expected, values, outcome) in cases {
            assert_eq!(holds(operator, expected, values), *outcome, "{operator} {expected:?} {values:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_loaded() {
        for (operator, values) in [
            ("StringEquall", &["a"] as &[&str]),
            ("stringEquals", &["a"]),
            ("ForSomeValues:StringEquals", &["a"]),
            ("ForAnyValue:Null", &["true"]),
            ("NullIfExists", &["true"]),
            ("Null", &["perhaps"]),
            ("Null", &["true", "false"]),
            ("StringEquals", &[]),
            ("StringEquals", &["${aws:username}"]),
            ("NumericLessThan", &["ten"]),
            ("NumericLessThan", &["NaN"]),
            ("DateLessThan", &["tomorrow"]),
            ("IpAddress", &["10.0.0.0/33"]),
            ("Bool", &["yes"]),
            ("ArnLike", &["*"]),
            ("BinaryEquals", &["QQ=="]),
        ] {
            let values: Vec<String> = values.iter().map(|&v| v.to_owned()).collect();
            assert!(Condition::parse(operator, Key::global("aws:TagKeys"), &values).is_err(), "{operator} {values:?}");
        }
    }
}

//! `kind = "headers"`: tells the upstream who is asking.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::name::settable;
use super::value::ValueTemplate;
use super::{Given, InjectError, Injector, Materials, Needs, Vouched};
use crate::built_in::{BuiltIn, SettingsError};
use crate::identity::{Derived, Identity};
use crate::web::Request;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, Materials> = BuiltIn {
    kind: "headers",
    summary: "Sets headers that tell the upstream who is signed in.",
    example: include_str!("../../config/examples/inject/headers.toml"),
    build: |settings, _| Ok(Arc::new(Headers::new(settings.parse()?)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadersSettings {
    set: Option<BTreeMap<String, String>>,
}

#[derive(Debug)]
struct Headers {
    names: Vec<HeaderName>,
    templates: Vec<ValueTemplate>,
    filled: Derived<Arc<[(HeaderName, HeaderValue)]>>,
}

impl Headers {
    fn new(settings: HeadersSettings) -> Result<Self, SettingsError> {
        let set = settings.set.unwrap_or_else(usual);
        if set.is_empty() {
            return Err(SettingsError::at("set", "sets nothing; leave it out for the usual headers"));
        }
        let (mut names, mut templates) = (Vec::with_capacity(set.len()), Vec::with_capacity(set.len()));
        for (name, template) in set {
            let at = |problem: String| SettingsError::at(format!("set.{name}"), problem);
            let header = settable(&name).map_err(|problem| at(problem.to_owned()))?;
            if Vouched::new(&names).has(&header) {
                return Err(at("is set twice: servers may take `-`, `_` and `.` for the same".to_owned()));
            }
            templates.push(template.parse().map_err(at)?);
            names.push(header);
        }
        Ok(Self { names, templates, filled: Derived::default() })
    }

    /// A header without a value is not set. The client's own is gone all the same, as the proxy removed it: a person
    /// without groups can't bring some (A1, CVE-2026-30851).
    fn fill(&self, identity: &Identity) -> Arc<[(HeaderName, HeaderValue)]> {
        let filled = self.names.iter().zip(&self.templates).filter_map(|(name, template)| {
            let why = match template.fill(identity) {
                Ok(value) => return Some((name.clone(), value)),
                Err(why) => why,
            };
            tracing::debug!(header.name = %name, why = ?why, "a header has no value for this person");
            None
        });
        filled.collect()
    }
}

impl Injector for Headers {
    fn needs(&self) -> Needs {
        Needs::NOTHING
    }

    fn sets(&self) -> &[HeaderName] {
        &self.names
    }

    fn inject(&self, mut request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        let Some(identity) = given.identity else { return Ok(request) };
        for (name, value) in self.filled.of(identity, |identity| Ok(self.fill(identity)))?.iter() {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }
}

/// The headers that apps behind an authenticating proxy most often read.
fn usual() -> BTreeMap<String, String> {
    [
        ("X-Forwarded-User", "{subject.id}"),
        ("X-Forwarded-Email", "{claims.email}"),
        ("X-Forwarded-Preferred-Username", "{claims.preferred_username}"),
        ("X-Forwarded-Groups", "{claims.groups}"),
    ]
    .map(|(name, template)| (name.to_owned(), template.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::super::value::tests::someone;
    use super::*;
    use crate::web::Body;

    fn build(text: &str) -> Result<Headers, SettingsError> {
        Headers::new(crate::built_in::parse_table(text.parse().unwrap())?)
    }

    /// As the proxy does it: strip, then inject.
    fn pass(headers: &Headers, sent: &[(&'static str, &'static str)], who: Option<&Identity>) -> Request {
        let mut request = Request::new(Body::Empty);
        for (name, value) in sent {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        Vouched::new(headers.sets()).strip(request.headers_mut());
        let given = Given { identity: who, ..Given::nothing(SystemTime::UNIX_EPOCH) };
        headers.inject(request, &given).unwrap()
    }

    const FORGED: [(&str, &str); 5] = [
        ("x-forwarded-user", "admin"),
        ("x-forwarded-user", "admin2"),
        ("x_forwarded_user", "admin"),
        ("x.forwarded-groups", "admins"),
        ("x-forwarded-groups", "admins"),
    ];

    #[test]
    fn a1_the_upstream_sees_ours_or_none() {
        let usual = build("").unwrap();
        let alice = someone("alice", json!({"groups": ["finance", "all"], "preferred_username": "al"}));
        let passed = pass(&usual, &FORGED, Some(&alice));
        let mut seen: Vec<_> = passed.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                ("x-forwarded-groups", "finance,all"),
                ("x-forwarded-preferred-username", "al"),
                ("x-forwarded-user", "alice")
            ]
        );
    }

    #[test]
    fn a1_a_missing_claim_does_not_leave_the_clients_header() {
        let passed = pass(&build("").unwrap(), &FORGED, Some(&someone("bob", json!({}))));
        assert_eq!(passed.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-forwarded-user"]);
        assert!(pass(&build("").unwrap(), &FORGED, None).headers().is_empty());
    }

    #[test]
    fn chosen_headers_replace_the_usual_ones() {
        let headers = build("set.X-Team = \"{claims.team}\"").unwrap();
        let passed = pass(&headers, &[("x_team", "x")], Some(&someone("bob", json!({"team": "red"}))));
        assert_eq!(passed.headers().len(), 1);
        assert_eq!(passed.headers()["x-team"], "red");
    }

    #[test]
    fn wrong_settings_are_named() {
        for (text, key) in [
            ("sets = {}", "sets"),
            ("set = {}", "set"),
            ("set.Host = \"x\"", "set.Host"),
            ("set.Content_Length = \"x\"", "set.Content_Length"),
            ("set.Cookie = \"x\"", "set.Cookie"),
            ("set.X-Forwarded-For = \"x\"", "set.X-Forwarded-For"),
            ("set.x_forwarded_proto = \"x\"", "set.x_forwarded_proto"),
            ("set.X-Forwarded-Host = \"x\"", "set.X-Forwarded-Host"),
            ("set.X-Request-Id = \"x\"", "set.X-Request-Id"),
            ("set.\"a b\" = \"x\"", "set.a b"),
            ("set = { X-A = \"x\", x_a = \"y\" }", "set.x_a"),
            ("set.X-A = \"{claim.x}\"", "set.X-A"),
            ("set.X-A = 1", "set.X-A"),
        ] {
            assert_eq!(build(text).unwrap_err().key, key, "{text}");
        }
    }
}

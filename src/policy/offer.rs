//! Roles among which a person chooses.

use std::sync::Arc;

use super::rule::Rule;
use super::settings::{AllowSettings, RoleSettings, WantSettings};
use super::want::Want;
use super::{Ask, Denied, Grant, Named, Tellable};
use crate::arn::RoleArn;
use crate::built_in::SettingsError;
use crate::identity::{Derived, Identity};

/// Which of a route's roles the request is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wanted<'a> {
    /// It does not say.
    #[default]
    Any,
    /// This one, by the request's own words: any other won't do.
    Named(&'a str),
    /// This one, as was chosen some time ago: one that is not theirs any more is as good as none.
    Chosen(&'a str),
}

/// A role of a route that offers several.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) name: Arc<str>,
    description: Option<Arc<str>>,
    /// Any of which makes it theirs; none: whoever the route lets pass.
    rules: Vec<Rule>,
    pub(super) want: Want,
    grants: Derived<Arc<Grant>>,
}

/// A role that is somebody's to choose.
#[derive(Clone, Debug)]
pub struct Offered {
    /// What it is called.
    pub name: Arc<str>,
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// The role as it is for them.
    pub role: RoleArn,
}

impl Offer {
    /// A route's roles. Every problem is found, not only the first.
    pub(super) fn read(
        want: &WantSettings,
        provider: Option<(&str, Tellable)>,
    ) -> Result<Vec<Self>, Vec<SettingsError>> {
        let (mut offers, mut problems) = (Vec::with_capacity(want.roles.len()), Vec::new());
        if want.role.is_some() && !want.roles.is_empty() {
            problems.push(SettingsError::at("role", "can't be told from `roles`; expected one of the two"));
        }
        for (i, settings) in want.roles.iter().enumerate() {
            let key = format!("roles[{i}]");
            problems.extend(settings.problems(&key));
            if want.roles.iter().take(i).any(|other| other.name == settings.name) {
                let problem = format!("`{}` is the name of two roles", settings.name);
                problems.push(SettingsError::at(format!("{key}.name"), problem));
            }
            let rules = match &settings.allow {
                None | Some(AllowSettings::SignedIn) => Ok(Vec::new()),
                Some(allow) => Rule::read(allow),
            };
            let rules = rules.map_err(|found| {
                problems.extend(found.into_iter().map(|p| SettingsError::at(format!("{key}.{}", p.key), p.problem)));
            });
            let one = WantSettings { role: Some(settings.role.clone()), roles: Vec::new(), ..want.clone() };
            let want = Want::read(&one, provider).map_err(|found| {
                // what is the route's own is wrong once, not with each of its roles
                let own = |p: SettingsError| match p.key.as_str() {
                    "role" => Some(SettingsError::at(format!("{key}.role"), p.problem)),
                    _ => Some(p).filter(|_| i == 0),
                };
                problems.extend(found.into_iter().filter_map(own));
            });
            if let (Ok(rules), Ok(Some(want))) = (rules, want) {
                offers.push(Self {
                    name: settings.name.as_str().into(),
                    description: settings.description.as_deref().map(Arc::from),
                    rules,
                    want,
                    grants: Derived::default(),
                });
            }
        }
        if problems.is_empty() { Ok(offers) } else { Err(problems) }
    }

    /// The grant of the role that is wanted, or that there is no doubt about.
    pub(super) fn grant(offers: &[Self], identity: &Identity, ask: &Ask<'_>) -> Result<Arc<Grant>, Denied> {
        let wanted = |name: &str| offers.iter().find(|offer| *offer.name == *name && offer.is_for(ask));
        match ask.role {
            // one that does not exist is answered like one that is others'
            Wanted::Named(name) => match wanted(name) {
                Some(offer) => offer.grant_for(identity),
                None => Err(Denied::NotTheirRole(names(&Self::theirs(offers, identity, ask)))),
            },
            Wanted::Chosen(name) => match wanted(name).map(|offer| offer.grant_for(identity)) {
                Some(Ok(grant)) => Ok(grant),
                _ => Self::only(offers, identity, ask),
            },
            Wanted::Any => Self::only(offers, identity, ask),
        }
    }

    /// The roles that are theirs, each with its grant.
    pub(super) fn theirs<'o>(offers: &'o [Self], identity: &Identity, ask: &Ask<'_>) -> Vec<(&'o Self, Arc<Grant>)> {
        let theirs = offers.iter().filter(|offer| offer.is_for(ask));
        theirs.filter_map(|offer| Some((offer, offer.grant_for(identity).ok()?))).collect()
    }

    /// What it takes for the role to be theirs, where they lack it.
    pub(super) fn lack(&self, identity: &Identity, ask: &Ask<'_>) -> Option<String> {
        let unmet = self.rules.iter().map(|rule| rule.first_unmet(ask));
        let unmet: Option<Vec<_>> = unmet.collect();
        match unmet {
            Some(unmet) if !unmet.is_empty() => Some(Named(&unmet).to_string()),
            _ => self.grant_for(identity).err().map(|denied| denied.to_string()),
        }
    }

    /// The role as it is for them, where it is theirs.
    pub(super) fn role_of(&self, identity: &Identity, ask: &Ask<'_>) -> Option<String> {
        self.is_for(ask).then(|| self.grant_for(identity).ok()).flatten().map(|grant| grant.role.to_string())
    }

    pub(super) fn offered(&self, grant: &Grant) -> Offered {
        Offered { name: Arc::clone(&self.name), description: self.description.clone(), role: grant.role.clone() }
    }

    fn only(offers: &[Self], identity: &Identity, ask: &Ask<'_>) -> Result<Arc<Grant>, Denied> {
        let theirs = Self::theirs(offers, identity, ask);
        match theirs.as_slice() {
            [(_, grant)] => Ok(Arc::clone(grant)),
            [] => match offers.iter().find(|offer| offer.is_for(ask)) {
                Some(unfillable) => unfillable.grant_for(identity),
                None => Err(Denied::Forbidden("none of the route's roles is theirs".to_owned())),
            },
            several => Err(Denied::RoleWanted(names(several))),
        }
    }

    fn is_for(&self, ask: &Ask<'_>) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|rule| rule.first_unmet(ask).is_none())
    }

    fn grant_for(&self, identity: &Identity) -> Result<Arc<Grant>, Denied> {
        self.grants.of(identity, |identity| self.want.grant(identity).map(Arc::new))
    }
}

impl RoleSettings {
    fn problems(&self, key: &str) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        let mut note = |below: &str, problem: &str| problems.push(SettingsError::at(format!("{key}.{below}"), problem));
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || !self.name.bytes().all(is_name) {
            note("name", "is no name for a role; expected lower-case letters, digits and -");
        }
        let rules = match &self.allow {
            Some(AllowSettings::Anyone) => {
                note("allow", "`anyone` has no role to sign with");
                &[][..]
            }
            Some(AllowSettings::Rule(rule)) => std::slice::from_ref(&**rule),
            Some(AllowSettings::AnyOf(rules)) => rules,
            None | Some(AllowSettings::SignedIn) => &[],
        };
        // a role is chosen once, for all requests
        if rules.iter().any(|rule| rule.methods.is_some() || rule.paths.is_some() || rule.who == super::Who::Anyone) {
            note("allow", "has a condition on single requests; expected conditions on who asks");
        }
        problems
    }
}

fn names(theirs: &[(&Offer, Arc<Grant>)]) -> Vec<Arc<str>> {
    theirs.iter().map(|(offer, _)| Arc::clone(&offer.name)).collect()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::super::tests::{NOW, PEER, identity, policy};
    use super::super::{NormalPath, Permit, Policy};
    use super::*;
    use crate::clock::from_epoch_seconds;

    const ROLES: &str = r#"
        allow = "signed-in"
        [[want.roles]]
        name = "reader"
        role = "arn:aws:iam::123456789012:role/reader"
        [[want.roles]]
        name = "writer"
        role = "arn:aws:iam::123456789012:role/writer-{claims.team}"
        [[want.roles]]
        name = "admin"
        role = "arn:aws:iam::123456789012:role/admin"
        allow = [{ groups = ["admins"] }, { claims = { level = 9 } }]
    "#;

    fn ask<'a>(identity: &'a Identity, role: Wanted<'a>, path: &'a NormalPath<'a>) -> Ask<'a> {
        Ask { identity: Some(identity), method: &Method::GET, path, peer: PEER, role, now: from_epoch_seconds(NOW) }
    }

    fn decide(policy: &Policy, who: &Identity, role: Wanted<'_>) -> Result<Permit, Denied> {
        policy.decide(ask(who, role, &NormalPath::parse("/").unwrap()))
    }

    fn outcome(policy: &Policy, who: &Identity, role: Wanted<'_>) -> String {
        match decide(policy, who, role) {
            Ok(permit) => permit.grant().unwrap().role.role_name().to_owned(),
            Err(Denied::RoleWanted(names)) => format!("one of {}", names.join(" ")),
            Err(Denied::NotTheirRole(names)) => format!("not among {}", names.join(" ")),
            Err(denied) => panic!("{denied}"),
        }
    }

    #[test]
    fn the_role_is_the_one_that_is_named_or_chosen_or_the_only_one() {
        use Wanted::{Any, Chosen, Named};
        let policy = policy(ROLES).unwrap();
        let alice = identity(json!({"team": "red", "groups": ["admins"]}));
        let bob = identity(json!({"team": "blue", "level": 8}));
        let carol = identity(json!({"groups": ["staff"]}));
        for (who, role, expected) in [
            (&alice, Any, "one of reader writer admin"),
            (&alice, Named("writer"), "writer-red"),
            (&alice, Chosen("admin"), "admin"),
            (&alice, Named("root"), "not among reader writer admin"),
            (&alice, Chosen("root"), "one of reader writer admin"),
            (&bob, Any, "one of reader writer"),
            (&bob, Named("admin"), "not among reader writer"),
            (&bob, Chosen("admin"), "one of reader writer"),
            (&bob, Chosen("writer"), "writer-blue"),
            // no claim fills the writer's name for her, and one role is no choice
            (&carol, Any, "reader"),
            (&carol, Chosen("writer"), "reader"),
            (&carol, Named("reader"), "reader"),
            (&carol, Named("admin"), "not among reader"),
        ] {
            assert_eq!(outcome(&policy, who, role), expected, "{role:?} {:?}", who.claims);
        }
        // what they may have but can't fill is said to who names it
        assert!(matches!(decide(&policy, &carol, Named("writer")), Err(Denied::Unfillable(_))));
    }

    #[test]
    fn nobody_has_a_role_where_none_is_theirs_or_the_route_is_not() {
        let text = ROLES.replace("\"signed-in\"", "{ groups = [\"staff\"] }");
        let (all, policy) = (policy(ROLES).unwrap(), policy(&text).unwrap());
        let outsider = identity(json!({"team": "red"}));
        assert!(matches!(decide(&policy, &outsider, Wanted::Named("reader")), Err(Denied::Forbidden(_))));
        let path = NormalPath::parse("/").unwrap();
        assert!(policy.offers(ask(&outsider, Wanted::Any, &path)).is_err(), "nor are they shown any");
        let names: Vec<_> = all.offers(ask(&outsider, Wanted::Any, &path)).unwrap();
        assert_eq!(names.iter().map(|offer| &*offer.name).collect::<Vec<_>>(), ["reader", "writer"]);
        let nobody = Ask { identity: None, ..ask(&outsider, Wanted::Any, &path) };
        assert_eq!(all.decide(nobody).unwrap_err(), Denied::Anonymous);
    }

    #[test]
    fn grants_of_two_roles_are_two() {
        let policy = policy(ROLES).unwrap();
        let alice = identity(json!({"team": "red", "groups": ["admins"]}));
        let grant = |role| Arc::clone(decide(&policy, &alice, Wanted::Named(role)).unwrap().grant().unwrap());
        assert_ne!(grant("reader"), grant("admin"));
        assert!(Arc::ptr_eq(&grant("reader"), &grant("reader")), "each is filled once");
    }

    #[test]
    fn mistakes_name_their_keys() {
        let role = "role = \"arn:aws:iam::123456789012:role/x\"";
        for (text, keys) in [
            (format!("name = \"a\"\n{role}\n[[want.roles]]\nname = \"a\"\n{role}"), &["roles[1].name"][..]),
            (format!("name = \"A b\"\n{role}"), &["roles[0].name"]),
            ("name = \"a\"\nrole = \"{claims.x}\"".into(), &["roles[0].role"]),
            (format!("name = \"a\"\n{role}\nallow = \"anyone\""), &["roles[0].allow"]),
            (format!("name = \"a\"\n{role}\nallow = {{ groups = [] }}"), &["roles[0].allow.groups"]),
            (format!("name = \"a\"\n{role}\nallow = {{ methods = [\"GET\"] }}"), &["roles[0].allow"]),
            (format!("name = \"a\"\n{role}\nallow = [{{ paths = [\"/x\"] }}]"), &["roles[0].allow"]),
            (format!("name = \"a\"\n{role}\n[want]\n{role}"), &["role"]),
            // what is the route's own is said once
            (
                format!("name = \"a\"\n{role}\n[[want.roles]]\nname = \"b\"\n{role}\n[want]\nduration = \"1m\""),
                &["duration"],
            ),
        ] {
            let problems = policy(&format!("allow = \"signed-in\"\n[[want.roles]]\n{text}")).unwrap_err();
            assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), keys, "{text}: {problems:?}");
        }
        let public = ROLES.replace("\"signed-in\"", "\"anyone\"");
        assert_eq!(policy(&public).unwrap_err()[0].key, "allow");
    }
}

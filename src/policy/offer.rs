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

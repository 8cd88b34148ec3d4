//! What a route wants of STS, and the [`Grant`] that an identity makes of it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{self, Hop};
use super::session_name;
use super::settings::WantSettings;
use super::template::{Charset, Template};
use super::{Call, Denied, Grant, SessionBounds, Tellable, Way, asserted};
use crate::arn::{ExternalId, RoleArn, SessionName, SourceIdentity, TagKey, TagValue};
use crate::built_in::SettingsError;
use crate::identity::Identity;

/// A route's wishes, read.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) provider: Arc<str>,
    /// What the provider's own call can be told.
    pub(super) tellable: Tellable,
    role: Slot<RoleArn>,
    session_name: Option<Slot<SessionName>>,
    tags: Vec<(TagKey, Slot<TagValue>)>,
    transitive: Vec<TagKey>,
    source_identity: Option<Slot<SourceIdentity>>,
    duration: Option<Duration>,
    external_id: Option<Slot<ExternalId>>,
    bounds: SessionBounds,
    through: Vec<Hop>,
}

/// A place for a name: the name itself, or the template that becomes one.
#[derive(Debug)]
pub(super) enum Slot<T> {
    Fixed(T),
    Filled { key: String, template: Template, charset: Charset },
}

impl Want {
    /// Reads the wishes, and holds them against what the provider can tell STS. None: the route wants no role.
    pub(super) fn read(
        settings: &WantSettings,
        provider: Option<(&str, Tellable)>,
    ) -> Result<Option<Self>, Vec<SettingsError>> {
        let WantSettings { role, roles: _, session_name, tags, transitive_tags, source_identity, duration, .. } =
            settings;
        let mut problems = Vec::new();
        let Some(role) = role else {
            let asked = [
                ("session_name", session_name.is_some()),
                ("tags", !tags.is_empty()),
                ("transitive_tags", !transitive_tags.is_empty()),
                ("source_identity", source_identity.is_some()),
                ("duration", duration.is_some()),
                ("through", !settings.through.is_empty()),
                ("external_id", settings.external_id.is_some()),
                ("policy", settings.policy.is_some()),
                ("policy_arns", !settings.policy_arns.is_empty()),
            ];
            let without_role = |key| SettingsError::at(key, "is of no use without `role`");
            problems.extend(asked.into_iter().filter(|(_, set)| *set).map(|(key, _)| without_role(key)));
            return if problems.is_empty() { Ok(None) } else { Err(problems) };
        };
        let Some((provider, tellable)) = provider else {
            return Err(vec![SettingsError::at("role", "needs a [credentials.<name>] section to ask for it")]);
        };
        let is_chained = !settings.through.is_empty();
        tellable_or(&mut problems, provider, settings, if is_chained { chain::BY_KEYS } else { tellable });

        let mut note = |problem| problems.push(problem);
        let role = Slot::read("role", role, Charset::NAME).map_err(&mut note).ok();
        let session_name = optional("session_name", session_name.as_ref(), &mut note);
        let source_identity = optional("source_identity", source_identity.as_ref(), &mut note);
        let mut read_tags = Vec::with_capacity(tags.len());
        for (key, value) in tags {
            let path = format!("tags.{key}");
            match (key.parse::<TagKey>(), Slot::read(&path, value, Charset::TAG)) {
                (Ok(key), Ok(slot)) => read_tags.push((key, slot)),
                (key, slot) => {
                    key.err().into_iter().for_each(|e| note(SettingsError::at(path.as_str(), e)));
                    slot.err().into_iter().for_each(&mut note);
                }
            }
        }
        if tags.len() > MOST_TAGS {
            note(SettingsError::at("tags", format!("{} tags; STS takes up to {MOST_TAGS}", tags.len())));
        }
        let mut transitive = Vec::with_capacity(transitive_tags.len());
        for text in transitive_tags {
            match tags.contains_key(text).then(|| text.parse::<TagKey>()) {
                Some(Ok(key)) => transitive.push(key),
                Some(Err(_)) => {} // already said of the tag itself
                None => note(SettingsError::at("transitive_tags", format!("`{text}` is none of the route's `tags`"))),
            }
        }
        transitive.sort();
        transitive.dedup();
        let duration = duration.as_ref().and_then(|text| {
            session_duration(text).map_err(|problem| note(SettingsError::at("duration", problem))).ok()
        });
        if is_chained && duration.is_some_and(|duration| duration > MOST_OF_A_CHAIN) {
            let problem = "is more than an hour, which is all that STS gives where a role's keys assume another (role \
                           chaining); expected 15m to 1h";
            note(SettingsError::at("duration", problem));
        }
        let through = Hop::read(&settings.through, &mut note);
        let external_id = optional("external_id", settings.external_id.as_ref(), &mut note);
        if external_id.is_some() && !is_chained {
            let problem = format!(
                "is for roles that others' keys assume; expected `through` beside it, or it in [credentials.{provider}]"
            );
            note(SettingsError::at("external_id", problem));
        }
        let bounds = SessionBounds::read(settings, &mut note);
        match role {
            Some(role) if problems.is_empty() => Ok(Some(Self {
                provider: provider.into(),
                tellable,
                role,
                session_name,
                tags: read_tags,
                transitive,
                source_identity,
                duration,
                external_id,
                bounds,
                through,
            })),
            _ => Err(problems),
        }
    }

    /// The grant for this identity.
    pub(super) fn grant(&self, identity: &Identity) -> Result<Grant, Denied> {
        if self.tellable.call == Call::AssumeRoleWithSaml && self.through.is_empty() {
            let grant = asserted::grant(&self.provider, self.role.fill(identity)?, self.duration, identity)?;
            return Ok(Grant { bounds: self.bounds.clone(), ..grant });
        }
        let session_name = match &self.session_name {
            Some(slot) => slot.fill(identity)?,
            None => session_name::readable(identity).map_err(|e| Denied::Unfillable(e.to_string()))?,
        };
        let tag = |(key, slot): &(TagKey, Slot<TagValue>)| Ok((key.clone(), slot.fill(identity)?));
        let last = Grant {
            provider: Arc::clone(&self.provider),
            subject: Arc::clone(&identity.subject),
            role: self.role.fill(identity)?,
            session_name,
            duration: self.duration,
            tags: self.tags.iter().map(tag).collect::<Result<_, Denied>>()?,
            transitive: self.transitive.clone(),
            source_identity: self.source_identity.as_ref().map(|slot| slot.fill(identity)).transpose()?,
            external_id: self.external_id.as_ref().map(|slot| slot.fill(identity)).transpose()?,
            bounds: self.bounds.clone(),
            after: None,
        };
        Hop::link(&self.through, last, self.tellable, identity)
    }
}

impl<T: FromStr<Err: std::fmt::Display> + Clone> Slot<T> {
    /// A template that can't become a `T` whatever is filled in is an error here, not a riddle at the first request.
    pub(super) fn read(key: &str, text: &str, charset: Charset) -> Result<Self, SettingsError> {
        let template: Template = text.parse().map_err(|problem: String| SettingsError::at(key, problem))?;
        if template.is_fixed() {
            return text.parse().map(Self::Fixed).map_err(|e| SettingsError::at(key, e));
        }
        SAMPLES
            .iter()
            .map(|sample| template.sample(sample).parse::<T>())
            .reduce(Result::or)
            .unwrap_or_else(|| text.parse())
            .map_err(|e| SettingsError::at(key, format!("`{text}` can't become what it should: {e}")))?;
        Ok(Self::Filled { key: key.to_owned(), template, charset })
    }

    pub(super) fn fill(&self, identity: &Identity) -> Result<T, Denied> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Filled { key, template, charset } => template
                .fill(identity, *charset)
                .and_then(|text| text.parse().map_err(|_| "the claims make no valid value of it".to_owned()))
                .map_err(|why| Denied::Unfillable(format!("`{key}`: {why}"))),
        }
    }
}

fn optional<T: FromStr<Err: std::fmt::Display> + Clone>(
    key: &str,
    text: Option<&String>,
    note: &mut impl FnMut(SettingsError),
) -> Option<Slot<T>> {
    text.and_then(|text| Slot::read(key, text, Charset::NAME).map_err(note).ok())
}

/// Refuses what the provider can't carry to STS: a tag that silently isn't there is an open door for a deny rule.
fn tellable_or(problems: &mut Vec<SettingsError>, provider: &str, settings: &WantSettings, tellable: Tellable) {
    let untellable = [
        ("session_name", settings.session_name.is_some(), tellable.session_name),
        ("tags", !settings.tags.is_empty(), tellable.tags),
        ("source_identity", settings.source_identity.is_some(), tellable.source_identity),
        ("duration", settings.duration.is_some(), tellable.duration),
    ];
    problems.extend(untellable.into_iter().filter(|(_, asked, way)| *asked && matches!(way, Way::No | Way::Assertion)).map(|(key, ..)| {
        SettingsError::at(
            key,
            format!(
                "`[credentials.{provider}]` can't tell STS this, as only claims inside the person's own token could; \
                 a section of the kind `minted` or `assume_role` can"
            ),
        )
    }));
}

/// `900s`, `15m`, `1h`; STS takes 15 minutes to 12 hours.
fn session_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is not a session's duration; expected 15m to 12h");
    let unit = text.chars().last().ok_or_else(error)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(error()),
    };
    let digits = text.strip_suffix(unit).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).ok_or_else(error)?;
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(seconds)).ok_or_else(error)?;
    if (900..=43_200).contains(&seconds) { Ok(Duration::from_secs(seconds)) } else { Err(error()) }
}

/// IAM guide, "Role chaining".
const MOST_OF_A_CHAIN: Duration = Duration::from_secs(3600);
/// STS takes up to 50 session tags.
const MOST_TAGS: usize = 50;
/// A template is good if one of these makes a good name of it: twelve digits for an account, one for a tight place.
const SAMPLES: [&str; 2] = ["000000000000", "0"];

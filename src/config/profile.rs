//! `[profile.<name>]`: what a developer asks for by a short name, of the agent on their own machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Table;

use super::error::{ConfigErrors, below};
use super::route::names;
use super::{file, section_name};
use crate::arn::Region;
use crate::policy::WantSettings;

/// One profile.
#[derive(Clone, Debug)]
pub struct ProfileConfig {
    /// What it is for, in lists.
    pub description: Option<Arc<str>>,
    /// The `[identity.<name>]` to log in at, which exists: the one that is named, else the only one.
    pub identity: Arc<str>,
    /// The `[credentials.<name>]` that issues, which exists: the one that is named, else the only one.
    pub credentials: Arc<str>,
    /// What it wants of STS.
    pub want: WantSettings,
    /// The region that tools are told of.
    pub region: Option<Region>,
}

/// The profiles that make sense.
pub(super) fn profiles(
    profiles: BTreeMap<String, file::Profile>,
    identity: &BTreeMap<Arc<str>, Table>,
    credentials: &BTreeMap<Arc<str>, Table>,
    errors: &mut ConfigErrors,
) -> BTreeMap<Arc<str>, ProfileConfig> {
    let read = profiles.into_iter().filter_map(|(name, shape)| {
        let path = section_name("profile", &name, errors);
        Some((name.into(), profile(shape, &path, identity, credentials, errors)?))
    });
    read.collect()
}

fn profile(
    shape: file::Profile,
    path: &str,
    identity: &BTreeMap<Arc<str>, Table>,
    credentials: &BTreeMap<Arc<str>, Table>,
    errors: &mut ConfigErrors,
) -> Option<ProfileConfig> {
    let mut one_of = |written: Option<String>, section: &str, there: &BTreeMap<Arc<str>, Table>| {
        let key = below(path, section);
        match written {
            Some(name) if there.contains_key(name.as_str()) => Some(Arc::from(name)),
            Some(name) => {
                errors.add(key, format!("there is no [{section}.{name}]; expected {}", names(section, there)));
                None
            }
            None if there.len() == 1 => there.keys().next().cloned(),
            None => {
                errors.add_missing(&key, &names(section, there));
                None
            }
        }
    };
    let identity = one_of(shape.identity, "identity", identity);
    let credentials = one_of(shape.credentials, "credentials", credentials);
    if shape.role.is_none() {
        errors.add_missing(&below(path, "role"), "the ARN of a role");
    }
    let region = shape.region.and_then(|text| errors.keep(below(path, "region"), text.parse()));
    let want = WantSettings {
        role: shape.role,
        session_name: shape.session_name,
        tags: shape.tags,
        transitive_tags: shape.transitive_tags,
        source_identity: shape.source_identity,
        duration: shape.duration,
        through: shape.through,
        external_id: shape.external_id,
        policy: shape.policy,
        policy_arns: shape.policy_arns,
        ..WantSettings::default()
    };
    let description = shape.description.map(Arc::from);
    Some(ProfileConfig { description, identity: identity?, credentials: credentials?, want, region })
}

//! Role chains: the roles that are assumed on the way to a route's own, each by the keys of the one before.

use std::sync::Arc;

use super::settings::HopSettings;
use super::template::Charset;
use super::want::Slot;
use super::{Call, Denied, Grant, SessionBounds, Tellable, Way, asserted};
use crate::arn::{ExternalId, RoleArn};
use crate::built_in::SettingsError;
use crate::identity::Identity;

/// A role on the way.
#[derive(Debug)]
pub(super) struct Hop {
    role: Slot<RoleArn>,
    external_id: Option<Slot<ExternalId>>,
}

impl Hop {
    /// A route's `through`. Every problem is told.
    pub(super) fn read(settings: &[HopSettings], note: &mut impl FnMut(SettingsError)) -> Vec<Self> {
        if settings.len() > MOST {
            note(SettingsError::at("through", format!("{} roles on the way; up to {MOST} are taken", settings.len())));
        }
        let mut hops = Vec::with_capacity(settings.len());
        for (i, hop) in settings.iter().enumerate() {
            let path = format!("through[{i}]");
            let external_id = hop.external_id().and_then(|text| {
                if i == 0 {
                    let problem = "belongs to a role that is assumed by other keys; the first one is issued by \
                                   [credentials.<name>], which may have an `external_id` of its own";
                    note(SettingsError::at(format!("{path}.external_id"), problem));
                }
                Slot::read(&format!("{path}.external_id"), text, Charset::NAME).map_err(&mut *note).ok()
            });
            if let Ok(role) = Slot::read(&path, hop.role(), Charset::NAME).map_err(&mut *note) {
                hops.push(Self { role, external_id });
            }
        }
        hops
    }

    /// The grant at the end of these roles: each hangs on the one before it.
    ///
    /// A source identity and transitive tags stay from the role on to which they are told, and STS refuses to be told them
    /// again (IAM guide, "Chaining roles with session tags"). So the first call that can tells those, and the last one the
    /// other tags.
    pub(super) fn link(hops: &[Self], last: Grant, first: Tellable, identity: &Identity) -> Result<Grant, Denied> {
        if hops.is_empty() {
            return Ok(last);
        }
        let is_told = |way| matches!(way, Way::Parameter | Way::MintedClaim);
        let (lasting, passing): (Vec<_>, Vec<_>) =
            last.tags.iter().cloned().partition(|(key, _)| last.transitive.contains(key));
        let (mut tags, mut source_identity) = (Some(lasting), last.source_identity.clone());
        let mut before: Option<Arc<Grant>> = None;
        for hop in hops {
            let role = hop.role.fill(identity)?;
            let grant = match &before {
                None if first.call == Call::AssumeRoleWithSaml => {
                    asserted::grant(&last.provider, role, None, identity)?
                }
                _ => {
                    let is_first = before.is_none();
                    let tags = if is_first && !is_told(first.tags) { None } else { tags.take() };
                    let tells_source = !is_first || is_told(first.source_identity);
                    Grant {
                        provider: Arc::clone(&last.provider),
                        subject: Arc::clone(&last.subject),
                        role,
                        session_name: last.session_name.clone(),
                        duration: None,
                        transitive: if tags.is_some() { last.transitive.clone() } else { Vec::new() },
                        tags: tags.unwrap_or_default(),
                        source_identity: if tells_source { source_identity.take() } else { None },
                        external_id: hop.external_id.as_ref().map(|slot| slot.fill(identity)).transpose()?,
                        bounds: SessionBounds::default(),
                        after: before.take(),
                    }
                }
            };
            before = Some(Arc::new(grant));
        }
        let transitive = if tags.is_some() { last.transitive } else { Vec::new() };
        let mut tags: Vec<_> = tags.unwrap_or_default().into_iter().chain(passing).collect();
        tags.sort();
        Ok(Grant { tags, transitive, source_identity, after: before, ..last })
    }
}

/// What STS can be told of a role that is assumed by other keys.
pub(super) const BY_KEYS: Tellable = Tellable {
    call: Call::AssumeRole,
    session_name: Way::Parameter,
    tags: Way::Parameter,
    source_identity: Way::Parameter,
    duration: Way::Parameter,
};

/// Each takes a call when keys are first asked for; nobody needs more.
const MOST: usize = 8;

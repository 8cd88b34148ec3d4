//! Which role a request is for, where its route offers several: the one it names, else the one that was chosen.

use std::sync::Arc;

use http::HeaderMap;

use crate::fault::{Fault, ROLE};
use crate::identity::Identity;
use crate::policy::Wanted;
use crate::route::Route;
use crate::session::Session;

/// The role that was chosen in the session that asks.
pub(super) fn chosen(route: &Route, identity: Option<&Identity>, session: Option<&Arc<Session>>) -> Option<Arc<str>> {
    if !route.policy.offers_roles() {
        return None;
    }
    // another source may vouch for who asks, whatever session came along
    let session = session.filter(|session| identity.is_some_and(|who| who.holder.id == session.id()))?;
    session.choice(&route.name)
}

/// # Errors
/// [`Fault::Malformed`] where the request names more than one, or what is no text.
pub(super) fn wanted<'a>(route: &Route, headers: &'a HeaderMap, chosen: Option<&'a str>) -> Result<Wanted<'a>, Fault> {
    if !route.policy.offers_roles() {
        return Ok(Wanted::Any);
    }
    let mut named = headers.get_all(ROLE).iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(chosen.map_or(Wanted::Any, Wanted::Chosen)),
        (Some(name), None) if name.to_str().is_ok() => Ok(Wanted::Named(name.to_str().unwrap_or_default())),
        _ => Err(Fault::Malformed(format!("{ROLE} must name one role"))),
    }
}

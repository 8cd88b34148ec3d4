//! Credentials: asked for once, renewed in time, given to nobody else, and what happens when there are none.

mod chains;
mod outages;
mod own_token;
mod refusals;
mod rotation;
mod sharing;

use crate::support::routes::{OPEN, SIGNED};
use crate::support::world::Plan;

/// Requests are signed for whoever is logged in, who may log in without that.
fn signed(more: &str) -> Plan {
    Plan::with_routes(&[SIGNED, OPEN, more].concat())
}

/// Lookups that found nothing at hand.
const MISSES: &str = "claviger_credentials_lookups_total{verdict=\"miss\"}";
const ENTRIES: &str = "claviger_credentials_entries";

//! Noticing logins that go round in circles: they succeed, and the ticket does not come back.

use std::time::Duration;

use askama::Template;
use http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::begin::{Ask, Then, page};
use super::{SignIn, Site, Visit};
use crate::clock::{epoch_seconds, from_epoch_seconds, rfc3339};
use crate::fault::Fault;
use crate::web::{Response, cookies};

/// How many logins a browser has completed in a row without showing a ticket.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Rounds {
    /// Seconds since the epoch.
    since: u64,
    count: u32,
}

#[derive(Template)]
#[template(path = "sign_in/loop.html", config = ".askama.toml")]
struct Loop<'a> {
    host: &'a str,
    public_url: &'a str,
    now: String,
    request_id: &'a str,
}

impl Rounds {
    pub(super) fn are_too_many(self) -> bool {
        self.count >= MOST
    }
}

impl SignIn {
    /// The rounds with this one. A live ticket ends the count, unless the login was wanted although there is one: many
    /// tabs that log in at once are no loop.
    pub(super) async fn rounds(&self, site: &Site, visit: &Visit<'_>, anew: bool) -> Result<Rounds, Fault> {
        let now = self.clock.now();
        let fresh = Rounds { since: epoch_seconds(now), count: 1 };
        if !anew && self.session(site, visit).await?.is_some() {
            return Ok(Rounds { count: 0, ..fresh });
        }
        let name = site.names.other(PURPOSE);
        let known = cookies(&visit.head.headers, &name)
            .filter_map(|value| self.sealer.load().open(&[PURPOSE, visit.host], value))
            .filter_map(|plain| serde_json::from_slice::<Rounds>(&plain).ok())
            .find(|rounds| now < from_epoch_seconds(rounds.since) + WINDOW);
        Ok(known.map_or(fresh, |rounds| Rounds { count: rounds.count + 1, ..rounds }))
    }

    pub(super) fn keep_rounds(&self, site: &Site, visit: &Visit<'_>, rounds: Rounds) -> Option<HeaderValue> {
        if rounds.count == 0 {
            return None;
        }
        let plain = serde_json::to_vec(&rounds).unwrap_or_default();
        let sealed = self.sealer.load().seal(&[PURPOSE, visit.host], &plain);
        site.names.set(&site.names.other(PURPOSE), &sealed, Some(WINDOW.as_secs()))
    }

    pub(super) fn explain_loop(&self, site: &Site, visit: &Visit<'_>, ask: &Ask) -> Result<Response, Fault> {
        let host = match &ask.then {
            Then::Here(_) => visit.host,
            Then::HandOver { host, .. } => host,
        };
        self.explain(site, visit, host)
    }

    /// A page that says what may be wrong, in place of one more redirect.
    pub(super) fn explain(&self, site: &Site, visit: &Visit<'_>, host: &str) -> Result<Response, Fault> {
        self.count("loop");
        tracing::warn!(
            request.id = visit.request_id,
            host,
            "a browser logs in again and again; its ticket does not come back"
        );
        let public_url = site.public_url.as_str().trim_end_matches('/');
        page(&Loop { host, public_url, now: rfc3339(self.clock.now()), request_id: visit.request_id })
    }
}

const PURPOSE: &str = "rounds";
const WINDOW: Duration = Duration::from_secs(30);
const MOST: u32 = 3;

//! Logins under way: each in a sealed cookie of its own, so that parallel ones don't touch each other.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::target::Target;
use super::{Ask, SignIn, Site, Visit};
use crate::clock::{epoch_seconds, from_epoch_seconds};
use crate::identity::{LoginMemory, SourceName};
use crate::session::CookieNames;
use crate::web::all_cookies;

/// A login under way.
#[derive(Deserialize, Serialize)]
pub(super) struct Underway {
    /// Seconds since the epoch.
    begun: u64,
    pub(super) step: Step,
}

/// What it waits for.
#[derive(Deserialize, Serialize)]
pub(super) enum Step {
    /// A provider's answer, at `public_url`; `posted` by a form, or in the query of a redirect.
    Provider { source: SourceName, state: String, memory: LoginMemory, posted: bool, ask: Ask },
    /// A code from `public_url`, on another host.
    Enter { binding: String, to: Target, anew: bool },
}

impl Step {
    /// The unguessable value that comes back and names the login.
    fn key(&self) -> &str {
        match self {
            Self::Provider { state, .. } => state,
            Self::Enter { binding, .. } => binding,
        }
    }

    fn is_posted(&self) -> bool {
        matches!(self, Self::Provider { posted: true, .. })
    }
}

impl SignIn {
    /// The cookies that keep a login under way; the oldest of too many go (oauth2-proxy's pile up to a 431).
    pub(super) fn keep(&self, site: &Site, visit: &Visit<'_>, step: Step) -> Vec<HeaderValue> {
        let name = cookie_name(site, step.key(), step.is_posted());
        let set = if step.is_posted() { CookieNames::set_for_posts } else { CookieNames::set };
        let underway = Underway { begun: epoch_seconds(self.clock.now()), step };
        // a struct of texts is always JSON
        let plain = serde_json::to_vec(&underway).unwrap_or_default();
        let sealed = self.sealer.load().seal(&[PURPOSE, visit.host, &name], &plain);
        let mut cookies: Vec<HeaderValue> = self.crowd(site, visit, &name);
        cookies.extend(set(&site.names, &name, &sealed, Some(LIFE.as_secs())));
        cookies
    }

    /// The login that `key` names, and its cookie. There may be several cookies of the name (A10).
    pub(super) fn underway(&self, site: &Site, visit: &Visit<'_>, key: &str) -> Option<(String, Step)> {
        let mut logins = self.logins(site, visit).filter(|(cookie, login)| {
            *cookie == cookie_name(site, key, login.step.is_posted()) && same(login.step.key(), key)
        });
        logins.next().map(|(name, login)| (name.to_owned(), login.step))
    }

    /// Removes the cookie of a login under way, by its name.
    pub(super) fn clear(&self, site: &Site, name: &str) -> Option<HeaderValue> {
        if name.starts_with(&site.names.other(FOR_POSTS)) {
            return site.names.set_for_posts(name, "", Some(0));
        }
        site.names.clear(name)
    }

    /// The logins under way in this browser on this host, with their cookies' names.
    pub(super) fn logins<'v>(
        &self,
        site: &Site,
        visit: &'v Visit<'_>,
    ) -> impl Iterator<Item = (&'v str, Underway)> + use<'_, 'v> {
        let prefix = site.names.other(PURPOSE);
        let (now, host) = (self.clock.now(), visit.host);
        all_cookies(&visit.head.headers).filter(move |(name, _)| name.starts_with(&prefix)).filter_map(
            move |(name, value)| {
                let plain = self.sealer.load().open(&[PURPOSE, host, name], value)?;
                let login: Underway = serde_json::from_slice(&plain).ok()?;
                (now < from_epoch_seconds(login.begun) + LIFE).then_some((name, login))
            },
        )
    }

    /// Clears so many of the oldest logins under way that one more is not too many. Those that don't open are older
    /// than any that does.
    fn crowd(&self, site: &Site, visit: &Visit<'_>, new: &str) -> Vec<HeaderValue> {
        let prefix = site.names.other(PURPOSE);
        let opened: Vec<(&str, u64)> = self.logins(site, visit).map(|(name, login)| (name, login.begun)).collect();
        let age = |name: &str| opened.iter().find(|(one, _)| *one == name).map_or(0, |(_, begun)| *begun);
        let mut names: Vec<&str> = all_cookies(&visit.head.headers)
            .map(|(name, _)| name)
            .filter(|name| name.starts_with(&prefix) && *name != new)
            .collect();
        names.sort_unstable_by_key(|name| (age(name), *name));
        names.dedup();
        let too_many = (names.len() + 1).saturating_sub(MOST);
        names.into_iter().take(too_many).filter_map(|name| self.clear(site, name)).collect()
    }
}

/// Whether two unguessable texts are the same, in time that tells nothing.
pub(super) fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// SHA-256.
pub(super) fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// SHA-256 in base64url: what may be kept of a text that must not be shown.
pub(super) fn hash_text(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(text))
}

fn cookie_name(site: &Site, key: &str, is_posted: bool) -> String {
    let hash = hash(key);
    let [a, b, c, d, ..] = hash;
    let purpose = if is_posted { FOR_POSTS } else { PURPOSE };
    site.names.other(&format!("{purpose}-{a:02x}{b:02x}{c:02x}{d:02x}"))
}

const PURPOSE: &str = "login";
/// Of a login whose answer another site posts.
const FOR_POSTS: &str = "login-post";
/// How long a person may take at the provider.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// In one browser, on one host.
const MOST: usize = 5;

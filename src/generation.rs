//! Everything that is built from one config, as one value: a request sees one generation from its start to its end, and
//! a reload builds a whole new one or keeps the old (A33).
//!
//! What must outlive a reload (sessions, credentials, connections) is the app's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use crate::arn::Region;
use crate::built_in::Environment;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, PublicUrl, Reading};
use crate::credentials::{CredentialProvider, Mint};
use crate::endpoint::Endpoint;
use crate::fetch::Fetch;
use crate::identity::{EvidenceError, Identity, IdentitySource, Presented, Recognition, Rejection, SourceName};
use crate::inject::{IdentityIssuer, Vouched};
use crate::policy::Policy;
use crate::rate::Rates;
use crate::route::{Route, Routes};
use crate::session::{CookieNames, Session};
use crate::telemetry::Metrics;
use crate::tls::{ServerIdentity, Trust};
use crate::upstream::Upstreams;
use crate::web::{Caller, Connection};

mod build;
mod footing;

/// All parts of one config.
#[derive(Debug)]
pub struct Generation {
    /// The first one's is 1, and each that takes another's place has one more.
    pub number: u64,
    /// The routes, by host and path.
    pub routes: Routes,
    /// `[identity.<name>]`.
    pub sources: BTreeMap<SourceName, Arc<dyn IdentitySource>>,
    /// `[credentials.<name>]`.
    pub providers: BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    /// `[endpoint.<name>]`.
    pub endpoints: BTreeMap<Arc<str>, Arc<dyn Endpoint>>,
    /// `[profile.<name>]`.
    pub profiles: BTreeMap<Arc<str>, Profile>,
    /// The headers that any injector vouches for, which no client may send on any route (A1).
    pub vouched: Arc<Vouched>,
    /// `[listen.<name>]`.
    pub entrances: BTreeMap<Arc<str>, Entrance>,
    /// `[limits.rate]`.
    pub rates: Arc<Rates>,
    mint: Option<Arc<Mint>>,
    footings: footing::Footings,
    clock: Arc<dyn Clock>,
}

/// What a developer asks for by a short name.
#[derive(Debug)]
pub struct Profile {
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// The source to log in at.
    pub source: SourceName,
    /// Who issues.
    pub provider: Arc<str>,
    /// What is asked for whoever is logged in.
    pub policy: Policy,
    /// The region that tools are told of.
    pub region: Option<Region>,
}

/// What a listener is to the requests that come in by it.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// The origin people know it by.
    pub public_url: Option<PublicUrl>,
    /// What our cookies are called here; absent where nobody can log in.
    pub cookies: Option<CookieNames>,
    /// What it shows to those who connect; absent: plain HTTP.
    pub tls: Option<ServerIdentity>,
    /// The peers whose `X-Forwarded-For` and `-Proto` are believed (A6).
    pub trusted_proxies: Vec<IpNet>,
}

/// What a generation is built with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way out to identity providers and STS.
    pub fetch: Arc<Fetch>,
    /// What upstreams are believed by where the route has no `ca` for them.
    pub trust: Trust,
    /// The upstreams there are, whose connections outlive a generation.
    pub upstreams: Arc<Upstreams>,
    /// Signs tokens for `minted`; absent where no listener has a `public_url`.
    pub mint: Option<Arc<Mint>>,
    /// Where what the parts do is counted.
    pub metrics: Metrics,
    /// Signs tokens for `identity_jwt`; absent where no listener has a `public_url`.
    pub identity_issuer: Option<Arc<IdentityIssuer>>,
}

/// Why nobody can be said to ask, though something was presented.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unidentified {
    /// A source rejects what is its own: a forged token is not forgiven because a cookie came along.
    #[error("`identity.{source_name}` rejects what was presented")]
    Rejected {
        /// The source.
        source_name: SourceName,
        /// Why, for the log.
        #[source]
        rejection: Rejection,
    },
    /// A source can't judge now what is its own.
    #[error("`identity.{source_name}` can't judge what was presented now")]
    Undecided {
        /// The source.
        source_name: SourceName,
        /// What it lacks.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The route is for the workload that claviger runs beside, and that can't be said to be anybody now.
    #[error("the workload itself can't be identified")]
    NotOurselves(#[source] EvidenceError),
    /// Two sources vouch, and which one is meant is anybody's guess.
    #[error("both `identity.{0}` and `identity.{1}` vouch for the caller")]
    Ambiguous(SourceName, SourceName),
}

impl Generation {
    /// Reads a config and builds it. `parts` is asked once the config is read, as some parts depend on it; what it finds
    /// wrong there it adds to the errors.
    ///
    /// # Errors
    /// Everything that is wrong, of the file's own and of what is built from it.
    pub fn load(
        file: &Path,
        environment: &Environment,
        parts: impl FnOnce(&Config, &mut ConfigErrors) -> Parts,
    ) -> Result<(Config, Self), ConfigErrors> {
        let Reading { config, mut errors } = Config::read(file, environment)?;
        let mut of_parts = ConfigErrors::default();
        let parts = parts(&config, &mut of_parts);
        let built = Self::build(&config, &parts);
        errors.append_news(of_parts);
        match built.map_err(|more| errors.append_news(more)) {
            Ok(generation) if errors.is_empty() => Ok((config, generation)),
            _ => Err(errors.located(&config.text)),
        }
    }

    /// Builds the parts of a config. It reads the files that the config names and does no other I/O.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key path.
    pub fn build(config: &Config, parts: &Parts) -> Result<Self, ConfigErrors> {
        build::generation(config, parts, None)
    }

    /// Builds the generation that takes this one's place. What stands on sections that have not changed is carried over
    /// with all it knows: a provider's documents are not fetched anew, and the same value says that nothing changed. The
    /// credential providers in `anew` are built anew even so.
    ///
    /// # Errors
    /// As [`Generation::build`].
    pub fn renew(&self, config: &Config, parts: &Parts, anew: &BTreeSet<Arc<str>>) -> Result<Self, ConfigErrors> {
        build::generation(config, parts, Some((self, anew)))
    }

    /// Whether the section at this path (`credentials.aws`) is what it was in `before`, with all the files it names. One
    /// that is not in both is another.
    pub fn has_same_section(&self, before: &Self, path: &str) -> bool {
        footing::is_same_section(&self.footings, &before.footings, path)
    }

    /// The `[credentials.<name>]` of that name.
    pub fn provider(&self, name: &str) -> Option<&Arc<dyn CredentialProvider>> {
        self.providers.get(name)
    }

    /// Who asks. `session` is the one whose ticket the caller showed.
    ///
    /// Sources that don't count on this route are not asked, and a session of theirs is none here: to this route both
    /// are things of other apps. What is rejected ends the search, whoever else vouches. Two who vouch are one too many,
    /// a certificate included, although the caller did not choose to show it to this route: a route where people with
    /// certificates log in names the sources that it means.
    ///
    /// # Errors
    /// [`Unidentified`]: something was presented, and it is bad or too much.
    pub async fn identify(
        &self,
        caller: &Caller<'_>,
        route: &Route,
        session: Option<&Arc<Session>>,
    ) -> Result<Option<Identity>, Unidentified> {
        if let Some(source) = &route.ambient {
            return source.own().map(Some).map_err(Unidentified::NotOurselves);
        }
        let mut found = session.filter(|session| route.counts(&session.subject().source)).map(Session::identity);
        for (name, source) in self.sources.iter().filter(|(name, _)| route.counts(name)) {
            let recognition = match source.glance(caller) {
                Some(recognition) => recognition,
                None => source.recognize(caller).await,
            };
            match recognition {
                Recognition::NotPresented => {}
                Recognition::Undecided(source) => {
                    return Err(Unidentified::Undecided { source_name: Arc::clone(name), source });
                }
                Recognition::Rejected(rejection) => {
                    return Err(Unidentified::Rejected { source_name: Arc::clone(name), rejection });
                }
                Recognition::Verified(_) if source.wants_certificates() && !self.believes(caller.connection) => {
                    let reason = "the certificate is not believed any more: its issuer has gone, or it was revoked";
                    let rejection = Presented::Certificate.rejected(reason);
                    return Err(Unidentified::Rejected { source_name: Arc::clone(name), rejection });
                }
                Recognition::Verified(identity) => match found {
                    None => found = Some(identity),
                    Some(other) => {
                        return Err(Unidentified::Ambiguous(Arc::clone(&other.subject.source), Arc::clone(name)));
                    }
                },
            }
        }
        Ok(found)
    }

    /// Whether the listener that a connection came in by would believe its certificate now, by its authorities and
    /// revocation lists: the connection may be older than this config.
    pub fn believes(&self, connection: &Connection) -> bool {
        let Some(certificate) = &connection.certificate else { return false };
        let tls = self.entrances.get(&connection.listener).and_then(|entrance| entrance.tls.as_ref());
        certificate.was_believed_by(self.number, || tls.is_some_and(|tls| tls.believes(certificate, self.clock.now())))
    }

    /// The sources that people can log in at on this route, in the order of their names.
    pub fn logins<'g>(
        &'g self,
        route: &'g Route,
    ) -> impl Iterator<Item = (&'g SourceName, &'g Arc<dyn IdentitySource>)> {
        self.sources.iter().filter(move |(name, source)| route.counts(name) && source.login().is_some())
    }
}

#[cfg(test)]
mod tests;

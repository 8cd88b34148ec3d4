//! `[provider]` and `[authority]`: the OpenID provider and the STS that a small site can run in the same process.
//!
//! They are reached over HTTP like anybody else's, on addresses of their own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::current::HTTP;
use super::{Serving, StartError, listen};
use crate::authority::{Account, Authority};
use crate::config::{Config, ConfigErrors};
use crate::fetch::Fetch;
use crate::generation::Parts;
use crate::provider::OpenIdProvider;
use crate::server::Handler;
use crate::telemetry::Metrics;
use crate::tls::ServerIdentity;
use crate::web::{Connection, Request, Response};

/// What runs of the other side.
#[derive(Debug)]
pub(super) struct OtherSide {
    provider: Option<Arc<Seat<OpenIdProvider>>>,
    authority: Option<Arc<Seat<Authority>>>,
    fetch: Arc<Fetch>,
}

/// What a config makes of the other side; nothing runs by it yet.
pub(super) struct Plan {
    provider: Option<Arc<OpenIdProvider>>,
    authority: Option<Account>,
    /// What each shows to those who connect, by its section.
    pub(super) identities: Vec<(&'static str, ServerIdentity)>,
}

impl Plan {
    /// Reads the sections and all that they name.
    pub(super) fn read(config: &Config, parts: &Parts) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let mut plan = Self { provider: None, authority: None, identities: Vec::new() };
        let surroundings = &config.surroundings;
        if let Some(provider) = &config.provider {
            plan.identities.extend(provider.identity("provider", &mut errors).map(|identity| ("provider", identity)));
            match provider.settings.build(surroundings, &parts.clock) {
                Ok(built) => plan.provider = Some(built),
                Err(error) => errors.add_settings("provider", error),
            }
        }
        if let Some(authority) = &config.authority {
            plan.identities
                .extend(authority.identity("authority", &mut errors).map(|identity| ("authority", identity)));
            match authority.settings.account(surroundings) {
                Ok(account) => plan.authority = Some(account),
                Err(problems) => problems.into_iter().for_each(|error| errors.add_settings("authority", error)),
            }
        }
        errors.or(plan)
    }
}

impl OtherSide {
    /// Binds and seats what was planned.
    pub(super) fn start(
        plan: Plan,
        config: &Config,
        parts: &Parts,
        metrics: &Metrics,
    ) -> Result<(Self, Vec<Serving>), StartError> {
        let Plan { provider, authority, identities } = plan;
        let (clock, fetch) = (Arc::clone(&parts.clock), Arc::clone(&parts.fetch));
        let authority = authority.map(|account| Authority::new(account, &fetch, clock, metrics));
        let this = Self { provider: provider.map(Seat::of), authority: authority.map(Seat::of), fetch };
        let provider = this.provider.as_ref().map(|seat| Arc::clone(seat) as Arc<dyn Handler>);
        let authority = this.authority.as_ref().map(|seat| Arc::clone(seat) as Arc<dyn Handler>);
        let sides = [
            ("provider", provider, config.provider.as_ref().map(|service| service.address)),
            ("authority", authority, config.authority.as_ref().map(|service| service.address)),
        ];
        let mut serving = Vec::new();
        for (name, handler, address) in sides {
            let (Some(handler), Some(address)) = (handler, address) else { continue };
            let listener = listen(&format!("{name}.address"), address)?;
            let identity = identities.iter().find(|(section, _)| *section == name);
            let tls = identity.map(|(_, identity)| identity.server_config(HTTP));
            serving.push(Serving { name: name.into(), listener, tls, handler });
        }
        Ok((this, serving))
    }

    /// Puts what was planned in the place of what runs; who is signed in there stays so, and tokens stay good.
    pub(super) fn change(&self, plan: Plan) {
        if let (Some(seat), Some(provider)) = (&self.provider, plan.provider) {
            seat.change(|before| provider.in_place_of(before));
        }
        if let (Some(seat), Some(account)) = (&self.authority, plan.authority) {
            seat.change(|before| before.with_account(account, &self.fetch));
        }
    }
}

/// A handler that another may take the place of.
#[derive(Debug)]
struct Seat<T>(ArcSwap<T>);

impl<T> Seat<T> {
    fn of(first: Arc<T>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(first)))
    }

    fn change(&self, next: impl FnOnce(&T) -> Arc<T>) {
        self.0.store(next(&self.0.load_full()));
    }
}

#[async_trait]
impl<T: Handler> Handler for Seat<T> {
    async fn handle(&self, connection: &Connection, request: Request) -> Response {
        self.0.load_full().handle(connection, request).await
    }
}

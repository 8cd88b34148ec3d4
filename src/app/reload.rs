//! Reading the config again: the whole new one, or the old one with the reason (A33).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::time::sleep;

use super::App;
use super::changes::{Changes, gone, lost};
use super::current::{Current, HTTP};
use super::endpoints::{self, Endpoints};
use super::keys::{Missing, OurKeys};
use super::listeners::Listeners;
use super::other_side::{OtherSide, Plan};
use crate::clock::epoch_seconds;
use crate::config::{Config, ConfigErrors, Reading};
use crate::files::Files;
use crate::generation::{Generation, Parts};
use crate::identity::SourceName;
use crate::proxy::Taken;
use crate::server::{Listener, Workers};
use crate::telemetry::{AUDIT, LogLevel, Metrics};
use crate::tls::Handshakes;
use crate::web::chain;

/// Puts a config in the place of the one before.
#[derive(Debug)]
pub(super) struct Reload {
    app: Arc<App>,
    file: PathBuf,
    /// What every generation is built with, but for what our keys make.
    parts: Parts,
    running: Running,
    /// What the config is made of, as it was when it was last read.
    read: Files,
    counts: Counts,
}

/// What runs by a config and is changed, not replaced.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) listeners: Listeners,
    pub(super) endpoints: Endpoints,
    /// How those of the other side that speak TLS shake hands.
    pub(super) shaken: BTreeMap<Arc<str>, Handshakes>,
    pub(super) other_side: OtherSide,
    pub(super) level: LogLevel,
}

/// Why the config is read again.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Signal,
    Files,
}

/// A config that can take the place of the one before.
struct Next {
    current: Current,
    plan: Plan,
    /// Listeners that it opens, by their names.
    bound: BTreeMap<Arc<str>, Listener>,
    /// Endpoints likewise.
    endpoints: endpoints::Bound,
    changes: Changes,
    lost: BTreeSet<Arc<str>>,
    /// Sources that have gone, or speak for others.
    gone: BTreeSet<SourceName>,
}

impl Reload {
    pub(super) fn new(app: Arc<App>, file: PathBuf, parts: Parts, running: Running, metrics: &Metrics) -> Self {
        let current = app.current.load_full();
        let counts = Counts::new(metrics);
        counts.in_use(&current, &app);
        Self { read: current.config.surroundings.files(), app, file, parts, running, counts }
    }

    /// Reads the config again each time `asked` has an answer, and when a file of it has changed. Never ends.
    /// Listeners that a config adds are served by `workers`.
    pub(super) async fn again_and_again(&mut self, workers: &Workers, mut asked: impl AsyncFnMut()) {
        loop {
            let cause = tokio::select! {
                () = asked() => Cause::Signal,
                () = self.changed() => Cause::Files,
            };
            self.reload(workers, cause).await;
        }
    }

    /// Waits until a file of the config has changed and is whole: a look finds it as the look before did.
    async fn changed(&self) {
        let Some(every) = self.app.current.load().config.watch else { return std::future::pending().await };
        loop {
            sleep(every).await;
            let mut now = self.read.look_again();
            while now != self.read {
                sleep(SETTLED.min(every)).await;
                let before = std::mem::replace(&mut now, self.read.look_again());
                if now == before {
                    return;
                }
            }
        }
    }

    async fn reload(&mut self, workers: &Workers, cause: Cause) {
        let before = self.app.current.load_full();
        // a failed config is read again when anything changes from here on
        let mut looked = self.read.look_again();
        match self.next(&before, &mut looked) {
            Ok(next) => {
                self.read = next.current.config.surroundings.files();
                self.put_in_place(workers, &before, next, cause).await;
            }
            Err(errors) => {
                self.read = looked;
                self.keep(&before, &errors, cause);
            }
        }
    }

    /// Builds everything from the file as it is now, and changes nothing: what it binds is let go where it can't be used.
    fn next(&self, before: &Current, looked: &mut Files) -> Result<Next, ConfigErrors> {
        let Reading { mut config, mut errors } = Config::read(&self.file, &before.config.surroundings.environment)?;
        let bound = self.running.listeners.bind(&before.config, &mut config, &mut errors);
        let lost = lost(&before.config, &config);
        let built = self.build(before, &config, &lost);
        looked.add(config.surroundings.files());
        let changes = Changes::between(&before.config, &config, &self.file);
        let built = built.map_err(|more| errors.append_news(more)).ok();
        errors.append(changes.fixed.clone());
        // what is not sound takes no port
        let endpoints = match &built {
            Some((generation, ..)) if errors.is_empty() => self.running.endpoints.bind(generation, &mut errors),
            _ => endpoints::Bound::new(),
        };
        match built {
            Some((generation, keys, plan)) if errors.is_empty() => {
                let current = Current { config, generation: Arc::new(generation), keys };
                let gone = gone(&before.config, &current.config);
                Ok(Next { current, plan, bound, endpoints, changes, lost, gone })
            }
            _ => Err(errors.located(&config.text)),
        }
    }

    fn build(
        &self,
        before: &Current,
        config: &Config,
        lost: &BTreeSet<Arc<str>>,
    ) -> Result<(Generation, OurKeys, Plan), ConfigErrors> {
        let mut errors = config.redis().err().unwrap_or_default();
        let keys = match OurKeys::read(config, Missing::Kept, &mut errors) {
            Ok(keys) => keys.after(&before.keys),
            Err(error) => {
                errors.add("state_dir", chain(&error));
                before.keys.clone()
            }
        };
        let parts = keys.given(&self.parts);
        let generation = before.generation.renew(config, &parts, lost).map_err(|more| errors.append_news(more));
        let plan = Plan::read(config, &parts).map_err(|more| errors.append_news(more));
        match (generation, plan) {
            (Ok(generation), Ok(plan)) if errors.is_empty() => Ok((generation, keys, plan)),
            _ => Err(errors),
        }
    }

    /// Requests that have begun keep to what they began with; those that come after this see the new one whole.
    async fn put_in_place(&mut self, workers: &Workers, before: &Current, next: Next, cause: Cause) {
        let Next { current, plan, bound, endpoints, changes, lost, gone } = next;
        let app = &self.app;
        let stays = |name: &str| {
            !lost.contains(name)
                && current.generation.has_same_section(&before.generation, &format!("credentials.{name}"))
        };
        let touched = current.config.surroundings.files() != before.config.surroundings.files();

        // first what ends sessions and credentials, then what lets people in
        app.sessions.use_sources(current.generation.sources.clone()).await;
        app.sessions.use_settings(&current.config.session);
        app.sessions.use_keys(&current.keys.sessions);
        if let Ok(Some(address)) = current.config.redis() {
            app.sessions.use_address(&address);
        }
        app.broker.use_providers(current.generation.providers.clone(), stays);
        app.sign_in.use_sealer(Arc::clone(&current.keys.sealer));
        let closed = self.running.listeners.close(&current.config, &bound);
        self.running.endpoints.close(&current.generation, &endpoints);
        self.running.listeners.change(&current, touched);
        for (name, identity) in &plan.identities {
            if let (true, Some(tls)) = (touched, self.running.shaken.get(*name)) {
                tls.change(identity.server_config(HTTP));
            }
        }
        self.running.other_side.change(plan);
        self.running.level.set(current.config.log_level);
        app.stale.store(None);

        let (number, changed) = (current.generation.number, changes.sentence());
        let taken = Taken { sources: gone, listeners: closed, grace: current.config.drain };
        let generation = Arc::clone(&current.generation);
        app.current.store(Arc::new(current));
        app.proxy.reloaded(&generation, taken);
        for (name, listener) in bound {
            match self.running.listeners.open(workers, app, &name, listener) {
                Ok(address) => tracing::info!(listener = &*name, address = %address, "listening"),
                Err(error) => tracing::error!(listener = &*name, %error, "it can't be listened on"),
            }
        }
        for (name, bound) in endpoints {
            let called: Arc<str> = endpoints::listener_name(&name).into();
            let manner = self.running.listeners.manner_of_others(Arc::clone(&called), None);
            match self.running.endpoints.open(workers, app, manner, name, bound) {
                Ok(place) => tracing::info!(listener = &*called, address = place, "listening"),
                Err(error) => tracing::error!(listener = &*called, %error, "it can't be listened on"),
            }
        }
        self.counts.reloaded.increment(1);
        self.counts.in_use(&app.current.load(), app);
        tracing::info!(
            target: AUDIT,
            { config.generation = number, config.changed = changed, why = cause.as_str() },
            "the config was reloaded"
        );
    }

    fn keep(&self, before: &Current, errors: &ConfigErrors, cause: Cause) {
        self.counts.refused.increment(1);
        let reasons = errors.to_string().replace('\n', "; ");
        self.app.stale.store(Some(Arc::new(reasons.clone()))); // who reads of it in the log finds it at `/readyz`
        tracing::error!(
            target: AUDIT,
            { config.generation = before.generation.number, config.errors = reasons, why = cause.as_str() },
            "the config was not reloaded: the one before stays in use"
        );
    }
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Files => "files",
        }
    }
}

/// What is counted of reloads.
struct Counts {
    reloaded: Counter,
    refused: Counter,
    generation: Gauge,
    since: Gauge,
}

impl Counts {
    fn new(metrics: &Metrics) -> Self {
        metrics.describe("claviger_reloads_total", None, "Reloads of the config, by outcome.");
        metrics.describe("claviger_config_generation", None, "Which config is in use; the first is 1.");
        metrics.describe("claviger_config_timestamp_seconds", None, "Since when the config in use is in use.");
        let count = |outcome| metrics.counter("claviger_reloads_total", &[("outcome", outcome)]);
        Self {
            reloaded: count("reloaded"),
            refused: count("refused"),
            generation: metrics.gauge("claviger_config_generation", &[]),
            since: metrics.gauge("claviger_config_timestamp_seconds", &[]),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn in_use(&self, current: &Current, app: &App) {
        self.generation.set(current.generation.number as f64);
        self.since.set(epoch_seconds(app.clock.now()) as f64);
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

/// Who writes a file in place, or puts several there one by one, is done with it in so long.
const SETTLED: Duration = Duration::from_millis(250);

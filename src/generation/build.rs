//! From a config to its parts, with every error of every section.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::footing::{Footings, is_same_mint};
use super::{Entrance, Generation, Parts, Profile};
use crate::config::{Config, ConfigErrors, Listen, RouteConfig, UpstreamConfig, below};
use crate::credentials::{self, CredentialProvider};
use crate::endpoint::{self, Endpoint};
use crate::identity::{self, IdentitySource};
use crate::inject::{self, Injector, Vouched};
use crate::policy::{AllowSettings, Policy, WantSettings};
use crate::rate::Rates;
use crate::route::{Behind, HostPattern, Route, Routes};
use crate::session::CookieNames;
use crate::tls::{ClientIdentity, ServerIdentity, Trust};
use crate::upstream::{Address, AsAsked, Destination};
use crate::web::is_loopback;

mod egress;
mod kinds;
mod signing;
mod tokens;

/// The generation before, and what of it is not to be carried over.
type Before<'a> = Option<(&'a Generation, &'a BTreeSet<Arc<str>>)>;

/// Builds everything, whatever else is wrong.
pub(super) fn generation(config: &Config, parts: &Parts, before: Before<'_>) -> Result<Generation, ConfigErrors> {
    let mut builder = Builder { config, parts, errors: ConfigErrors::default(), footings: Footings::new() };
    let entrances = builder.entrances();
    let mut sources = builder.sources();
    let mut providers = builder.providers();
    if let Some((before, anew)) = before {
        builder.carry_over("identity", &mut sources, &before.sources, before, |_| true);
        let same_mint = is_same_mint(before.mint.as_ref(), parts.mint.as_ref());
        let stays = |name: &Arc<str>| same_mint && !anew.contains(name);
        builder.carry_over("credentials", &mut providers, &before.providers, before, stays);
    }
    let endpoints = builder.endpoints(&sources, &providers);
    let profiles = builder.profiles(&sources, &providers);
    let routes = config.route.iter().filter_map(|(name, route)| builder.route(name, route, &sources, &providers));
    let routes: Vec<_> = routes.map(Arc::new).collect();
    builder.look_for_a_way_back(&sources);
    builder.look_for_certificates(&sources);
    builder.look_for_keys_in_common();
    let vouched = Vouched::new(routes.iter().flat_map(|route| &route.injectors).flat_map(|injector| injector.sets()));
    let vouched = Arc::new(vouched);
    let routes = Routes::build(routes).unwrap_or_else(|problems| {
        problems.into_iter().for_each(|problem| builder.errors.add_settings("", problem));
        Routes::default()
    });
    let rates = match before {
        Some((before, _)) => before.rates.renew(config.limits.rate),
        None => Rates::new(config.limits.rate),
    };
    let (mint, footings) = (parts.mint.clone(), builder.footings);
    let (number, clock) = (before.map_or(0, |(before, _)| before.number) + 1, Arc::clone(&parts.clock));
    let made = Generation {
        number,
        routes,
        sources,
        providers,
        endpoints,
        profiles,
        vouched,
        entrances,
        rates,
        mint,
        footings,
        clock,
    };
    builder.errors.or(made)
}

struct Builder<'a> {
    config: &'a Config,
    parts: &'a Parts,
    errors: ConfigErrors,
    footings: Footings,
}

impl Builder<'_> {
    fn entrances(&mut self) -> BTreeMap<Arc<str>, Entrance> {
        let listen = self.config.listen.iter();
        listen.map(|(name, listen)| (Arc::clone(name), self.entrance(name, listen))).collect()
    }

    fn entrance(&mut self, name: &str, listen: &Listen) -> Entrance {
        let tls = listen.tls.as_ref().and_then(|files| {
            let loaded = ServerIdentity::asking(&files.certificate, &files.key, listen.clients.as_ref());
            self.errors.keep(format!("listen.{name}.tls"), loaded)
        });
        Entrance {
            public_url: listen.public_url.clone(),
            cookies: listen.public_url.as_ref().map(|url| CookieNames::under(url.as_url())),
            tls,
            trusted_proxies: listen.trusted_proxies.clone(),
        }
    }

    fn sources(&mut self) -> BTreeMap<Arc<str>, Arc<dyn IdentitySource>> {
        let materials =
            identity::Materials { fetch: Arc::clone(&self.parts.fetch), metrics: self.parts.metrics.clone() };
        self.kinds("identity", &self.config.identity, identity::BUILT_INS, &materials)
    }

    fn providers(&mut self) -> BTreeMap<Arc<str>, Arc<dyn CredentialProvider>> {
        let materials = credentials::Materials { mint: self.parts.mint.clone() };
        self.kinds("credentials", &self.config.credentials, credentials::BUILT_INS, &materials)
    }

    fn endpoints(
        &mut self,
        sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>,
        providers: &BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    ) -> BTreeMap<Arc<str>, Arc<dyn Endpoint>> {
        let materials = endpoint::Materials {
            sources: sources.clone(),
            providers: providers.clone(),
            metrics: self.parts.metrics.clone(),
        };
        self.kinds("endpoint", &self.config.endpoint, endpoint::BUILT_INS, &materials)
    }

    fn profiles(
        &mut self,
        sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>,
        providers: &BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    ) -> BTreeMap<Arc<str>, Profile> {
        let mut profiles = BTreeMap::new();
        for (name, config) in &self.config.profile {
            let path = format!("profile.{name}");
            if sources.get(&config.identity).is_some_and(|source| source.login().is_none()) {
                let problem =
                    format!("nobody can log in at [identity.{}]; expected one of the kind `oidc`", config.identity);
                self.errors.add(below(&path, "identity"), problem);
            }
            // without the provider, which has an error of its own, there is no saying what it could be told
            let Some(provider) = providers.get(&config.credentials) else { continue };
            let told = Some((config.credentials.as_ref(), provider.can_tell()));
            let policy = match Policy::build(&AllowSettings::SignedIn, Some(&config.want), told) {
                Ok(policy) => policy,
                Err(problems) => {
                    problems.into_iter().for_each(|problem| self.errors.add_settings(&path, problem));
                    continue;
                }
            };
            let (source, provider) = (Arc::clone(&config.identity), Arc::clone(&config.credentials));
            let (description, region) = (config.description.clone(), config.region.clone());
            profiles.insert(Arc::clone(name), Profile { description, source, provider, policy, region });
        }
        profiles
    }

    fn route(
        &mut self,
        name: &Arc<str>,
        config: &RouteConfig,
        sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>,
        providers: &BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    ) -> Option<Route> {
        let path = format!("route.{name}");
        let materials = inject::Materials {
            identity_issuer: self.parts.identity_issuer.clone(),
            upstream: name_of(&config.upstream),
            in_clear_text: in_clear_text(&config.upstream),
            sources: config.identity.clone().unwrap_or_else(|| self.config.identity.keys().cloned().collect()),
        };
        let injectors: Vec<Option<Arc<dyn Injector>>> = config
            .inject
            .iter()
            .map(|(path, table)| self.kind(name, path, table, inject::BUILT_INS, &materials))
            .collect();
        self.look_for_what_is_put_twice(config, &path, &injectors);
        self.look_for_role(config, &path, &injectors);
        self.look_for_subjects(config, &path);
        self.look_for_tokens(config, &path, &injectors, sources, providers);
        let signs = injectors.iter().flatten().any(|injector| injector.needs().credentials);
        if signs {
            self.look_for_what_breaks_a_signature(config, &path, &injectors);
        }
        let policy = self.policy(config, &path, providers);
        if policy.as_ref().is_some_and(|policy| !policy.is_public()) && self.config.identity.is_empty() {
            let problem = "needs a login, but there is no section [identity.<name>] to log in at";
            self.errors.add(below(&path, "allow"), problem);
        }
        if policy.as_ref().is_some_and(|policy| !policy.is_public()) && logs_in(config, sources) {
            self.look_for_hosts_off_loopback(config, &path);
        }
        let upstream = self.upstream(config, &path, signs);
        let is_renamed = config.upstream.host.is_some();
        let ambient = self.ambient(config, &path, sources);
        Some(Route {
            name: Arc::clone(name),
            hosts: config.hosts.clone(),
            path: config.path.clone(),
            tolerated: config.tolerated,
            policy: policy?,
            sources: config.identity.clone(),
            credentials: config.credentials.clone(),
            injectors: injectors.into_iter().collect::<Option<_>>()?,
            behind: upstream?,
            ambient,
            rewrite: config.rewrite.clone(),
            preserve_host: config.preserve_host.unwrap_or(!signs && !is_renamed) && !config.upstream.as_asked,
            cors_preflight: config.cors_preflight,
            pass_authorization: config.pass_authorization,
        })
    }

    fn upstream(&mut self, config: &RouteConfig, path: &str, signs: bool) -> Option<Behind> {
        let written = &config.upstream;
        let path = below(path, "upstream");
        self.look_for_one_host(config, &path, signs);
        let trust = match &written.ca {
            None => Some(self.parts.trust.clone()),
            Some(file) => self.errors.keep(below(&path, "ca"), Trust::with_file(file)),
        };
        let shown = written.certificate.as_ref().map(|files| {
            self.errors.keep(below(&path, "certificate"), ClientIdentity::load(&files.certificate, &files.key))
        });
        let trust = match shown {
            None => trust?,
            Some(identity) => trust?.showing(identity?),
        };
        if written.as_asked {
            self.look_for_hosts_of_aws(config, &path);
            let label = config.hosts.first().map(ToString::to_string).unwrap_or_default();
            let (endpoint, protocol) = (written.addresses.first().cloned(), written.protocol);
            let as_asked = AsAsked::new(&self.parts.upstreams, endpoint, protocol, trust, config.bounds, &label);
            return Some(Behind::AsAsked(Box::new(as_asked)));
        }
        let destination = Destination {
            label: None,
            addresses: written.addresses.clone(),
            protocol: written.protocol,
            trust,
            host: written.host.clone(),
            health: written.health.clone(),
        };
        Some(Behind::One(self.parts.upstreams.of(destination, config.bounds)))
    }

    /// Where the upstream sees a host of its own, it must be clear which.
    fn look_for_one_host(&mut self, config: &RouteConfig, path: &str, signs: bool) {
        let written = &config.upstream;
        if written.as_asked {
            return;
        }
        if written.host.is_some() {
            if config.preserve_host == Some(true) {
                let problem =
                    "is what the upstream sees as its host, but `preserve_host` is true; expected one of them";
                self.errors.add(below(path, "host"), problem);
            }
            return;
        }
        if config.preserve_host.unwrap_or(!signs) {
            return;
        }
        let authorities: BTreeSet<String> = written.addresses.iter().map(Address::authority).collect();
        let is_socket = written.addresses.iter().any(|address| matches!(address, Address::Unix(_)));
        if authorities.len() > 1 {
            let why = if signs { "the request is signed for one host" } else { "`preserve_host` is false" };
            let expected = format!("the host that all these addresses are sent, as {why}");
            self.errors.add_missing(&below(path, "host"), &expected);
        } else if signs && is_socket {
            let expected = "the host to sign for, as a socket has none";
            self.errors.add_missing(&below(path, "host"), expected);
        }
    }

    fn policy(
        &mut self,
        config: &RouteConfig,
        path: &str,
        providers: &BTreeMap<Arc<str>, Arc<dyn CredentialProvider>>,
    ) -> Option<Policy> {
        let provider =
            config.credentials.as_ref().and_then(|name| Some((name.as_ref(), providers.get(name)?.can_tell())));
        // without the provider, which has an error of its own, there is no saying what it could be told
        let unknown = config.want.wants_role() && provider.is_none();
        let want = if unknown { &WantSettings::default() } else { &config.want };
        let policy = Policy::build(&config.allow, Some(want), provider);
        policy.map_err(|problems| problems.into_iter().for_each(|p| self.errors.add_settings(path, p))).ok()
    }

    /// A key of two issuers would make a token of one good at the other: what an upstream is given, at STS.
    fn look_for_keys_in_common(&mut self) {
        let issuers = self.parts.mint.as_ref().zip(self.parts.identity_issuer.as_ref());
        if issuers.is_some_and(|(mint, issuer)| issuer.keys().shares_a_key_with(mint.keys())) {
            self.errors.add("keys.identity", "has a key that is in `keys.minted` too; expected keys of its own");
        }
    }

    /// `subjects` name sources, which must exist.
    fn look_for_subjects(&mut self, config: &RouteConfig, path: &str) {
        let of_roles = config.want.roles.iter().enumerate();
        let of_roles =
            of_roles.filter_map(|(i, role)| Some((below(path, &format!("roles[{i}]")), role.allow.as_ref()?)));
        let rules = [(path.to_owned(), &config.allow)].into_iter().chain(of_roles);
        let rules = rules.flat_map(|(path, allow)| match allow {
            AllowSettings::Anyone | AllowSettings::SignedIn => Vec::new(),
            AllowSettings::Rule(rule) => vec![(below(&path, "allow"), rule.as_ref())],
            AllowSettings::AnyOf(rules) => {
                rules.iter().enumerate().map(|(i, rule)| (below(&path, &format!("allow[{i}]")), rule)).collect()
            }
        });
        for (path, rule) in rules {
            for (i, subject) in rule.subjects.iter().flatten().enumerate() {
                if let Some((source, _)) = subject.split_once('/')
                    && !self.config.identity.contains_key(source)
                {
                    let problem = format!("there is no [identity.{source}]; expected <identity>/<sub>");
                    self.errors.add(below(&path, &format!("subjects[{i}]")), problem);
                }
            }
        }
    }

    /// Every host of a route gets tickets under the scheme of the listener's public URL, and those for plain http lack
    /// `Secure`: they are for hosts of this machine (A9).
    fn look_for_hosts_off_loopback(&mut self, config: &RouteConfig, path: &str) {
        let listen = self.config.listen.iter();
        let plain = listen.filter_map(|(name, listen)| Some((name, listen.public_url.as_ref()?)));
        let Some((listener, url)) = plain.into_iter().find(|(_, url)| !url.is_https()) else { return };
        for host in config.hosts.iter().filter(|host| **host != HostPattern::Any && !host.is_loopback()) {
            let problem = format!(
                "`{host}` is not on loopback, but people log in under `listen.{listener}.public_url`, {url}: their \
                 tickets would cross the network in clear text; expected localhost, *.localhost, 127.0.0.1, [::1] or \
                 *, or an https `public_url`"
            );
            self.errors.add(below(path, "host"), problem);
        }
    }

    /// Where people log in elsewhere they must be able to come back.
    fn look_for_a_way_back(&mut self, sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>) {
        let leads_away = sources.iter().find(|(_, source)| source.login().is_some());
        let Some((name, _)) = leads_away else { return };
        if !self.config.listen.values().any(|listen| listen.public_url.is_some()) {
            let expected = format!("one listener with it, as people who log in at `identity.{name}` come back there");
            for listener in self.config.listen.keys() {
                self.errors.add_missing(&format!("listen.{listener}.public_url"), &expected);
            }
        }
    }

    /// A source that looks at certificates sees none where no listener asks for them.
    fn look_for_certificates(&mut self, sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>) {
        if self.config.listen.values().any(|listen| listen.clients.is_some()) {
            return;
        }
        for (name, _) in sources.iter().filter(|(_, source)| source.wants_certificates()) {
            let problem = "looks at client certificates, but no listener asks for any; expected a `tls.client_ca` in \
                           some [listen.<name>]";
            self.errors.add(format!("identity.{name}"), problem);
        }
    }
}

/// Whether anybody may log in for this route, or comes with what a login left: a token or a certificate leaves nothing.
fn logs_in(route: &RouteConfig, sources: &BTreeMap<Arc<str>, Arc<dyn IdentitySource>>) -> bool {
    sources.iter().any(|(name, source)| route.counts(name) && source.login().is_some())
}

/// What to call an upstream to itself: of several addresses without a `host` none is its name.
fn name_of(upstream: &UpstreamConfig) -> Option<String> {
    if upstream.as_asked {
        return None;
    }
    let scheme = if upstream.addresses.first().is_some_and(Address::is_https) { "https" } else { "http" };
    match (&upstream.host, upstream.addresses.as_slice()) {
        (Some(host), _) => Some(format!("{scheme}://{host}")),
        (None, [_, _, ..]) => None,
        (None, only) => Some(only.first().map_or_else(|| "nowhere".to_owned(), ToString::to_string)),
    }
}

/// An address that requests reach in clear text, not on this machine alone.
fn in_clear_text(upstream: &UpstreamConfig) -> Option<String> {
    let is_heard = |address: &&Address| match address {
        Address::Unix(_) => false,
        Address::Origin(url) => url.scheme() != "https" && !url.host().is_some_and(|host| is_loopback(&host)),
    };
    upstream.addresses.iter().find(is_heard).map(ToString::to_string)
}

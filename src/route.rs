//! Whose request is it: a host and a path become a [`Route`].
//!
//! The host is decided first, and for good: of an exact name, a wildcard and `*` the most exact one that fits. Then the
//! longest path of that host's routes counts. A request that no path of its host fits is not tried on a less exact
//! host, as that route's rules were not written for it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::built_in::SettingsError;
use crate::identity::{IdentitySource, SourceName};
use crate::inject::Injector;
use crate::policy::{NormalPath, Oddities, PathError, Policy};

mod behind;
mod host;
mod rewrite;

pub use behind::Behind;
pub use host::{Host, HostError, HostPattern};
pub use rewrite::{PathPrefix, Rewrite};

/// A way through: who may pass, what is put on the request, and where it goes.
#[derive(Debug)]
pub struct Route {
    /// The section's name: `reports` in `[route.reports]`.
    pub name: Arc<str>,
    /// The hosts it is for.
    pub hosts: Vec<HostPattern>,
    /// The path it starts at.
    pub path: PathPrefix,
    /// Forms of paths that its upstream is known to take to the letter.
    pub tolerated: Oddities,
    /// Who may pass, with which role.
    pub policy: Policy,
    /// The identity sources that count here; none named: all that are presented.
    pub sources: Option<Vec<SourceName>>,
    /// Who asks at each request, whoever sends it: the workload that claviger runs beside.
    pub ambient: Option<Arc<dyn IdentitySource>>,
    /// The `[credentials.<name>]` it uses.
    pub credentials: Option<Arc<str>>,
    /// What is put on the request, in order.
    pub injectors: Vec<Arc<dyn Injector>>,
    /// What is behind it.
    pub behind: Behind,
    /// How the path changes on its way there.
    pub rewrite: Rewrite,
    /// Whether the upstream sees the `Host` the client sent; otherwise its own authority.
    pub preserve_host: bool,
    /// Whether the upstream sees the client's own `Authorization`, where nothing is signed.
    pub pass_authorization: bool,
    /// Whether CORS preflights, which never carry cookies, pass without a login.
    pub cors_preflight: bool,
}

impl Route {
    /// Whether those count here for whom this source vouches.
    pub fn counts(&self, source: &SourceName) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(source))
    }

    /// Passes a path whose form this route tolerates.
    ///
    /// # Errors
    /// [`PathError::Odd`], answered with 400 (A5).
    pub fn admit(&self, path: &NormalPath<'_>) -> Result<(), PathError> {
        path.keep_to(self.tolerated)
    }
}

/// All routes of a generation, by host and path.
#[derive(Debug, Default)]
pub struct Routes {
    all: Vec<Arc<Route>>,
    exact: HashMap<Box<str>, Vec<Arc<Route>>>,
    /// By what follows the star: `.example.com`.
    wildcard: HashMap<Box<str>, Vec<Arc<Route>>>,
    any: Vec<Arc<Route>>,
}

impl Routes {
    /// Puts the routes in order.
    ///
    /// # Errors
    /// Every pair of routes that claims one host and path, at `route.<name>.host`.
    pub fn build(all: Vec<Arc<Route>>) -> Result<Self, Vec<SettingsError>> {
        let mut routes = Self { all, ..Self::default() };
        let mut problems = Vec::new();
        for route in &routes.all {
            for pattern in &route.hosts {
                let there = match pattern {
                    HostPattern::Exactly(name) => routes.exact.entry(name.clone()).or_default(),
                    HostPattern::OneLabelBelow(suffix) => routes.wildcard.entry(suffix.clone()).or_default(),
                    HostPattern::Any => &mut routes.any,
                };
                if let Some(other) = there.iter().find(|other| other.path == route.path) {
                    let problem = format!("`{pattern}{}` is also what `route.{}` claims", route.path, other.name);
                    problems.push(SettingsError::at(format!("route.{}.host", route.name), problem));
                }
                there.push(Arc::clone(route));
            }
        }
        let lists = routes.exact.values_mut().chain(routes.wildcard.values_mut()).chain([&mut routes.any]);
        lists.for_each(|list| list.sort_by_key(|route| std::cmp::Reverse(route.path.as_str().len())));
        if problems.is_empty() { Ok(routes) } else { Err(problems) }
    }

    /// The route for a host and a path.
    pub fn find(&self, host: &Host<'_>, path: &NormalPath<'_>) -> Option<&Arc<Route>> {
        self.of_host(host).iter().find(|route| route.path.covers(path.as_str()))
    }

    /// Whether any route is for this host.
    pub fn has_host(&self, host: &Host<'_>) -> bool {
        !self.of_host(host).is_empty()
    }

    /// Whether a route is for this host by its name or a wildcard. `*` is for hosts that nobody wrote down: whoever
    /// points a name of theirs at us has one, so none of them is ours to send a login to (A7, A8).
    pub fn names_host(&self, host: &Host<'_>) -> bool {
        self.named(host).is_some()
    }

    /// The routes that are for this host.
    pub fn on(&self, host: &Host<'_>) -> &[Arc<Route>] {
        self.of_host(host)
    }

    /// All routes, in the order of the config.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }

    fn of_host(&self, host: &Host<'_>) -> &[Arc<Route>] {
        self.named(host).unwrap_or(&self.any)
    }

    /// The routes whose host is written down.
    fn named(&self, host: &Host<'_>) -> Option<&Vec<Arc<Route>>> {
        let below = || host.as_str().find('.').and_then(|dot| self.wildcard.get(host.as_str().split_at(dot).1));
        self.exact.get(host.as_str()).or_else(below)
    }
}

/// Whether a path is claviger's own, on every host: no route is for it, and no upstream sees it.
pub fn is_ours(path: &str) -> bool {
    path.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the doors of our own live under.
pub const OURS: &str = "/.claviger";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::AllowSettings;
    use crate::tls::Trust;
    use crate::upstream::{Bounds, Destination, Upstreams};

    fn route(name: &str, hosts: &[&str], path: &str) -> Arc<Route> {
        let wait = Duration::from_secs(1);
        let destination = Destination::of("http://127.0.0.1:1".parse().unwrap(), Trust::system());
        let bounds = Bounds { connect: wait, first_byte: wait, idle: wait, total: None, body: None };
        Arc::new(Route {
            name: name.into(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            path: path.parse().unwrap(),
            tolerated: Oddities::default(),
            policy: Policy::build(&AllowSettings::SignedIn, None, None).unwrap(),
            sources: None,
            credentials: None,
            injectors: Vec::new(),
            behind: Behind::One(Upstreams::unchecked().of(destination, bounds)),
            ambient: None,
            rewrite: Rewrite::default(),
            preserve_host: true,
            pass_authorization: false,
            cors_preflight: false,
        })
    }

    #[test]
    fn the_most_exact_host_then_the_longest_path() {
        let routes = Routes::build(vec![
            route("site", &["a.example.com"], "/"),
            route("admin", &["a.example.com"], "/admin"),
            route("api", &["b.example.com"], "/api"),
            route("tenants", &["*.example.com"], "/"),
            route("rest", &["*"], "/rest"),
        ])
        .unwrap();
        for (host, path, name) in [
            ("a.example.com", "/", Some("site")),
            ("A.Example.com:8443", "/admin", Some("admin")), // CVE-2023-33189: mixed case is no other host
            ("a.example.com.", "/admin/x", Some("admin")),
            ("a.example.com", "/administrator", Some("site")),
            ("b.example.com", "/api/x", Some("api")),
            ("b.example.com", "/x", None), // not the wildcard's: its rules are for others
            ("c.example.com", "/x", Some("tenants")),
            ("c.d.example.com", "/rest/x", Some("rest")),
            ("c.d.example.com", "/x", None),
            ("example.com", "/x", None),
            ("evilexample.com", "/x", None),
            ("[::1]:80", "/rest", Some("rest")),
        ] {
            let (host, path) = (Host::parse(host).unwrap(), NormalPath::parse(path).unwrap());
            assert_eq!(routes.find(&host, &path).map(|route| &*route.name), name, "{host:?} {path:?}");
        }
    }

    /// A7, A8
    #[test]
    fn a_catch_all_names_no_host() {
        let hosts = ["a.example.com", "*.apps.example.com", "*"];
        let routes = Routes::build(vec![route("all", &hosts, "/")]).unwrap();
        for (host, named) in [
            ("A.example.com:8443", true),
            ("x.apps.example.com", true),
            ("x.y.apps.example.com", false),
            ("evil.example", false),
            ("127.0.0.1", false),
        ] {
            let host = Host::parse(host).unwrap();
            assert_eq!((routes.names_host(&host), routes.has_host(&host)), (named, true), "{host:?}");
        }
    }

    #[test]
    fn two_routes_for_one_place_are_refused() {
        let routes = vec![route("one", &["a.example.com"], "/x"), route("two", &["b", "A.example.com"], "/x/")];
        let problems = Routes::build(routes).unwrap_err();
        assert_eq!(problems[0].to_string(), "`route.two.host`: `a.example.com/x` is also what `route.one` claims");
    }

    /// A5
    #[test]
    fn odd_paths_are_refused_where_nobody_tolerates_them() {
        let path = NormalPath::parse("/b//key%2Fx").unwrap();
        assert!(route("site", &["*"], "/").admit(&path).is_err());
        let Ok(mut route) = Arc::try_unwrap(route("s3", &["*"], "/")) else { unreachable!() };
        route.tolerated = Oddities::ALL;
        assert_eq!(route.admit(&path), Ok(()));
    }
}

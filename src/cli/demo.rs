//! `claviger demo`

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use url::Url;

use super::serve;
use crate::authority::Authority;
use crate::built_in::Surroundings;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::demo;
use crate::fetch::Fetch;
use crate::secret::{Secret, random_token};
use crate::server::{Handler, Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::web::BoxError;

mod account;
mod people;
mod told;

use account::{ACCOUNT, OwnKeys, REGION};

/// Run the whole product on loopback, with nothing outside it.
///
/// An identity provider with three users, by OpenID Connect and by SAML; an STS that verifies their tokens, their SAML
/// responses and each signature; an S3-shaped app, and the proxy in front. Everything is in memory and gone when it stops.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Where the proxy listens; on loopback, as its logins are for play.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    address: SocketAddr,
    /// Log every event as JSON lines on standard error, not only what goes wrong.
    #[arg(long)]
    verbose: bool,
}

impl Demo {
    pub(super) fn run(self) -> ExitCode {
        if !self.address.ip().is_loopback() {
            eprintln!("claviger: `{}` is not on loopback; its users' passwords are known to everybody", self.address);
            return ExitCode::from(2);
        }
        let (site, proxy) = match Listener::bind(self.address).map_err(BoxError::from).and_then(Site::build) {
            Ok(built) => built,
            Err(error) => {
                eprintln!(
                    "claviger: the demo can't start on {}: {error}; `--address 127.0.0.1:0` takes a free port",
                    self.address
                );
                return ExitCode::FAILURE;
            }
        };
        let surroundings = Surroundings::new(&site.state, site.keys.environment());
        let config = Config::parse(&site.config(self.verbose), surroundings).and_then(|reading| reading.sound());
        let code = match config {
            Ok(config) => serve::run(config, None, BTreeMap::from([("main".into(), proxy)]), |_| site.tell()),
            Err(errors) => {
                eprintln!("claviger: the demo's own config is wrong:\n{errors}");
                ExitCode::FAILURE
            }
        };
        // the keys of a demo are of no use to anybody
        drop(std::fs::remove_dir_all(&site.state));
        code
    }
}

/// What the proxy stands among.
#[derive(Debug)]
struct Site {
    url: Url,
    provider: Url,
    authority: Url,
    app: Url,
    /// The proxy's own, for the STS.
    keys: OwnKeys,
    state: std::path::PathBuf,
    _workers: Workers,
}

impl Site {
    /// Builds everything but the proxy, whose listener is given and handed back.
    fn build(proxy: Listener) -> Result<(Self, Listener), BoxError> {
        let url = origin(proxy.local_addr()?)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let workers = Workers::start(1)?;
        let metrics = Metrics::new();
        let free = || Listener::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let serve = |name: &str, listener: Listener, handler: Arc<dyn Handler>| {
            workers.serve(listener, Manner::plain(name, &metrics), handler);
        };

        let listener = free()?;
        let provider = origin(listener.local_addr()?)?;
        let people = people::provider(&provider, &url, &clock)?;

        let (verdict_token, keys) = (Secret::random(32), OwnKeys::fresh());
        serve("provider", listener, Arc::clone(&people) as _);
        let listener = free()?;
        let authority = origin(listener.local_addr()?)?;
        let account = account::account(&url, &people, &keys, verdict_token.clone())?;
        serve("authority", listener, Authority::new(account, &fetch, Arc::clone(&clock), &metrics));

        let listener = free()?;
        let app = origin(listener.local_addr()?)?;
        serve("app", listener, demo::Demo::new(&authority, verdict_token, fetch, clock, ways()));

        let state = std::env::temp_dir().join(format!("claviger-demo-{}", random_token(8)));
        Ok((Self { url, provider, authority, app, keys, state, _workers: workers }, proxy))
    }

    /// The config of the proxy in front: what a site of one's own would have in its file.
    fn config(&self, verbose: bool) -> String {
        let Self { url, provider, authority, .. } = self;
        let (address, public_url, state) = (self.address(), url.origin().ascii_serialization(), self.state.display());
        let (level, issuer) = (if verbose { "debug" } else { "warn" }, provider.as_str().trim_end_matches('/'));
        let told = r#"
            tags = { department = "{claims.department}", login = "{subject.source}" }
            source_identity = "{subject.id}"
        "#;
        let routes = [self.route("/", "minted", told), self.route(BY_OWN_KEYS, "own", told)].concat();
        // one more login of the same people, and one more way to their keys, where this build can
        let saml = if cfg!(feature = "saml") { self.saml(&public_url, issuer) } else { String::new() };
        format!(
            r#"
            state_dir = "{state}"
            log = {{ level = "{level}", access = {verbose} }}
            server = {{ workers = 1, drain = "1s" }}

            [listen.main]
            address = "{address}"
            public_url = "{public_url}"

            [identity.oidc]
            kind = "oidc"
            label = "OpenID Connect"
            issuer = "{issuer}"
            client_id = "claviger"

            [credentials.minted]
            kind = "minted"
            region = "{REGION}"
            endpoint = "{authority}"

            [credentials.own]
            kind = "assume_role"
            region = "{REGION}"
            endpoint = "{authority}"
            base = ["environment"]
            {saml}
            {routes}
            "#
        )
    }

    /// The provider as the proxy knows it by SAML, and the way to keys by what it sends.
    fn saml(&self, public_url: &str, issuer: &str) -> String {
        let (authority, route) = (&self.authority, self.route(BY_SAML, "shown", "identity = [\"saml\"]"));
        format!(
            r#"
            [identity.saml]
            kind = "saml"
            label = "SAML"
            issuer = "{issuer}/saml/metadata"
            entity_id = "{public_url}/.claviger/saml/saml/metadata"
            metadata_url = "{issuer}/saml/metadata"
            claims = {{ email = "email", groups = "groups", name = "name" }}
            emails_are_verified = true
            aws = {{}}

            [credentials.shown]
            kind = "saml"
            region = "{REGION}"
            endpoint = "{authority}"
            {route}
            "#
        )
    }

    /// A route to the app, where the keys are got in this way.
    fn route(&self, path: &str, credentials: &str, more: &str) -> String {
        let (host, app) = (self.url.host_str().unwrap_or_default(), &self.app);
        let strip_prefix = if path == "/" { String::new() } else { format!("strip_prefix = \"{path}\"") };
        format!(
            r#"
            [route.{credentials}]
            host = "{host}"
            path = "{path}"
            {strip_prefix}
            upstream = "{app}"
            allow = {{ groups = ["demo"] }}
            credentials = "{credentials}"
            role = "arn:aws:iam::{ACCOUNT}:role/demo-{{claims.department}}"
            {more}
            inject = [{{ kind = "headers" }}, {{ kind = "sigv4", service = "s3", region = "{REGION}" }}]
            "#
        )
    }

    fn address(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or_default())
    }
}

/// What the app offers: the routes by the ways to keys.
fn ways() -> Vec<demo::Way> {
    let mut ways = vec![
        demo::Way { call: "AssumeRoleWithWebIdentity", path: "/" },
        demo::Way { call: "AssumeRole", path: BY_OWN_KEYS },
    ];
    if cfg!(feature = "saml") {
        ways.insert(1, demo::Way { call: "AssumeRoleWithSAML", path: BY_SAML });
    }
    ways
}

fn origin(address: SocketAddr) -> Result<Url, url::ParseError> {
    Url::parse(&format!("http://{address}"))
}

const BY_SAML: &str = "/by/saml";
const BY_OWN_KEYS: &str = "/by/own-keys";

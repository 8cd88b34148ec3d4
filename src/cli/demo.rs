//! `claviger demo`

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use url::Url;

use super::serve;
use crate::authority::{Account, Authority, PolicyText};
use crate::built_in::{Environment, Surroundings};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::demo;
use crate::fetch::Fetch;
use crate::provider::{Client, Lifetimes, OpenIdProvider, Setup};
#[cfg(feature = "saml")]
use crate::provider::{RelyingParty, SamlSetup};
use crate::secret::{Secret, random_token};
use crate::server::{Handler, Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::users::{Email, User, Users, hash_password};
use crate::web::BoxError;

/// Run the whole product on loopback, with nothing outside it.
///
/// An identity provider with three users, by OpenID Connect and by SAML, an STS that verifies their tokens and each signature, an S3-shaped app, and the
/// proxy in front. Everything is in memory and gone when it stops.
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
        let surroundings = Surroundings::new(&site.state, Environment::default());
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
        serve("provider", listener, openid_provider(&provider, &url, &clock)?);

        let verdict_token = Secret::random(32);
        let listener = free()?;
        let authority = origin(listener.local_addr()?)?;
        let account = account(&url, verdict_token.clone())?;
        serve("authority", listener, Authority::new(account, &fetch, Arc::clone(&clock), &metrics));

        let listener = free()?;
        let app = origin(listener.local_addr()?)?;
        serve("app", listener, demo::Demo::new(&authority, verdict_token, fetch, clock));

        let state = std::env::temp_dir().join(format!("claviger-demo-{}", random_token(8)));
        Ok((Self { url, provider, authority, app, state, _workers: workers }, proxy))
    }

    /// The config of the proxy in front: what a site of one's own would have in its file.
    fn config(&self, verbose: bool) -> String {
        let Self { url, provider, authority, app, .. } = self;
        let (public_url, host) = (url.origin().ascii_serialization(), url.host_str().unwrap_or_default());
        let (address, state) = (self.address(), self.state.display());
        let (level, issuer) = (if verbose { "debug" } else { "warn" }, provider.as_str().trim_end_matches('/'));
        // one more login of the same people, where this build can
        let saml = if cfg!(feature = "saml") { saml_section(&public_url, issuer) } else { String::new() };
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
            {saml}

            [credentials.demo]
            kind = "minted"
            region = "{REGION}"
            endpoint = "{authority}"

            [route.app]
            host = "{host}"
            upstream = "{app}"
            allow = {{ groups = ["demo"] }}
            role = "arn:aws:iam::{ACCOUNT}:role/demo-{{claims.department}}"
            tags = {{ department = "{{claims.department}}", login = "{{subject.source}}" }}
            source_identity = "{{subject.id}}"
            inject = [{{ kind = "headers" }}, {{ kind = "sigv4", service = "s3", region = "{REGION}" }}]
            "#
        )
    }

    fn address(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or_default())
    }

    /// What to do now.
    fn tell(&self) {
        let url = self.url.as_str();
        println!("\nThe demo is running; Ctrl-C stops it.\n");
        println!("  Open      {url}");
        println!("  Log in    {:<21} finance, may assume demo-finance", "alice / wonderland");
        println!("            {:<21} engineering, may assume demo-engineering", "bob / builder");
        println!("            {:<21} in no group: sees what a refusal looks like", "mallory / marlinspike");
        println!("\n  With curl (cookies in ./jar):");
        let choice = if cfg!(feature = "saml") { "the page to choose at" } else { "the login form" };
        println!("    page=$(curl -sLc jar -b jar -H 'Accept: text/html' {url} | sed 's/&#38;/\\&/g')  # {choice}");
        if cfg!(feature = "saml") {
            println!(r#"    way=$(sed -n 's/.*href="\([^"]*\)">OpenID Connect<.*/\1/p' <<< "$page")"#);
            println!("    page=$(curl -sLc jar -b jar -H 'Accept: text/html' \"$way\" | sed 's/&#38;/\\&/g')");
        }
        println!(
            "    field() {{ sed -n \"s/.*name=\\\"$1\\\" value=\\\"\\([^\\\"]*\\)\\\".*/$1=\\1/p\" <<< \"$page\"; }}"
        );
        println!("    curl -sLc jar -b jar -o /dev/null -d username=alice -d password=wonderland \\");
        println!(
            "      --data-urlencode \"$(field next)\" --data-urlencode \"$(field seal)\" {}sign-in",
            self.provider
        );
        println!("    curl -s -b jar {url}                                  # who called");
        println!("    curl -s -b jar -X PUT {url}reports                     # a bucket");
        println!("    curl -s -b jar -T /etc/hostname {url}reports/hostname  # an object");
        println!("    curl -s -b jar {url}reports/hostname\n");
        println!(
            "  Behind it: provider {}, STS {}, app {} (try it unsigned: 403)\n",
            self.provider, self.authority, self.app
        );
    }
}

fn openid_provider(issuer: &Url, proxy: &Url, clock: &Arc<dyn Clock>) -> Result<Arc<OpenIdProvider>, BoxError> {
    let person = |name: &str, sub: &str, password: &str, shown: &str, department: Option<&str>| {
        let claims = department.map(|department| json!({ "department": department }));
        let claims = claims.and_then(|claims| claims.as_object().cloned()).unwrap_or_default();
        Ok::<_, BoxError>(User {
            name: name.parse()?,
            sub: sub.into(),
            password: hash_password(&Secret::new(password))?.parse()?,
            display_name: Some(shown.to_owned()),
            email: Some(Email { address: format!("{name}@example.com"), verified: true }),
            groups: department.map_or_else(Vec::new, |department| vec!["demo".to_owned(), department.to_owned()]),
            claims,
            disabled: false,
        })
    };
    let people = vec![
        person("alice", "u-1001", "wonderland", "Alice Liddell", Some("finance"))?,
        person("bob", "u-1002", "builder", "Bob Builder", Some("engineering"))?,
        person("mallory", "u-1003", "marlinspike", "Mallory", None)?,
    ];
    let client = Client {
        id: "claviger".into(),
        name: "the claviger demo".to_owned(),
        secret: None,
        redirect_uris: vec![proxy.join("/.claviger/callback")?.as_str().parse()?],
        post_logout_redirect_uris: vec![proxy.join("/.claviger/signed-out")?.as_str().parse()?],
        id_token_on_refresh: true,
        device_flow: false,
    };
    let setup = Setup {
        issuer: issuer.clone(),
        users: Arc::new(Users::new(people, Arc::clone(clock))?),
        clients: vec![client],
        lifetimes: Lifetimes::default(),
        signing_key: None,
    };
    #[cfg(feature = "saml")]
    let provider = OpenIdProvider::with_saml(setup, saml_setup(proxy)?, Arc::clone(clock))?;
    #[cfg(not(feature = "saml"))]
    let provider = OpenIdProvider::new(setup, Arc::clone(clock))?;
    Ok(provider)
}

/// The proxy, as the provider knows it by SAML.
#[cfg(feature = "saml")]
fn saml_setup(proxy: &Url) -> Result<SamlSetup, BoxError> {
    let acs_url = proxy.join("/.claviger/saml/saml/acs")?;
    let mut party = RelyingParty::inline(&saml_entity_id(proxy), acs_url.as_str(), None, Vec::new())?;
    "the claviger demo".clone_into(&mut party.name);
    Ok(SamlSetup { parties: vec![party], ..SamlSetup::default() })
}

/// The provider, as the proxy knows it by SAML.
fn saml_section(public_url: &str, issuer: &str) -> String {
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
        "#
    )
}

/// As the section has it.
#[cfg(feature = "saml")]
fn saml_entity_id(proxy: &Url) -> String {
    format!("{}/.claviger/saml/saml/metadata", proxy.origin().ascii_serialization())
}

/// An account whose roles trust the tokens that claviger mints, for people of their own department only.
fn account(proxy: &Url, verdict_token: Secret) -> Result<Account, BoxError> {
    let mut account = Account::new(ACCOUNT.parse()?, REGION.parse()?);
    let issuer = proxy.join("/.claviger/issuer")?;
    let provider = account.add_provider(issuer.as_str(), vec!["sts.amazonaws.com".to_owned()])?;
    for department in ["finance", "engineering"] {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "Federated": provider },
                "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
                "Condition": { "StringEquals": { "aws:RequestTag/department": department } },
            }],
        });
        account.add_role(&format!("demo-{department}"), PolicyText::Json(trust.to_string()), MAX_DURATION)?;
    }
    account.set_verdict_token(verdict_token);
    Ok(account)
}

fn origin(address: SocketAddr) -> Result<Url, url::ParseError> {
    Url::parse(&format!("http://{address}"))
}

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";
const MAX_DURATION: Duration = Duration::from_secs(3600);

//! An identity provider, an STS and an upstream of our own making on free ports, and claviger between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claviger::authority::{Account, Authority, PolicyText};
use claviger::clock::{Clock, SystemClock};
use claviger::fetch::Fetch;
use claviger::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use claviger::secret::Secret;
use claviger::server::{Handler, Listener, Manner, Timeouts, Workers};
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use claviger::users::{Email, PasswordHash, User, Users, hash_password};
use serde_json::{Value, json};

use super::browser::Browser;
use super::process::Process;
use super::upstream::Upstream;

/// Everything around one claviger, and that claviger.
pub struct World {
    pub claviger: Process,
    /// Where claviger listens.
    pub at: SocketAddr,
    pub provider: Arc<OpenIdProvider>,
    pub users: Arc<Users>,
    pub authority: Arc<Authority>,
    pub upstream: Upstream,
    pub provider_at: SocketAddr,
    pub authority_at: SocketAddr,
    pub upstream_at: SocketAddr,
    people: Vec<User>,
    folder: tempfile::TempDir,
    _workers: Workers,
}

/// How a world is made.
pub struct Plan {
    config: String,
    lifetimes: Lifetimes,
    people: Vec<User>,
}

impl Plan {
    /// A world whose claviger has these routes. `{upstream}` stands for the upstream's URL.
    pub fn with_routes(routes: &str) -> Self {
        Self { config: format!("{SOURCES}\n{routes}"), lifetimes: Lifetimes::default(), people: people() }
    }

    /// More of a config before the routes: `{provider}`, `{authority}` and `{upstream}` stand for their URLs.
    pub fn config(mut self, more: &str) -> Self {
        self.config = format!("{more}\n{}", self.config);
        self
    }

    /// How long the provider's things live.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// More people who can log in, all with the password `password`.
    pub fn people(mut self, more: impl IntoIterator<Item = User>) -> Self {
        self.people.extend(more);
        self
    }

    /// Starts everything.
    pub async fn start(self) -> World {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let workers = Workers::start(1).unwrap();
        let bind = || Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let [provider_l, authority_l, upstream_l] = [bind(), bind(), bind()];
        let [provider_at, authority_at, upstream_at] =
            [&provider_l, &authority_l, &upstream_l].map(|listener| listener.local_addr().unwrap());

        // claviger comes first, as the others need to know its port: it waits for them
        let folder = tempfile::tempdir().unwrap();
        let config = self
            .config
            .replace("{provider}", &format!("http://{provider_at}"))
            .replace("{authority}", &format!("http://{authority_at}"))
            .replace("{upstream}", &format!("http://{upstream_at}"))
            .replace("{state}", folder.path().join("state").to_str().unwrap());
        let file = folder.path().join("claviger.toml");
        std::fs::write(&file, config).unwrap();
        let claviger = Process::start(&file, &[]);
        let at = claviger.address("main").await;

        let users = Arc::new(Users::new(self.people.clone(), Arc::clone(&clock)).unwrap());
        let client = Client {
            id: "claviger".into(),
            name: "claviger".to_owned(),
            secret: None,
            redirect_uris: vec!["http://127.0.0.1/.claviger/callback".parse().unwrap()],
            post_logout_redirect_uris: vec!["http://127.0.0.1/.claviger/signed-out".parse().unwrap()],
            id_token_on_refresh: true,
            device_flow: false,
        };
        let setup = Setup {
            issuer: format!("http://{provider_at}").parse().unwrap(),
            users: Arc::clone(&users),
            clients: vec![client],
            lifetimes: self.lifetimes,
            signing_key: None,
        };
        let provider = OpenIdProvider::new(setup, Arc::clone(&clock)).unwrap();

        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let metrics = Metrics::new();
        let account = account(&format!("http://{at}/.claviger/issuer"), &format!("http://{provider_at}"));
        let authority = Authority::new(account, &fetch, clock, &metrics);
        let upstream = Upstream::default();
        let serve = |name: &str, listener, handler: Arc<dyn Handler>| {
            let manner =
                Manner { name: name.into(), tls: None, timeouts: Timeouts::default(), metrics: metrics.clone() };
            workers.serve(listener, manner, handler);
        };
        serve("provider", provider_l, Arc::clone(&provider) as _);
        serve("authority", authority_l, Arc::clone(&authority) as _);
        serve("upstream", upstream_l, Arc::new(upstream.clone()));
        let people = self.people;
        World {
            claviger,
            at,
            provider,
            users,
            authority,
            upstream,
            provider_at,
            authority_at,
            upstream_at,
            people,
            folder,
            _workers: workers,
        }
    }
}

impl World {
    /// The URL of a path at claviger.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// A browser in which `name` has logged in.
    pub async fn browser_of(&self, name: &str) -> Browser {
        let mut browser = Browser::default();
        let page = browser.open(&self.url("/")).await;
        assert!(page.text().contains("<form"), "no login page: {} {}", page.status, page.text());
        let answer = browser.submit(&page, &[("username", name), ("password", "password")]).await;
        assert!(browser.cookie("127.0.0.1", "claviger-").is_some(), "no ticket: {} {}", answer.status, answer.text());
        browser
    }

    /// The `Cookie` header of somebody who has logged in.
    pub async fn ticket(&self, name: &str) -> String {
        let (name, value) = self.browser_of(name).await.cookie("127.0.0.1", "claviger-").unwrap();
        format!("{name}={value}")
    }

    /// Changes one of the people at the provider.
    pub fn change(&self, name: &str, change: impl Fn(&mut User)) {
        let mut people = self.people.clone();
        people.iter_mut().filter(|user| user.name.as_str() == name).for_each(change);
        self.users.replace(people).unwrap();
    }

    /// A file beside the config.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The audit lines so far.
    pub fn audit(&self) -> Vec<Value> {
        self.claviger.events().into_iter().filter(|event| event["target"] == "claviger::audit").collect()
    }
}

/// A person with the password `password`.
pub fn person(name: &str, claims: Value) -> User {
    let mut claims = claims.as_object().cloned().unwrap();
    let groups = claims.remove("groups").map_or_else(Vec::new, |groups| serde_json::from_value(groups).unwrap());
    User {
        name: name.parse().unwrap(),
        sub: format!("sub-{name}").into(),
        password: password(),
        display_name: Some(name.to_uppercase()),
        email: Some(Email { address: format!("{name}@example.com"), verified: true }),
        groups,
        claims,
        disabled: false,
    }
}

/// Hashing takes its time on purpose, so everybody shares one hash.
fn password() -> PasswordHash {
    static HASH: std::sync::OnceLock<PasswordHash> = std::sync::OnceLock::new();
    HASH.get_or_init(|| hash_password(&Secret::new("password")).unwrap().parse().unwrap()).clone()
}

fn people() -> Vec<User> {
    vec![
        person("alice", json!({ "groups": ["staff", "finance"], "department": "finance" })),
        person("bob", json!({ "groups": ["staff"], "department": "engineering" })),
        person("mallory", json!({})),
    ]
}

/// Roles `finance`, `engineering` trust minted tokens tagged with that department; `direct` trusts the provider's own.
fn account(minted: &str, direct: &str) -> Account {
    let mut account = Account::new("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap());
    let minted = account.add_provider(minted, vec!["sts.amazonaws.com".to_owned()]).unwrap();
    let direct = account.add_provider(direct, vec!["claviger".to_owned()]).unwrap();
    let trust = |provider: &str, condition: Value| {
        let actions = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"];
        let mut statement = json!({ "Effect": "Allow", "Principal": { "Federated": provider }, "Action": actions });
        if !condition.is_null() {
            statement["Condition"] = json!({ "StringEquals": condition });
        }
        PolicyText::Json(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string())
    };
    let hour = Duration::from_secs(3600);
    for department in ["finance", "engineering"] {
        let condition = json!({ "aws:RequestTag/department": department });
        account.add_role(department, trust(&minted, condition), hour).unwrap();
    }
    account.add_role("anyone", trust(&minted, Value::Null), hour).unwrap();
    account.add_role("direct", trust(&direct, Value::Null), hour).unwrap();
    account.set_verdict_token(Secret::new("verdict-token"));
    account
}

const SOURCES: &str = r#"
state_dir = "{state}"
log = { level = "debug" }
server = { workers = 1, drain = "10s" }

[listen.main]
address = "127.0.0.1:0"

[identity.idp]
kind = "oidc"
issuer = "{provider}"
client_id = "claviger"

[credentials.minted]
kind = "minted"
region = "eu-west-1"
endpoint = "{authority}"

[credentials.direct]
kind = "web_identity"
region = "eu-west-1"
endpoint = "{authority}"
"#;

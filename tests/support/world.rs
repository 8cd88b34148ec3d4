//! An identity provider, an STS and an upstream of our own making on free ports, and claviger between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::{Argon2, Params, PasswordHasher as _};
use claviger::authority::{Account, Authority, PolicyText};
use claviger::clock::{Clock, SystemClock};
use claviger::fetch::Fetch;
use claviger::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use claviger::secret::Secret;
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use claviger::users::{Email, PasswordHash, User, Users};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::browser::Browser;
use super::chained_roles;
use super::client::{self, Answer};
use super::native;
use super::own_keys;
use super::place::Place;
use super::process::Process;
use super::side::Side;
use super::tap::Tap;
use super::upstream::Upstream;
use super::watched::PATIENCE;

/// Everything around one claviger, and that claviger.
pub struct World {
    pub claviger: Process,
    /// Where claviger listens.
    pub at: SocketAddr,
    /// What people type: scheme, host and port.
    pub origin: String,
    pub provider: Arc<OpenIdProvider>,
    pub users: Arc<Users>,
    pub authority: Arc<Authority>,
    pub upstream: Upstream,
    pub provider_at: SocketAddr,
    pub authority_at: SocketAddr,
    pub upstream_at: SocketAddr,
    /// The provider's, the authority's and the upstream's sides of the wire: each can be stopped and started.
    pub idp: Side,
    pub sts: Side,
    pub app: Side,
    /// What provider and authority are told, and answer.
    pub idp_tap: Arc<Tap>,
    pub sts_tap: Arc<Tap>,
    people: Vec<User>,
    environment: Vec<(&'static str, String)>,
    under: Vec<String>,
    folder: tempfile::TempDir,
    _place: Place,
}

/// A second claviger of a world.
pub struct Another {
    pub claviger: Process,
    /// Where it listens.
    pub at: SocketAddr,
    _place: Place,
}

/// How a world is made.
pub struct Plan {
    pub(super) config: String,
    host: Option<String>,
    also_at: Vec<String>,
    files: Vec<(String, String)>,
    log: &'static str,
    under: Vec<String>,
    client_secret: Option<String>,
    environment: Vec<(&'static str, String)>,
    provider_is_up: bool,
    id_token_on_refresh: bool,
    lifetimes: Lifetimes,
    people: Vec<User>,
}

impl Plan {
    /// A world whose claviger has these routes. `{upstream}` stands for the upstream's URL.
    pub fn with_routes(routes: &str) -> Self {
        Self {
            config: format!("{SOURCES}\n{routes}"),
            host: None,
            also_at: Vec::new(),
            files: Vec::new(),
            log: "debug",
            under: Vec::new(),
            client_secret: None,
            environment: Vec::new(),
            provider_is_up: true,
            id_token_on_refresh: true,
            lifetimes: Lifetimes::default(),
            people: people(),
        }
    }

    /// More of a config before the routes: `{provider}`, `{authority}` and `{upstream}` stand for their URLs.
    pub fn config(mut self, more: &str) -> Self {
        self.config = format!("{more}\n{}", self.config);
        self
    }

    /// A claviger whose `public_url` has this host, which must end in `localhost`. Without one it is known by its address.
    pub fn public_host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// A claviger to which the provider may send people back at this origin too, as another listener has it.
    pub fn also_at(mut self, origin: &str) -> Self {
        self.also_at.push(origin.to_owned());
        self
    }

    /// A file beside the config, which names it by `{folder}` or relative to itself.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// What claviger's own events are logged from.
    pub fn log(mut self, level: &'static str) -> Self {
        self.log = level;
        self
    }

    /// A claviger that may have so many descriptors open: `64:4096` is the soft and the hard limit.
    pub fn descriptors(self, limits: &str) -> Self {
        self.under(&["prlimit", &format!("--nofile={limits}")])
    }

    /// A claviger that is started by this program, which becomes it. `{state}` stands for the folder of its state.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// A claviger that is a confidential client, with this secret.
    pub fn client_secret(mut self, secret: &str) -> Self {
        self.client_secret = Some(secret.to_owned());
        self
    }

    /// A variable of claviger's environment.
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// The provider is not there yet: see [`World::idp`].
    pub fn without_provider(mut self) -> Self {
        self.provider_is_up = false;
        self
    }

    /// The provider gives an ID token at logins only.
    pub fn no_id_token_on_refresh(mut self) -> Self {
        self.id_token_on_refresh = false;
        self
    }

    /// How long the provider's things live.
    pub fn lifetimes(mut self, lifetimes: Lifetimes) -> Self {
        self.lifetimes = lifetimes;
        self
    }

    /// More people who can log in.
    pub fn people(mut self, more: impl IntoIterator<Item = User>) -> Self {
        self.people.extend(more);
        self
    }

    /// Starts everything.
    pub async fn start(self) -> World {
        let [here, provider, authority, upstream] = std::array::from_fn(|_| Place::reserve());
        let [provider_at, authority_at, upstream_at] = [&provider, &authority, &upstream].map(Place::at);
        let port = here.at().port();
        let origin = format!("http://{}:{port}", self.host.as_deref().unwrap_or("127.0.0.1"));

        // claviger comes first, on purpose: it does not need the others to start
        let folder = tempfile::tempdir().unwrap();
        let public_url = self.host.as_ref().map_or_else(String::new, |_| format!("public_url = \"{origin}\""));
        let client_secret = self.client_secret.as_ref().map_or("", |_| "client_secret = { env = \"CLIENT_SECRET\" }");
        let values = [
            ("{provider}", format!("http://{provider_at}")),
            ("{authority}", format!("http://{authority_at}")),
            ("{upstream}", format!("http://{upstream_at}")),
            ("{folder}", folder.path().display().to_string()),
            ("{state}", folder.path().join("state").display().to_string()),
            ("{address}", here.at().to_string()),
            ("{public_url}", public_url),
            ("{client_secret}", client_secret.to_owned()),
            ("{log}", self.log.to_owned()),
        ];
        let written = |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        for (name, text) in self.files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("claviger.toml");
        std::fs::write(&file, written(&self.config)).unwrap();
        let under: Vec<String> = self.under.iter().map(|word| written(word)).collect();
        let secret = self.client_secret.iter().map(|secret| ("CLIENT_SECRET", secret.clone()));
        let environment: Vec<_> = secret.chain(self.environment).collect();
        let claviger = start(&under, &file, &environment);
        let at = claviger.address("main").await;
        assert_eq!(at, here.at());

        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let users = Arc::new(Users::new(self.people.clone(), Arc::clone(&clock)).unwrap());
        let origins = || self.also_at.iter().chain([&origin]);
        let back_at = |path: &str| origins().map(|origin| format!("{origin}{path}").parse().unwrap()).collect();
        let client = |id: &str| Client {
            secret: self.client_secret.as_deref().map(Secret::new).filter(|_| id == "claviger"),
            redirect_uris: back_at("/.claviger/callback"),
            post_logout_redirect_uris: back_at("/.claviger/signed-out"),
            id_token_on_refresh: self.id_token_on_refresh,
            ..Client::new(id)
        };
        let setup = Setup {
            issuer: format!("http://{provider_at}").parse().unwrap(),
            users: Arc::clone(&users),
            clients: vec![client("claviger"), client("claviger-too"), native::client()],
            lifetimes: self.lifetimes,
            signing_key: None,
        };
        let openid_provider = OpenIdProvider::new(setup, Arc::clone(&clock)).unwrap();
        let account = account(&format!("{origin}/.claviger/issuer"), &format!("http://{provider_at}"));
        let sts = Authority::new(account, &Arc::new(Fetch::new(&Trust::system())), clock, &Metrics::new());

        let (idp_tap, sts_tap) = (Tap::on(Arc::clone(&openid_provider) as _), Tap::on(Arc::clone(&sts) as _));
        let app = Upstream::default();
        let world = World {
            claviger,
            at,
            origin,
            provider: openid_provider,
            users,
            authority: sts,
            upstream: app.clone(),
            provider_at,
            authority_at,
            upstream_at,
            idp: Side::new("provider", provider, Arc::clone(&idp_tap) as _),
            sts: Side::new("authority", authority, Arc::clone(&sts_tap) as _),
            app: Side::new("upstream", upstream, Arc::new(app)),
            idp_tap,
            sts_tap,
            people: self.people,
            environment,
            under,
            folder,
            _place: here,
        };
        if self.provider_is_up {
            world.idp.start();
        }
        world.sts.start();
        world.app.start();
        world
    }
}

impl World {
    /// Starts claviger again, on the same config and state, after it was asked to stop or was killed.
    pub async fn restart(&mut self) {
        self.claviger.wait();
        self.claviger = start(&self.under, &self.file("claviger.toml"), &self.environment);
        assert_eq!(self.claviger.address("main").await, self.at);
    }

    /// One more claviger under the same public URL, as behind a balancer: it shares what the config says, and no disk.
    pub async fn another(&self) -> Another {
        let place = Place::reserve();
        let config = std::fs::read_to_string(self.file("claviger.toml")).unwrap();
        let listen = |at: SocketAddr| format!("address = \"{at}\"");
        assert!(config.contains(&listen(self.at)) && config.contains("public_url = "));
        let state = format!("state-{}", place.at().port());
        let config = config.replace(&listen(self.at), &listen(place.at()));
        let config = config.replace(self.file("state").to_str().unwrap(), self.file(&state).to_str().unwrap());
        let file = self.file(&format!("{state}.toml"));
        std::fs::write(&file, config).unwrap();
        let claviger = start(&self.under, &file, &self.environment);
        assert_eq!(claviger.address("main").await, place.at());
        Another { claviger, at: place.at(), _place: place }
    }

    /// The URL of a path at claviger.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The URL of a path on another of claviger's hosts.
    pub fn url_on(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.at.port())
    }

    /// What claviger's ticket is called.
    pub fn ticket_name(&self) -> String {
        format!("claviger-{}", self.at.port())
    }

    /// The ticket that a browser has for a host of claviger's.
    pub fn ticket_in(&self, browser: &Browser, host: &str) -> Option<String> {
        browser.cookies.get(&(host.to_owned(), self.ticket_name())).map(|(value, _)| value.clone())
    }

    /// The `Cookie` header of somebody who has logged in.
    pub async fn ticket(&self, name: &str) -> String {
        self.cookie(&self.browser_of(name).await)
    }

    /// The `Cookie` header with which a browser shows its ticket on the public host.
    pub fn cookie(&self, browser: &Browser) -> String {
        let ticket = self.ticket_in(browser, self.host()).expect("the browser has a ticket");
        format!("{}={ticket}", self.ticket_name())
    }

    /// Opens a page that wants a login, and logs in; the answer is the last.
    pub async fn log_in(&self, browser: &mut Browser, url: &str, name: &str) -> Answer {
        let page = browser.open(url).await;
        assert!(page.text().contains("name=\"password\""), "no login page: {} {}", page.status, page.text());
        browser.submit(&page, &[("username", name), ("password", PASSWORD)]).await
    }

    /// A browser in which `name` has logged in.
    pub async fn browser_of(&self, name: &str) -> Browser {
        let mut browser = Browser::default();
        let answer = self.log_in(&mut browser, &self.url("/"), name).await;
        let ticket = self.ticket_in(&browser, self.host());
        assert!(ticket.is_some(), "no ticket: {} {}", answer.status, answer.text());
        browser
    }

    /// The host that people type.
    pub fn host(&self) -> &str {
        self.origin.trim_start_matches("http://").split(':').next().unwrap()
    }

    /// What a caller with this `Cookie` header gets, who is no navigation.
    pub async fn get(&self, path: &str, cookie: &str) -> Answer {
        let sent = if cookie.is_empty() { HeaderMap::new() } else { client::headers(&[("cookie", cookie)]) };
        client::send(self.at, Method::GET, path, &sent, "").await
    }

    /// How often credentials were asked for.
    pub fn sts_calls(&self) -> u64 {
        self.authority.calls("AssumeRoleWithWebIdentity")
    }

    /// An answer of the admin listener.
    pub async fn admin(&self, path: &str) -> Answer {
        let at = self.claviger.address("admin").await;
        client::send(at, Method::GET, path, &HeaderMap::new(), "").await
    }

    /// The value of a metric, with its labels as `/metrics` writes them; 0 where it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin("/metrics").await;
        let lines = metrics.text().lines().filter_map(|line| line.rsplit_once(' '));
        lines.filter(|(named, _)| *named == name).map(|(_, value)| value.parse::<f64>().unwrap()).sum()
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
}

fn start(under: &[String], config: &Path, environment: &[(&'static str, String)]) -> Process {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Process::start_under(under, config, &environment)
}

/// Asks claviger again and again until the answer is as it should be; fails when it never is. What happens in this
/// process is waited for instead: see [`Upstream::until`], [`Tap::until_asked`], [`Process::until`].
pub async fn until<T>(mut ask: impl AsyncFnMut() -> T, is_as_it_should_be: impl Fn(&T) -> bool) -> T {
    let asking = async {
        loop {
            let answer = ask().await;
            if is_as_it_should_be(&answer) {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not once in {PATIENCE:?}"))
}

/// A person with the usual password.
pub fn person(name: &str, claims: Value) -> User {
    static HASH: OnceLock<PasswordHash> = OnceLock::new();
    with_password(name, HASH.get_or_init(|| cheap_hash(PASSWORD)).clone(), claims)
}

/// A person with a password of their own.
pub fn person_with_password(name: &str, password: &str, claims: Value) -> User {
    with_password(name, cheap_hash(password), claims)
}

fn with_password(name: &str, password: PasswordHash, claims: Value) -> User {
    let mut claims = claims.as_object().cloned().unwrap();
    let groups = claims.remove("groups").map_or_else(Vec::new, |groups| serde_json::from_value(groups).unwrap());
    User {
        name: name.parse().unwrap(),
        sub: format!("sub-{name}").into(),
        password,
        display_name: Some(name.to_uppercase()),
        email: Some(Email { address: format!("{name}@example.com"), verified: true }),
        groups,
        claims,
        disabled: false,
    }
}

/// Hashing takes its time on purpose; a thousand logins in a test don't have it.
fn cheap_hash(password: &str) -> PasswordHash {
    let cheap = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    cheap.hash_password(password.as_bytes()).unwrap().to_string().parse().unwrap()
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
    let direct = account.add_provider(direct, vec!["claviger".to_owned(), "claviger-cli".to_owned()]).unwrap();
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
    own_keys::add(&mut account);
    chained_roles::add(&mut account);
    account.set_verdict_token(Secret::new("verdict-token"));
    account
}

/// Everybody's who has none of their own.
pub const PASSWORD: &str = "password";

const SOURCES: &str = r#"
state_dir = "{state}"
log = { level = "{log}" }
server = { workers = 1, drain = "10s", watch = false }
admin = { address = "127.0.0.1:0" }

[listen.main]
address = "{address}"
{public_url}

[identity.idp]
kind = "oidc"
issuer = "{provider}"
client_id = "claviger"
{client_secret}

[credentials.minted]
kind = "minted"
region = "eu-west-1"
endpoint = "{authority}"

[credentials.direct]
kind = "web_identity"
region = "eu-west-1"
endpoint = "{authority}"
"#;

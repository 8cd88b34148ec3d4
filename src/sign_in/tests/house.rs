//! The door with two built-in providers on sockets, an app behind it on several hosts, and browsers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Request, StatusCode};

use super::super::*;
use crate::built_in::{Environment, Settings, Surroundings, build};
use crate::clock::ManualClock;
use crate::fault::Reader;
use crate::fetch::{Fetch, Reach};
use crate::identity::{BUILT_INS, Materials};
use crate::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use crate::secret::Secret;
use crate::server::{Listener, Manner, Workers};
use crate::session::SessionSettings;
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::users::{Email, User, Users, hash_password};

pub(super) const PUBLIC: &str = "https://apps.example.com";
pub(super) const TICKET: &str = "__Host-claviger";
const HOSTS: [&str; 2] = ["reports.example.com", "wiki.example.com"];

/// `public_url`, two route hosts, and the providers `corp` and `partner`, at both of which there is an alice.
pub(super) struct House {
    pub(super) clock: Arc<ManualClock>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) door: SignIn,
    pub(super) site: Site,
    /// What the app lets in; empty: anyone.
    pub(super) wanted: Mutex<Vec<SourceName>>,
    pub(super) fetch: Arc<Fetch>,
    pub(super) issuers: BTreeMap<&'static str, String>,
    _workers: Workers,
}

/// Keeps the cookies of each host, and follows redirects where it is told to.
pub(super) struct Browser<'h> {
    house: &'h House,
    pub(super) jars: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl House {
    pub(super) async fn build() -> Self {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let workers = Workers::start(1).unwrap();
        let sessions = Sessions::new(&SessionSettings::default(), Arc::clone(&clock) as _, &Metrics::new());
        let (mut sources, mut issuers) = (Vec::new(), BTreeMap::new());
        for name in ["corp", "partner"] {
            let issuer = start_provider(&workers, &clock);
            sources.push((SourceName::from(name), source(name, &issuer, &clock, &fetch)));
            issuers.insert(name, issuer);
        }
        sessions.use_sources(sources.clone()).await;
        let site = Site::new(PUBLIC.parse().unwrap(), |host| HOSTS.contains(&host), sources);
        let sealer = Arc::new(Sealer::random());
        let door = SignIn::new(Arc::clone(&sessions), sealer, Arc::clone(&clock) as _, Metrics::new());
        let wanted = Mutex::new(vec!["corp".into()]);
        Self { clock, sessions, door, site, wanted, fetch, issuers, _workers: workers }
    }

    pub(super) fn browser(&self) -> Browser<'_> {
        Browser { house: self, jars: Mutex::default() }
    }

    /// What the app and the proxy before it would answer: who is logged in, or a login.
    pub(super) async fn serve(&self, host: &str, head: &request::Parts) -> Result<Response, Fault> {
        let visit = Visit { head, host, client: std::net::Ipv4Addr::LOCALHOST.into(), request_id: "r-1" };
        if head.uri.path().starts_with(PREFIX) {
            return self.door.answer(&self.site, &visit, crate::web::Body::Empty).await;
        }
        let wanted = self.wanted.lock().unwrap().clone();
        let session = self.sessions.recognize(&head.headers, self.site.names(), host, self.clock.now()).await?;
        match session.filter(|session| wanted.is_empty() || wanted.contains(&session.subject().source)) {
            Some(session) => {
                let subject = session.subject();
                let text = format!("{} {} of {}", head.uri, subject.id, subject.source);
                Ok(crate::web::answer(StatusCode::OK, "text/plain", text))
            }
            None => {
                let wish = Wish { sources: &wanted, ..Wish::default() };
                self.door.begin_login(&self.site, &visit, &wish).await
            }
        }
    }
}

impl Browser<'_> {
    /// One navigation; follows nothing.
    pub(super) async fn get(&self, url: &str) -> Page {
        self.send("GET", url, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], "").await
    }

    pub(super) async fn send(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Page {
        let url: Url = url.parse().unwrap_or_else(|_| panic!("{url}"));
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let cookies: Vec<String> = self.jar(&url, |jar| jar.iter().map(|(k, v)| format!("{k}={v}")).collect());
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let ours = url.scheme() == "https";
        let (head, text) = if ours {
            let path = url.as_str().strip_prefix(&url.origin().ascii_serialization()).unwrap();
            let (head, ()) = request.uri(path).body(()).unwrap().into_parts();
            let answer = self.house.serve(url.host_str().unwrap(), &head).await;
            let (head, body) = answer.unwrap_or_else(|fault| fault.answer("r-1", Reader::Person(None))).into_parts();
            (head, body.collect(1 << 20).await.unwrap())
        } else {
            let request = request.uri(url.as_str()).body(Bytes::from(body.to_owned())).unwrap();
            self.house.fetch.send(request, &Reach::Configured).await.unwrap().into_parts()
        };
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(!ours || cookie.contains("; HttpOnly; Secure; SameSite=Lax") && cookie.len() < 4096, "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.jar(&url, |jar| match cookie.contains("Max-Age=0") {
                true => drop(jar.remove(name)),
                false => drop(jar.insert(name.to_owned(), value.to_owned())),
            });
        }
        Page { url, status: head.status, headers: head.headers, text: String::from_utf8(text.into()).unwrap() }
    }

    /// Follows redirects, but none to a URL that contains `before`.
    pub(super) async fn follow_until(&self, mut page: Page, before: &str) -> Page {
        for _ in 0..20 {
            if page.status != StatusCode::SEE_OTHER || (!before.is_empty() && page.location().contains(before)) {
                return page;
            }
            page = self.get(&page.location()).await;
        }
        panic!("redirects without end")
    }

    /// Opens `url` and goes wherever that leads; at a provider's form signs in as `name`.
    pub(super) async fn open(&self, url: &str, name: &str) -> Page {
        let page = self.until(url, name, "").await;
        self.follow_until(page, "").await
    }

    /// As [`Browser::open`], but stops before the URL that contains `before`.
    pub(super) async fn until(&self, url: &str, name: &str, before: &str) -> Page {
        let page = self.get(url).await;
        let page = self.follow_until(page, before).await;
        if !page.text.contains("name=\"password\"") {
            return page;
        }
        let form = [
            ("next", page.hidden("next")),
            ("seal", page.hidden("seal")),
            ("username", name.to_owned()),
            ("password", format!("{name}'s own")),
        ];
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let action = page.url.as_str().split("/authorize").next().unwrap().to_owned() + "/sign-in";
        let page = self.send("POST", &action, &[], &form).await;
        self.follow_until(page, before).await
    }

    pub(super) fn cookie(&self, host: &str, name: &str) -> Option<String> {
        self.jars.lock().unwrap().get(host)?.get(name).cloned()
    }

    pub(super) fn set_cookie(&self, host: &str, name: &str, value: &str) {
        self.jars.lock().unwrap().entry(host.into()).or_default().insert(name.into(), value.into());
    }

    /// The names of the logins under way on a host.
    pub(super) fn logins(&self, host: &str) -> Vec<String> {
        let jars = self.jars.lock().unwrap();
        let names = jars.get(host).into_iter().flat_map(BTreeMap::keys);
        names.filter(|name| name.contains("-login-")).cloned().collect()
    }

    fn jar<T>(&self, url: &Url, look: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        let place = match url.scheme() {
            "https" => url.host_str().unwrap().to_owned(),
            _ => url.origin().ascii_serialization(),
        };
        look(self.jars.lock().unwrap().entry(place).or_default())
    }
}

impl Page {
    pub(super) fn location(&self) -> String {
        self.headers.get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// The value of a hidden field, as a browser reads it.
    fn hidden(&self, name: &str) -> String {
        let (_, after) = self.text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        let value = after.split('"').next().unwrap();
        value.replace("&#38;", "&").replace("&#34;", "\"").replace("&#60;", "<").replace("&#62;", ">")
    }
}

fn start_provider(workers: &Workers, clock: &Arc<ManualClock>) -> String {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let issuer = format!("http://{}/op", listener.local_addr().unwrap());
    let client = Client {
        secret: Some(Secret::new("the door's own")),
        redirect_uris: vec![format!("{PUBLIC}/.claviger/callback").parse().unwrap()],
        post_logout_redirect_uris: vec![format!("{PUBLIC}/.claviger/signed-out").parse().unwrap()],
        ..Client::new("claviger")
    };
    let setup = Setup {
        issuer: issuer.parse().unwrap(),
        users: Arc::new(Users::new(people(), Arc::clone(clock) as _).unwrap()),
        clients: vec![client],
        lifetimes: Lifetimes::default(),
        signing_key: None,
    };
    let provider = OpenIdProvider::new(setup, Arc::clone(clock) as _).unwrap();
    let manner = Manner::plain("op", &Metrics::new());
    workers.serve(listener, manner, provider as _);
    issuer
}

fn people() -> Vec<User> {
    // hashing is slow on purpose; the same few people live in every house
    static HASHES: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
        let hash = |name: &str| hash_password(&Secret::new(format!("{name}'s own"))).unwrap();
        ["alice", "bob", "carol", "dave"].into_iter().map(|name| (name, hash(name))).collect()
    });
    let person = |(name, hash): &(&str, String)| User {
        name: name.parse().unwrap(),
        sub: format!("sub-of-{name}").into(),
        password: hash.parse().unwrap(),
        display_name: Some(format!("{name} <Doe>")),
        email: Some(Email { address: format!("{name}@example.com"), verified: true }),
        groups: vec!["staff".into()],
        claims: serde_json::Map::new(),
        disabled: false,
    };
    HASHES.iter().map(person).collect()
}

pub(super) fn source(
    name: &str,
    issuer: &str,
    clock: &Arc<ManualClock>,
    fetch: &Arc<Fetch>,
) -> Arc<dyn IdentitySource> {
    let environment = Environment::from_iter([("SECRET".to_owned(), "the door's own".to_owned())]);
    let surroundings = Surroundings::new(".", environment);
    let text = format!(
        "kind = \"oidc\"\nclient_id = \"claviger\"\nclient_secret = {{ env = \"SECRET\" }}\nissuer = \"{issuer}\"\n\
         label = \"The <{name}> account\"\nuserinfo = true"
    );
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let settings = Settings { name, table: toml::from_str(&text).unwrap(), surroundings: &surroundings, clock: &clock };
    build(
        BUILT_INS,
        settings,
        &Materials { fetch: Arc::clone(fetch), metrics: Metrics::new(), keys: crate::identity::IssuedKeys::passing() },
    )
    .unwrap()
}

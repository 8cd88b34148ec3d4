//! A built-in provider on a socket, that can be told to fail, and people who log in there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, StatusCode, header};

use super::super::*;
use super::materials;
use crate::built_in::{Environment, Surroundings, build};
use crate::clock::ManualClock;
use crate::identity::{BUILT_INS, LoginError, LoginMemory, Onward, Returned, SignedIn};
use crate::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use crate::server::{Handler, Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::users::{Email, User, Users, hash_password};
use crate::web::{self, Connection, Request as WebRequest, Response};

const CALLBACK: &str = "https://apps.example.com/.claviger/callback";

pub(super) struct Idp {
    pub(super) clock: Arc<ManualClock>,
    pub(super) provider: Arc<OpenIdProvider>,
    pub(super) users: Arc<Users>,
    pub(super) broken: Arc<Mutex<Option<&'static str>>>,
    issuer: String,
    _workers: Workers,
}

/// The provider, but for one of its paths.
struct Flaky {
    provider: Arc<OpenIdProvider>,
    broken: Arc<Mutex<Option<&'static str>>>,
}

#[async_trait]
impl Handler for Flaky {
    async fn handle(&self, connection: &Connection, request: WebRequest) -> Response {
        let broken = *self.broken.lock().unwrap();
        match broken {
            Some(path) if request.uri().path().ends_with(path) => {
                web::answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "down")
            }
            _ => self.provider.handle(connection, request).await,
        }
    }
}

impl Idp {
    pub(super) fn start(id_token_on_refresh: bool) -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let users = Arc::new(Users::new(vec![alice(&["staff"], false)], Arc::clone(&clock) as _).unwrap());
        let client = |id: &str, secret: Option<Secret>| Client {
            secret,
            redirect_uris: vec![CALLBACK.parse().unwrap()],
            id_token_on_refresh,
            ..Client::new(id)
        };
        let setup = Setup {
            issuer: issuer.parse().unwrap(),
            users: Arc::clone(&users),
            clients: vec![client("claviger", Some(Secret::new("canary"))), client("public", None)],
            lifetimes: Lifetimes::default(),
            signing_key: None,
        };
        let provider = OpenIdProvider::new(setup, Arc::clone(&clock) as _).unwrap();
        let broken = Arc::default();
        let handler = Flaky { provider: Arc::clone(&provider), broken: Arc::clone(&broken) };
        let workers = Workers::start(1).unwrap();
        let manner = Manner::plain("op", &Metrics::new());
        workers.serve(listener, manner, Arc::new(handler));
        Self { clock, provider, users, broken, issuer, _workers: workers }
    }

    pub(super) fn source(&self, rest: &str) -> Arc<dyn IdentitySource> {
        self.source_by(Arc::clone(&self.clock), rest)
    }

    pub(super) fn source_by(&self, clock: Arc<ManualClock>, rest: &str) -> Arc<dyn IdentitySource> {
        let environment = Environment::from_iter([("SECRET".to_owned(), "canary".to_owned())]);
        let surroundings = Surroundings::new(".", environment);
        let client = if rest.contains("client_id") { "" } else { CONFIDENTIAL };
        let table = toml::from_str(&format!("kind = \"oidc\"\nissuer = \"{}\"\n{client}\n{rest}", self.issuer));
        let clock: Arc<dyn Clock> = clock;
        let settings = Settings { name: "corp", table: table.unwrap(), surroundings: &surroundings, clock: &clock };
        build(BUILT_INS, settings, &materials()).unwrap()
    }

    /// Alice at the provider: what it sends her browser back with, and what the login remembers.
    pub(super) async fn answer(&self, source: &Arc<dyn IdentitySource>) -> (Returned, LoginMemory) {
        let begun = source.login().unwrap().begin(&CALLBACK.parse().unwrap(), false).await.unwrap();
        let Onward::Redirect(to) = begun.to else { panic!("a redirect") };
        let (_, form, cookie) = self.send(Request::get(to.as_str()), String::new()).await;
        let hidden = |name: &str| {
            let value = form.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap().split('"').next().unwrap();
            value.replace("&#38;", "&").replace("&#34;", "\"")
        };
        let fields = BTreeMap::from([
            ("next", hidden("next")),
            ("seal", hidden("seal")),
            ("username", "alice".into()),
            ("password", "alice's own".into()),
        ]);
        let fields = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(format!("{}/sign-in", self.issuer)).header(header::COOKIE, cookie);
        let (location, ..) = self.send(request, fields).await;
        let location: Url = location.parse().unwrap();
        assert!(location.as_str().starts_with(CALLBACK), "{location}");
        (Returned(location.query_pairs().into_owned().collect()), begun.memory)
    }

    pub(super) async fn log_in(&self, source: &Arc<dyn IdentitySource>) -> Result<SignedIn, LoginError> {
        let (returned, memory) = self.answer(source).await;
        source.login().unwrap().finish(&returned, &memory).await
    }

    /// The location, the text and the cookies of an answer.
    async fn send(&self, request: http::request::Builder, body: String) -> (String, String, String) {
        let request = request.body(Bytes::from(body)).unwrap();
        let response = materials().fetch.send(request, &Reach::Configured).await.unwrap();
        let text = |value: &header::HeaderValue| value.to_str().unwrap().to_owned();
        let cookies = response.headers().get_all(header::SET_COOKIE).iter().map(text);
        let cookies: Vec<_> = cookies.map(|cookie| cookie.split(';').next().unwrap().to_owned()).collect();
        let location = response.headers().get(header::LOCATION).map(text).unwrap_or_default();
        (location, String::from_utf8(response.body().to_vec()).unwrap(), cookies.join("; "))
    }
}

/// The only one who lives here.
pub(super) fn alice(groups: &[&str], disabled: bool) -> User {
    static HASH: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| hash_password(&Secret::new("alice's own")).unwrap());
    User {
        name: "alice".parse().unwrap(),
        sub: "sub-of-alice".into(),
        password: HASH.parse().unwrap(),
        display_name: Some("Alice".into()),
        email: Some(Email { address: "alice@example.com".into(), verified: false }),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        claims: serde_json::json!({"realm": {"roles": ["reader", 5]}}).as_object().cloned().unwrap(),
        disabled,
    }
}

const CONFIDENTIAL: &str = "client_id = \"claviger\"\nclient_secret = { env = \"SECRET\" }";

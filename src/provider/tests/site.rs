//! A provider on a port of its own, and who asks it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Map, Value, json};

use crate::clock::ManualClock;
use crate::fetch::{Fetch, Reach};
use crate::jose::{Expected, RemoteIssuer, verify};
use crate::provider::*;
use crate::server::{Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::users::{Email, User, hash_password};

pub(super) const CALLBACK: &str = "https://app.example.com/cb?from=op";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636 appendix B
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A provider on a port of its own, with a path in its issuer.
pub(super) struct Site {
    pub(super) issuer: String,
    pub(super) provider: Arc<OpenIdProvider>,
    pub(super) users: Arc<Users>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) fetch: Arc<Fetch>,
    pub(super) _workers: Workers,
}

/// Keeps cookies, follows nothing.
pub(super) struct Browser<'s> {
    pub(super) site: &'s Site,
    pub(super) cookies: Mutex<BTreeMap<String, String>>,
}

pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) text: String,
}

pub(super) fn people() -> Vec<User> {
    let person = |name: &str, password: &str, department: &str, disabled: bool| User {
        name: name.parse().unwrap(),
        sub: format!("sub-of-{name}").into(),
        password: hash_password(&Secret::new(password)).unwrap().parse().unwrap(),
        display_name: Some(format!("{name} <Doe>")),
        email: Some(Email { address: format!("{name}@example.com"), verified: true }),
        groups: vec!["staff".into()],
        claims: Map::from_iter([("department".to_owned(), json!(department))]),
        disabled,
    };
    vec![person("alice", "alice's own", "finance", false), person("carol", "carol's own", "sales", true)]
}

impl Site {
    pub(super) fn start() -> Self {
        Self::with(OpenIdProvider::new)
    }

    /// One that is built otherwise.
    pub(super) fn with(
        build: impl FnOnce(Setup, Arc<dyn Clock>) -> Result<Arc<OpenIdProvider>, ProviderError>,
    ) -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let issuer = format!("http://{}/op", listener.local_addr().unwrap());
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let users = Arc::new(Users::new(people(), Arc::clone(&clock) as _).unwrap());
        let app = |id: &str| Client {
            secret: Some(Secret::new(format!("{id}'s secret"))),
            redirect_uris: vec![CALLBACK.parse().unwrap()],
            post_logout_redirect_uris: vec!["https://app.example.com/".parse().unwrap()],
            ..Client::new(id)
        };
        let tool = Client {
            redirect_uris: vec!["http://127.0.0.1/cb".parse().unwrap()],
            device_flow: true,
            id_token_on_refresh: false,
            ..Client::new("tool")
        };
        let setup = Setup {
            issuer: issuer.parse().unwrap(),
            users: Arc::clone(&users),
            clients: vec![app("app"), app("other"), tool],
            lifetimes: Lifetimes::default(),
            signing_key: None,
        };
        let provider = build(setup, Arc::clone(&clock) as _).unwrap();
        let workers = Workers::start(1).unwrap();
        let manner = Manner::plain("op", &Metrics::new());
        workers.serve(listener, manner, Arc::clone(&provider) as _);
        Self { issuer, provider, users, clock, fetch: Arc::new(Fetch::new(&Trust::system())), _workers: workers }
    }

    pub(super) fn browser(&self) -> Browser<'_> {
        Browser { site: self, cookies: Mutex::default() }
    }

    pub(super) async fn send(&self, request: http::Request<Bytes>) -> Page {
        let (head, body) = self.fetch.send(request, &Reach::Configured).await.unwrap().into_parts();
        Page { status: head.status, headers: head.headers, text: String::from_utf8(body.into()).unwrap() }
    }

    /// A client's own request, as `id` with its secret in the header.
    pub(super) async fn post(&self, path: &str, client: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let secret = encode(&[("", &format!("{client}'s secret"))]);
        let basic = STANDARD.encode(format!("{client}:{}", secret.trim_start_matches('=')));
        let request = http::Request::post(format!("{}{path}", self.issuer))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(AUTHORIZATION, format!("Basic {basic}"));
        let page = self.send(request.body(encode(form).into()).unwrap()).await;
        (page.status, serde_json::from_str(&page.text).unwrap())
    }

    /// As the public client.
    pub(super) async fn post_as_tool(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let form = [form, &[("client_id", "tool")]].concat();
        let request = http::Request::post(format!("{}{path}", self.issuer)).body(encode(&form).into()).unwrap();
        serde_json::from_str(&self.send(request).await.text).unwrap()
    }

    pub(super) async fn redeem(&self, client: &str, code: &str) -> (StatusCode, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", client, &form).await
    }

    pub(super) async fn refresh(&self, tokens: &Value) -> (StatusCode, Value) {
        let refresh = tokens["refresh_token"].as_str().unwrap();
        self.post("/token", "app", &[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await
    }

    pub(super) async fn userinfo(&self, tokens: &Value) -> Page {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let request = http::Request::get(format!("{}/userinfo", self.issuer)).header(AUTHORIZATION, bearer);
        self.send(request.body(Bytes::new()).unwrap()).await
    }

    pub(super) async fn claims(&self, tokens: &Value, client: &str) -> Map<String, Value> {
        let remote =
            RemoteIssuer::new(self.issuer.parse().unwrap(), Arc::clone(&self.fetch), Arc::clone(&self.clock) as _);
        let audiences = [client];
        let (issuer, now) = (self.issuer.as_str(), self.clock.now());
        let expected = Expected { issuer, audiences: &audiences, now, leeway: Duration::ZERO };
        verify(tokens["id_token"].as_str().unwrap(), &remote.keys().await.unwrap(), &expected).unwrap()
    }
}

impl Browser<'_> {
    pub(super) async fn get(&self, path: &str) -> Page {
        self.ask(http::Request::get(format!("{}{path}", self.site.issuer)), Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        self.ask(http::Request::post(format!("{}{path}", self.site.issuer)), encode(form).into()).await
    }

    pub(super) async fn ask(&self, request: http::request::Builder, body: Bytes) -> Page {
        let cookies =
            self.cookies.lock().unwrap().iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
        let page = self.site.send(request.header(COOKIE, cookies).body(body).unwrap()).await;
        for cookie in page.headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        page
    }

    /// Fills the login form on `page`.
    pub(super) async fn sign_in(&self, page: &Page, name: &str, password: &str) -> Page {
        let form = [
            ("next", &*page.hidden("next")),
            ("seal", &page.hidden("seal")),
            ("username", name),
            ("password", password),
        ];
        self.post("/sign-in", &form).await
    }

    /// All the way to a code for `app`.
    pub(super) async fn code(&self, query: &str) -> String {
        let page = self.get(query).await;
        let page = if page.status == StatusCode::OK { self.sign_in(&page, "alice", "alice's own").await } else { page };
        page.parameter("code")
    }
}

impl Page {
    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn parameter(&self, name: &str) -> String {
        let url = Url::parse(self.location()).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// The value of a hidden field, as a browser reads it.
    pub(super) fn hidden(&self, name: &str) -> String {
        let (_, after) =
            self.text.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{}", self.text));
        let value = after.split('"').next().unwrap();
        value
            .replace("&#38;", "&")
            .replace("&#34;", "\"")
            .replace("&#60;", "<")
            .replace("&#62;", ">")
            .replace("&#39;", "'")
    }
}

pub(super) fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The address a client sends the browser to, with some parameters set otherwise; an empty value leaves one out.
pub(super) fn authorize(changes: &[(&str, &str)]) -> String {
    let mut form = BTreeMap::from([
        ("client_id", "app"),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("state", "st/ate&1"),
        ("nonce", "n-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    form.extend(changes.iter().copied());
    let pairs: Vec<_> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    format!("/authorize?{}", encode(&pairs))
}

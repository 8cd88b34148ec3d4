//! An identity provider, an issuer of services' tokens and an STS in the bench's own process: what is counted is the proxy alone.

use std::sync::Arc;
use std::time::Duration;

use claviger::authority::{Account, Authority, PolicyText};
use claviger::clock::{Clock, SystemClock};
use claviger::fetch::Fetch;
use claviger::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use claviger::secret::Secret;
use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use claviger::users::{Email, User, Users, hash_password};
use serde_json::json;

use crate::issuer::Issuer;

/// All of it, running until dropped.
#[derive(Debug)]
pub(crate) struct OtherSide {
    pub(crate) provider: String,
    pub(crate) authority: String,
    pub(crate) issuer: Issuer,
    _workers: Workers,
}

impl OtherSide {
    /// A provider that knows [`NAME`], and an STS that trusts what the proxy at `proxy` mints for her department.
    pub(crate) fn start(proxy: &str) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (metrics, workers) = (Metrics::new(), Workers::start(1).expect("the system gives a thread"));
        let bind = || {
            let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a port");
            let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
            (listener, url)
        };
        let ((provider_listener, provider), (authority_listener, authority)) = (bind(), bind());
        let serve = |name: &str, listener, handler: Arc<dyn Handler>| {
            let manner = Manner::plain(name, &metrics);
            workers.serve(listener, manner, handler);
        };
        let people = Arc::new(Users::new(vec![alice()], Arc::clone(&clock)).expect("a directory"));
        let setup = Setup {
            issuer: provider.parse().expect("a URL"),
            users: people,
            clients: vec![client(proxy)],
            lifetimes: Lifetimes::default(),
            signing_key: None,
        };
        serve("provider", provider_listener, OpenIdProvider::new(setup, Arc::clone(&clock)).expect("a provider"));
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        serve("authority", authority_listener, Authority::new(account(proxy), &fetch, clock, &metrics));
        let issuer = Issuer::start(&workers, &metrics);
        Self { provider, authority, issuer, _workers: workers }
    }
}

fn alice() -> User {
    let claims = json!({ "department": "finance" });
    User {
        name: NAME.parse().expect("a name"),
        sub: "7d1c5a60".into(),
        password: hash_password(&Secret::new(PASSWORD)).expect("a password").parse().expect("its hash"),
        display_name: Some("Alice Liddell".to_owned()),
        email: Some(Email { address: "alice@example.com".to_owned(), verified: true }),
        groups: vec!["finance".to_owned(), "staff".to_owned()],
        claims: claims.as_object().cloned().expect("an object"),
        disabled: false,
    }
}

fn client(proxy: &str) -> Client {
    Client {
        id: "claviger".into(),
        name: "claviger".to_owned(),
        secret: None,
        redirect_uris: vec![format!("{proxy}/.claviger/callback").parse().expect("a redirect")],
        post_logout_redirect_uris: Vec::new(),
        id_token_on_refresh: true,
        device_flow: false,
    }
}

fn account(proxy: &str) -> Account {
    let mut account = Account::new("123456789012".parse().expect("an account"), "eu-west-1".parse().expect("a region"));
    let issuer = format!("{proxy}/.claviger/issuer");
    let minted = account.add_provider(&issuer, vec!["sts.amazonaws.com".to_owned()]).expect("a provider");
    let trust = json!({ "Version": "2012-10-17", "Statement": {
        "Effect": "Allow",
        "Principal": { "Federated": minted },
        "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": { "StringEquals": { "aws:RequestTag/department": "finance" } },
    } });
    let trust = PolicyText::Json(trust.to_string());
    account.add_role("reports-finance", trust, Duration::from_secs(3600)).expect("a role");
    account
}

/// Who logs in.
pub(crate) const NAME: &str = "alice";
/// With what.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

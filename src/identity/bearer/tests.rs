//! The section's keys, and tokens of an issuer over sockets, by a clock that we move.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::built_in::{Environment, Surroundings, build};
use crate::clock::ManualClock;
use crate::clock::from_epoch_seconds;
use crate::fetch::Fetch;
use crate::identity::{BUILT_INS, Evidence, EvidenceError, HolderId, Identity, SourceName, TokenKind};
use crate::jose::Signer;
use crate::server::{Handler, Listener, Manner, Workers};
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::web::{self, Connection, Request, Response};

const NOW: u64 = 1_800_000_000;

fn source(text: &str, clock: &Arc<ManualClock>) -> Result<Arc<dyn IdentitySource>, SettingsError> {
    let surroundings = Surroundings::new(".", Environment::default());
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let settings =
        Settings { name: "services", table: text.parse().unwrap(), surroundings: &surroundings, clock: &clock };
    let materials = Materials {
        fetch: Arc::new(Fetch::new(&Trust::system())),
        metrics: Metrics::new(),
        keys: crate::identity::IssuedKeys::passing(),
    };
    build(BUILT_INS, settings, &materials)
}

#[test]
fn wrong_sections_name_the_key() {
    let clock = Arc::new(ManualClock::at(NOW));
    let good = "kind = \"bearer\"\nissuer = \"https://idp.example.com\"\naudiences = [\"api\"]\n";
    assert!(source(good, &clock).is_ok());
    let keys_at = "jwks_uri = \"https://idp.example.com/keys\"";
    assert!(source(&format!("{}{keys_at}", good.replace("https://idp.example.com", "any text")), &clock).is_ok());
    for (text, key) in [
        (good.replace("[\"api\"]", "[]"), "audiences"),
        (good.replace("\"api\"", "\"\""), "audiences"),
        (good.replace("audiences", "audience"), "audience"),
        (good.replace("https://idp", "http://idp"), "issuer"),
        (good.replace("https://idp.example.com", "any text"), "issuer"),
        (format!("{}{keys_at}", good.replace("https://idp.example.com", "")), "issuer"),
        (format!("{good}jwks_uri = \"http://idp.example.com/keys\""), "jwks_uri"),
        (format!("{good}algorithms = [\"HS256\"]"), "algorithms"),
        (format!("{good}algorithms = [\"none\"]"), "algorithms"),
        (format!("{good}algorithms = []"), "algorithms"),
        (format!("{good}types = []"), "types"),
        (format!("{good}leeway = \"6m\""), "leeway"),
        (format!("{good}claims = {{ azp = 1 }}"), "claims.azp"),
    ] {
        let error = source(&text, &clock).unwrap_err();
        assert!(error.to_string().contains(&format!("`{key}`")), "{text}: {error}");
    }
}

/// An issuer that publishes what it is told to.
struct Far {
    address: String,
    keys: Mutex<Vec<Value>>,
    fetched: AtomicU32,
}

#[async_trait]
impl Handler for Far {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        if request.uri().path() == "/keys" {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            return web::json(StatusCode::OK, &json!({ "keys": *self.keys.lock().unwrap() }));
        }
        let keys = format!("{}/keys", self.address);
        web::json(StatusCode::OK, &json!({ "issuer": self.address, "jwks_uri": keys }))
    }
}

struct Scene {
    far: Arc<Far>,
    source: Arc<dyn IdentitySource>,
    clock: Arc<ManualClock>,
    signer: Signer,
    _workers: Workers,
}

impl Scene {
    fn set() -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (signer, _) = Signer::generate().unwrap();
        let keys = Mutex::new(vec![signer.public_jwk()]);
        let far = Arc::new(Far { address: address.clone(), keys, fetched: AtomicU32::new(0) });
        let workers = Workers::start(1).unwrap();
        let manner = Manner::plain("far", &Metrics::new());
        workers.serve(listener, manner, Arc::clone(&far) as _);
        let clock = Arc::new(ManualClock::at(NOW));
        let text = format!("kind = \"bearer\"\nissuer = \"{address}\"\naudiences = [\"api\"]");
        let source = source(&text, &clock).unwrap();
        Self { far, source, clock, signer, _workers: workers }
    }

    fn token(&self, lives: u64) -> String {
        self.signed(&self.signer, lives)
    }

    fn signed(&self, signer: &Signer, lives: u64) -> String {
        let claims = json!({ "iss": self.far.address, "aud": "api", "sub": "batch", "exp": NOW + lives });
        signer.sign("at+jwt", &claims).unwrap().expose().to_owned()
    }

    /// What is known of it at once.
    fn glance(&self, token: &str) -> Option<Recognition> {
        let (head, ()) = request(token).into_parts();
        self.source.glance(&Caller { head: &head, connection: &connection() })
    }

    /// What is found out.
    async fn recognize(&self, token: &str) -> Recognition {
        let (head, ()) = request(token).into_parts();
        self.source.recognize(&Caller { head: &head, connection: &connection() }).await
    }

    async fn identity(&self, token: &str) -> Identity {
        let Recognition::Verified(identity) = self.recognize(token).await else { panic!("it is not good") };
        identity
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn request(token: &str) -> http::Request<()> {
    http::Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap()
}

fn connection() -> Connection {
    Connection::new("main".into(), "127.0.0.1:1".parse().unwrap(), false)
}

fn is_verified(recognition: Option<Recognition>) -> bool {
    matches!(recognition, Some(Recognition::Verified(_)))
}

#[tokio::test]
async fn who_presents_nothing_is_known_at_a_glance() {
    let scene = Scene::set();
    let (head, ()) = http::Request::new(()).into_parts();
    let glance = scene.source.glance(&Caller { head: &head, connection: &connection() });
    assert!(matches!(glance, Some(Recognition::NotPresented)));
    assert_eq!(scene.far.fetched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_was_verified_is_known_for_a_minute_and_not_past_its_end() {
    let scene = Scene::set();
    let (long, short) = (scene.token(3_600), scene.token(20));
    assert!(scene.glance(&long).is_none(), "it is to be looked into");
    let (first, _) = (scene.identity(&long).await, scene.identity(&short).await);
    assert!(is_verified(scene.glance(&long)) && is_verified(scene.glance(&short)));
    scene.pass(49);
    assert!(is_verified(scene.glance(&short)), "20 s, and 30 s of leeway");
    scene.pass(1);
    assert!(scene.glance(&short).is_none());
    assert!(matches!(scene.recognize(&short).await, Recognition::Rejected(_)));
    scene.pass(10);
    assert!(scene.glance(&long).is_none());
    // verified anew it is the same holder, with what others derived from its claims
    let again = scene.identity(&long).await;
    assert_eq!(first.holder.id, again.holder.id);
    assert!(Arc::ptr_eq(&first.subject, &again.subject));
    assert!(is_verified(scene.glance(&long)));
}

#[tokio::test]
async fn a_key_that_is_withdrawn_counts_for_no_more_than_a_minute() {
    let scene = Scene::set();
    let token = scene.token(3_600);
    scene.identity(&token).await;
    // the issuer changes its key, and a token by the new one makes us look
    let (next, _) = Signer::generate().unwrap();
    *scene.far.keys.lock().unwrap() = vec![next.public_jwk()];
    scene.identity(&scene.signed(&next, 3_600)).await;
    scene.pass(59);
    assert!(is_verified(scene.glance(&token)));
    scene.pass(1);
    assert!(scene.glance(&token).is_none());
    assert!(matches!(scene.recognize(&token).await, Recognition::Rejected(_)));
}

/// A27: a holder is one token of one source.
#[tokio::test]
async fn a27_holders_are_told_apart() {
    let scene = Scene::set();
    let (one, two) = (scene.identity(&scene.token(100)).await, scene.identity(&scene.token(101)).await);
    assert_ne!(one.holder.id, two.holder.id);
    assert_eq!(one.subject, two.subject);
    let (a, b): (SourceName, SourceName) = ("a".into(), "b".into());
    assert_ne!(HolderId::of_credential(&a, &[0; 32]), HolderId::of_credential(&b, &[0; 32]));
}

#[tokio::test]
async fn the_token_is_evidence_until_it_expires_and_never_after() {
    let scene = Scene::set();
    let token = scene.token(100);
    let identity = scene.identity(&token).await;
    let evidence = || identity.holder.evidence.evidence(Duration::from_secs(300));
    let Ok(Evidence::OidcToken(shown)) = evidence().await else { panic!("there is evidence") };
    assert!(shown.matches(&token));
    assert_eq!(identity.holder.ends, from_epoch_seconds(NOW + 130));
    let token_of = |kind| identity.holder.evidence.token(kind, scene.clock.now());
    assert!(token_of(TokenKind::Access).unwrap().matches(&token) && token_of(TokenKind::Id).is_none());
    scene.pass(100);
    assert!(matches!(evidence().await, Err(EvidenceError::Expired)));
    assert!(token_of(TokenKind::Access).is_none());
    assert!(!format!("{identity:?}").contains(&token), "A36");
}

/// What a job's token says, and whether it is let in by the example: claims that differ from a good token's.
fn hostile(example: &str, good: &Value, cases: &[(&str, Value)]) {
    let clock = Arc::new(ManualClock::at(NOW));
    let (_, text) = EXAMPLES.iter().find(|(name, _)| *name == example).unwrap();
    let source = source(text, &clock).unwrap();
    let read = |claims: &Value| source.read(claims.as_object().cloned().unwrap());
    assert!(read(good).is_ok(), "{example}: {:?}", read(good).err());
    for (name, value) in cases {
        let mut claims = good.clone();
        claims[*name] = value.clone();
        assert!(read(&claims).is_err(), "{example}: {name} = {value}");
    }
}

/// A20, A27: jobs of other repositories, of whoever opens a pull request, and names that look alike.
#[test]
fn a20_hostile_jobs_are_not_let_in_by_the_examples() {
    let good = |sub: &str| {
        json!({
            "sub": sub, "ref": "refs/tags/v1.2.3", "repository_id": "74", "repository_owner_id": "65",
            "event_name": "push", "runner_environment": "github-hosted", "repository": "acme/shop",
        })
    };
    let refs = [
        "refs/heads/v1",
        "refs/heads/refs/tags/v1",
        "refs/pull/7/merge",
        "refs/tags/v1/../../heads/x",
        "refs/tags/v1:environment:production",
        "refs/tags/v",
        "refs/tags/V1",
        "refs/tags/x-v1",
        " refs/tags/v1",
        "",
    ];
    let others = [
        ("ref", Value::Null),
        ("ref", json!({ "like": "refs/tags/v1" })),
        ("repository_id", json!("75")),
        ("repository_id", json!("740")),
        ("repository_id", json!(74)),
        ("repository_owner_id", json!("66")),
        ("repository_owner_id", Value::Null),
        ("event_name", json!("pull_request")),
        ("event_name", json!("pull_request_target")),
        ("event_name", json!("issue_comment")),
        ("runner_environment", json!("self-hosted")),
    ];
    let cases: Vec<_> = refs.iter().map(|one| ("ref", json!(one))).chain(others).collect();
    // as subjects are written for old repositories, for those since July 2026, and by an owner's own choice
    for sub in [
        "repo:acme/shop:ref:refs/tags/v1.2.3",
        "repo:acme@65/shop@74:ref:refs/tags/v1.2.3",
        "repository_owner:acme:workflow:release",
    ] {
        hostile("bearer/github-actions", &good(sub), &cases);
    }

    let good = json!({
        "sub": "project_path:acme/shop:ref_type:branch:ref:main", "project_id": "22", "namespace_id": "72",
        "ref_protected": "true", "ref_type": "branch", "pipeline_source": "push",
    });
    let cases = [
        ("project_id", json!("23")),
        ("namespace_id", json!("73")),
        ("namespace_id", Value::Null),
        ("ref_protected", json!("false")),
        ("ref_protected", json!(true)),
        ("ref_type", json!("merge_request")),
        ("pipeline_source", json!("merge_request_event")),
        ("pipeline_source", json!("external_pull_request_event")),
    ];
    hostile("bearer/gitlab", &good, &cases);
}

/// Whoever forgets to say whose tokens are meant would let in the whole world.
#[test]
fn an_issuer_that_all_share_needs_to_be_told_whose_tokens_are_meant() {
    let clock = Arc::new(ManualClock::at(NOW));
    let github = "https://token.actions.githubusercontent.com";
    for (issuer, claims, is_sound) in [
        (github, "", false),
        (github, "claims = { event_name = \"push\" }", false),
        (github, "claims = { sub = { like = \"repo:ac*/shop:environment:production\" } }", false),
        (github, "claims = { repository_owner_id = { like = \"6*\" } }", false),
        (github, "claims = { repository_id = [] }", false),
        (github, "claims = { sub = { like = \"repo:acme/*:environment:production\" } }", true),
        (github, "claims = { sub = { like = \"repo:acme@65/shop@74:ref:refs/tags/v*\" } }", true),
        (github, "claims = { ref = \"refs/heads/main\" }", false),
        (github, "claims = { repository_owner_id = \"65\" }", true),
        ("https://gitlab.com", "", false),
        ("https://gitlab.com", "claims = { project_id = \"22\" }", true),
        ("https://gitlab.example.com", "", true),
    ] {
        let text = format!("kind = \"bearer\"\nissuer = \"{issuer}\"\naudiences = [\"api\"]\n{claims}");
        assert_eq!(source(&text, &clock).is_ok(), is_sound, "{issuer}: {claims}");
    }
}

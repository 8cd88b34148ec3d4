//! Sessions at a provider that renews, refuses, is down, or lies.

mod assertion;

use std::sync::atomic::AtomicUsize;

use serde_json::json;
use tokio::sync::Semaphore;
use url::Url;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::identity::{
    Begun, IdentitySource, Leave, Login, LoginError, LoginMemory, Recognition, RenewError, Returned, Token,
};
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::web::Caller;

/// Sessions, a clock to move, and a provider to switch.
pub(super) struct House {
    pub(super) clock: Arc<ManualClock>,
    pub(super) corp: Arc<Corp>,
    pub(super) sessions: Arc<Sessions>,
    upkeep: Arc<Upkeep>,
}

/// A provider whose tokens live [`LIFE`].
#[derive(Debug)]
pub(super) struct Corp {
    voucher: Arc<str>,
    clock: Arc<ManualClock>,
    manner: Mutex<Manner>,
    asked: AtomicUsize,
    /// Renewals wait for a permit each.
    open: Semaphore,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    Renews,
    Refuses,
    Down,
    Impostor,
    KeepsIdToken,
    HalfWay,
}

const LIFE: Duration = Duration::from_secs(100);
/// The host whose tickets these are.
const HERE: &str = "reports.example.com";

impl House {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let corp = Arc::new(Corp::new("corp", &clock));
        let settings = SessionSettings { max_sessions: 1_000, ..SessionSettings::default() };
        let sessions = Sessions::new(&settings, Arc::clone(&clock) as _, &Metrics::new());
        let upkeep = sessions.upkeep();
        Self { clock, corp, sessions, upkeep }
    }

    async fn with_corp() -> Self {
        let house = Self::new();
        house.sessions.use_sources([(Arc::from("corp"), Arc::clone(&house.corp) as _)]).await;
        house
    }

    pub(super) fn upkeep(&self) -> Arc<Upkeep> {
        Arc::clone(&self.upkeep)
    }

    pub(super) fn session(&self, name: &str) -> Arc<Session> {
        Session::new(self.corp.signed_in(name, true), &SessionSettings::default(), &self.upkeep)
    }

    async fn log_in(&self, name: &str) -> (Arc<Session>, Ticket) {
        self.sessions.start(self.corp.signed_in(name, true), HERE).await.unwrap()
    }

    async fn open(&self, ticket: &Ticket) -> Option<Arc<Session>> {
        self.sessions.open(ticket.expose(), HERE).await.unwrap()
    }
}

impl Corp {
    fn new(voucher: &str, clock: &Arc<ManualClock>) -> Self {
        Self {
            voucher: voucher.into(),
            clock: Arc::clone(clock),
            manner: Mutex::new(Manner::Renews),
            asked: AtomicUsize::new(0),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }

    fn signed_in(&self, name: &str, refresh: bool) -> SignedIn {
        let serial = self.asked.load(Ordering::SeqCst);
        let token =
            |kind| Token { text: Secret::new(format!("{kind}-{name}-{serial}")), ends: self.clock.now() + LIFE };
        let claims = json!({"sub": name, "groups": [format!("group-{serial}")]});
        SignedIn {
            subject: Subject { source: "corp".into(), id: name.into() },
            voucher: Arc::clone(self.voucher()),
            claims: Claims::new(claims.as_object().cloned().unwrap()),
            ends_at: None,
            tokens: Tokens {
                id: Some(token("id")),
                access: Some(token("access")),
                refresh: refresh.then(|| Secret::new(format!("refresh-{name}-{serial}"))),
                ..Tokens::default()
            },
            at_provider: Some(format!("sid-{name}")),
            once: None,
        }
    }

    fn turn(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl IdentitySource for Corp {
    async fn recognize(&self, _caller: &Caller<'_>) -> Recognition {
        Recognition::NotPresented
    }

    fn login(&self) -> Option<&dyn Login> {
        Some(self)
    }
}

#[async_trait]
impl Login for Corp {
    fn label(&self) -> &str {
        "corp"
    }

    fn voucher(&self) -> &Arc<str> {
        &self.voucher
    }

    async fn begin(&self, _callback: &Url, _quietly: bool) -> Result<Begun, LoginError> {
        Err(LoginError::Refused("renewals only".into()))
    }

    async fn finish(&self, _returned: &Returned, _memory: &LoginMemory) -> Result<SignedIn, LoginError> {
        Err(LoginError::Refused("renewals only".into()))
    }

    async fn renew(&self, subject: &Subject, tokens: &Tokens) -> Result<SignedIn, RenewError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _permit = self.open.acquire().await.unwrap();
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Renews => Ok(self.signed_in(&subject.id, true)),
            Manner::KeepsIdToken => {
                let mut signed_in = self.signed_in(&subject.id, true);
                signed_in.tokens.id.clone_from(&tokens.id);
                Ok(signed_in)
            }
            Manner::Refuses => Err(RenewError::Ended("invalid_grant".into())),
            Manner::Down => Err(RenewError::Unavailable("no route".into())),
            Manner::HalfWay => {
                let SignedIn { tokens, .. } = self.signed_in(&subject.id, true);
                Err(RenewError::Incomplete { tokens: Box::new(tokens), source: "no userinfo".into() })
            }
            Manner::Impostor => Ok(self.signed_in("mallory", true)),
        }
    }

    async fn leave(&self, _tokens: &Tokens, _back: &Url) -> Option<Leave> {
        None
    }
}

async fn id_token(session: &Session, valid_for: u64) -> Result<String, EvidenceError> {
    let Evidence::OidcToken(token) = session.evidence(Duration::from_secs(valid_for)).await? else {
        panic!("it has an ID token")
    };
    Ok(token.expose().to_owned())
}

#[tokio::test]
async fn a_ticket_opens_its_session_until_the_end() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    assert!(ticket.expose().len() < 200);
    let opened = house.open(&ticket).await.unwrap();
    assert_eq!((opened.id(), &*opened.identity().subject.id), (session.id(), "alice"));
    let other = house.sessions.admit(&session, HERE).await.unwrap();
    assert_ne!(other.expose(), ticket.expose());
    assert_eq!(house.open(&other).await.unwrap().id(), session.id());

    house.sessions.end(&session, Why::Logout).await.unwrap();
    session.ended().await;
    assert!(house.open(&ticket).await.is_none() && house.open(&other).await.is_none(), "A9: replay after logout");
    assert!(matches!(id_token(&session, 0).await, Err(EvidenceError::Expired)));
}

#[tokio::test]
async fn changed_tickets_open_nothing() {
    let house = House::with_corp().await;
    let (_, ticket) = house.log_in("alice").await;
    let text = ticket.expose();
    // A9, CVE-2026-27840
    for at in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(house.sessions.open(&changed, HERE).await.unwrap().is_none());
        assert!(house.sessions.open(&text[..at], HERE).await.unwrap().is_none());
    }
    assert!(house.sessions.open(&format!("{text}A"), HERE).await.unwrap().is_none());
}

/// A9: whoever runs one host sees the tickets that are sent there. They open nothing elsewhere, and end nothing.
#[tokio::test]
async fn a_ticket_is_for_one_host() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    let wiki = house.sessions.admit(&session, "wiki.example.com").await.unwrap();
    for (ticket, host, opens) in [
        (&ticket, HERE, true),
        (&ticket, "wiki.example.com", false),
        (&ticket, "reports.example.com.evil.example", false),
        (&ticket, "", false),
        (&wiki, HERE, false),
        (&wiki, "wiki.example.com", true),
    ] {
        assert_eq!(house.sessions.open(ticket.expose(), host).await.unwrap().is_some(), opens, "{host}");
    }
    house.sessions.retire(ticket.expose(), "wiki.example.com").await.unwrap();
    assert!(house.open(&ticket).await.is_some());
}

/// A10: a cookie of our name that someone else has set comes first, and is passed over.
#[tokio::test]
async fn a_tossed_cookie_hides_nothing() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    let names = CookieNames::under(&"http://127.0.0.1:8080".parse().unwrap());
    let mut headers = http::HeaderMap::new();
    let cookie = format!("claviger-8080=evil; claviger-8080={}; claviger-8080=", ticket.expose());
    headers.insert(http::header::COOKIE, cookie.parse().unwrap());
    let found = house.sessions.recognize(&headers, &names, HERE, house.clock.now()).await.unwrap().unwrap();
    assert_eq!(found.id(), session.id());
}

#[tokio::test]
async fn sessions_end_unused_and_in_any_case() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    house.clock.advance(Duration::from_secs(3_599));
    assert!(house.open(&ticket).await.is_some());
    house.clock.advance(Duration::from_secs(3_600));
    assert!(house.open(&ticket).await.is_none(), "idle");
    assert!(session.is_over());

    let (session, ticket) = house.log_in("alice").await;
    for _ in 0..23 {
        house.clock.advance(Duration::from_secs(1_800));
        assert!(house.open(&ticket).await.is_some());
    }
    house.clock.advance(Duration::from_secs(1_800));
    assert!(house.open(&ticket).await.is_none(), "lifetime");
    assert!(session.is_over());
}

#[tokio::test]
async fn a_choice_is_kept_by_route_and_can_be_changed() {
    let house = House::with_corp().await;
    let (session, _) = house.log_in("alice").await;
    assert_eq!(session.choice("console"), None);
    for role in ["reader", "admin"] {
        house.sessions.choose(&session, "console", role).await.unwrap();
        assert_eq!(session.choice("console").as_deref(), Some(role));
    }
    assert_eq!(session.choice("files"), None);
    assert_eq!(house.log_in("alice").await.0.choice("console"), None, "each login chooses for itself");
}

#[tokio::test]
async fn the_sweep_ends_what_nobody_asks_for() {
    let house = House::with_corp().await;
    let (session, _) = house.log_in("alice").await;
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&dropped);
    house.sessions.on_end(move |id| seen.lock().unwrap().push(id));
    house.sessions.sweep().await;
    assert!(!session.is_over());
    house.clock.advance(Duration::from_secs(3_600));
    house.sessions.sweep().await;
    session.ended().await;
    house.sessions.sweep().await;
    assert_eq!(*dropped.lock().unwrap(), [session.id()], "once");
}

#[tokio::test]
async fn the_last_ticket_takes_its_session_along() {
    let house = House::with_corp().await;
    let (session, one) = house.log_in("alice").await;
    let two = house.sessions.admit(&session, HERE).await.unwrap();
    house.sessions.retire(one.expose(), HERE).await.unwrap();
    assert!(!session.is_over() && house.open(&one).await.is_none());
    house.sessions.retire(two.expose(), HERE).await.unwrap();
    assert!(session.is_over());
}

/// 200 requests at once find the tokens ended: the provider is asked once, and all go on with the new claims.
#[tokio::test]
async fn many_askers_make_one_renewal() {
    let house = House::with_corp().await;
    let (_, ticket) = house.log_in("alice").await;
    house.clock.advance(LIFE);
    let askers: Vec<_> = (0..200)
        .map(|_| {
            let (sessions, ticket) = (Arc::clone(&house.sessions), ticket.clone());
            tokio::spawn(async move { sessions.open(ticket.expose(), HERE).await.unwrap().unwrap().claims() })
        })
        .collect();
    for asker in askers {
        // CVE-2021-41230: what the provider says now is what counts
        assert_eq!(asker.await.unwrap().texts("groups").collect::<Vec<_>>(), ["group-1"]);
    }
    assert_eq!(house.corp.asked(), 1);
}

#[tokio::test]
async fn a_renewal_ahead_of_time_makes_nobody_wait() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    house.corp.open.forget_permits(Semaphore::MAX_PERMITS);
    house.clock.advance(LIFE.mul_f64(0.71));
    let opened = house.open(&ticket).await.unwrap();
    assert_eq!(opened.claims().texts("groups").collect::<Vec<_>>(), ["group-0"], "the old word still holds");
    house.corp.open.add_permits(1);
    session.renewed().await.unwrap(); // joins the one under way
    assert_eq!((house.corp.asked(), session.claims().texts("groups").next()), (1, Some("group-1")));
}

/// The request that began a renewal goes away: the rotated refresh token is not lost with it.
#[tokio::test]
async fn a_renewal_outlives_who_began_it() {
    let house = House::with_corp().await;
    let (session, _) = house.log_in("alice").await;
    house.corp.open.forget_permits(Semaphore::MAX_PERMITS);
    let gone = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.renewed().await }
    });
    while house.corp.asked() == 0 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    let _ = gone.await;
    let stays = session.renewed();
    house.corp.open.add_permits(1);
    stays.await.unwrap();
    assert_eq!(house.corp.asked(), 1);
    assert!(session.tokens().refresh.unwrap().matches("refresh-alice-1"));
}

#[tokio::test]
async fn a_refused_renewal_ends_the_session() {
    for manner in [Manner::Refuses, Manner::Impostor] {
        let house = House::with_corp().await;
        let (session, ticket) = house.log_in("alice").await;
        house.corp.turn(manner);
        house.clock.advance(LIFE);
        assert!(house.open(&ticket).await.is_none(), "{manner:?}");
        assert!(session.is_over());
    }
}

#[tokio::test]
async fn a_provider_that_is_down_is_left_alone_for_a_while() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    house.corp.turn(Manner::Down);
    house.clock.advance(LIFE);
    for _ in 0..10 {
        assert!(house.open(&ticket).await.is_some(), "the session goes on");
    }
    assert_eq!(house.corp.asked(), 1);
    assert!(matches!(id_token(&session, 0).await, Err(EvidenceError::Unavailable(_))));
    house.clock.advance(Duration::from_secs(1));
    assert!(house.open(&ticket).await.is_some());
    assert_eq!(house.corp.asked(), 2);
    house.clock.advance(Duration::from_secs(1));
    assert!(house.open(&ticket).await.is_some());
    assert_eq!(house.corp.asked(), 2, "twice as long after the second");

    house.corp.turn(Manner::Renews);
    house.clock.advance(Duration::from_secs(60));
    assert!(house.open(&ticket).await.is_some());
    assert_eq!(id_token(&session, 0).await.unwrap(), "id-alice-3", "it recovers by itself");
}

/// The claims can't be had, but the old refresh token is used up: the new one is kept.
#[tokio::test]
async fn half_a_renewal_keeps_the_tokens() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    house.corp.turn(Manner::HalfWay);
    house.clock.advance(LIFE);
    let opened = house.open(&ticket).await.unwrap();
    assert_eq!(opened.claims().texts("groups").collect::<Vec<_>>(), ["group-0"]);
    assert!(session.tokens().refresh.unwrap().matches("refresh-alice-1"));
    assert_eq!(id_token(&session, 99).await.unwrap(), "id-alice-1");
}

#[tokio::test]
async fn evidence_is_as_fresh_as_it_is_asked_for() {
    let house = House::with_corp().await;
    let (session, _) = house.log_in("alice").await;
    assert_eq!(id_token(&session, 99).await.unwrap(), "id-alice-0");
    // longer than the provider's tokens live: the freshest there can be, and no storm of renewals
    assert_eq!(id_token(&session, 300).await.unwrap(), "id-alice-0");
    house.clock.advance(Duration::from_secs(50));
    for _ in 0..10 {
        assert_eq!(id_token(&session, 300).await.unwrap(), "id-alice-1");
    }
    assert_eq!(house.corp.asked(), 1);

    house.corp.turn(Manner::KeepsIdToken);
    house.clock.advance(Duration::from_secs(60));
    assert_eq!(id_token(&session, 60).await.unwrap(), "id-alice-1", "a renewal without a new ID token");
    house.clock.advance(LIFE);
    assert!(matches!(id_token(&session, 0).await, Err(EvidenceError::Expired)));
    assert!(!session.is_over(), "the login is still good");
}

#[tokio::test]
async fn without_a_refresh_token_only_the_evidence_expires() {
    let house = House::with_corp().await;
    let (session, ticket) = house.sessions.start(house.corp.signed_in("alice", false), HERE).await.unwrap();
    house.clock.advance(LIFE);
    assert!(house.open(&ticket).await.is_some());
    assert!(matches!(id_token(&session, 0).await, Err(EvidenceError::Expired)));
    assert_eq!(house.corp.asked(), 0);
}

#[tokio::test]
async fn a_source_that_goes_takes_its_sessions_along() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    house.sessions.use_sources([(Arc::from("other"), Arc::clone(&house.corp) as _)]).await;
    assert!(session.is_over() && house.open(&ticket).await.is_none());
}

/// A21: the same name and the same id, but another provider says so.
#[tokio::test]
async fn a_source_that_is_anothers_takes_its_sessions_along() {
    let house = House::with_corp().await;
    let (session, ticket) = house.log_in("alice").await;
    let another = Arc::new(Corp::new("another", &house.clock));
    house.sessions.use_sources([(Arc::from("corp"), Arc::clone(&another) as _)]).await;
    assert!(session.is_over() && house.open(&ticket).await.is_none());
    // a login that began before comes after
    let late = house.sessions.start(house.corp.signed_in("alice", true), HERE).await;
    assert!(matches!(late, Err(StartError::SourceGone)));
    assert!(house.sessions.of_subject(session.subject()).await.unwrap().is_empty());
    assert!(house.sessions.start(another.signed_in("alice", true), HERE).await.is_ok());
}

#[test]
fn settings_refuse_what_they_do_not_know() {
    let settings: SessionSettings = toml::from_str("idle = \"30m\"\nlifetime = \"8h\"").unwrap();
    assert_eq!((settings.idle.as_secs(), settings.lifetime.as_secs()), (1_800, 28_800));
    for wrong in ["kind = \"rediss\"", "idle = 5", "idle = \"5\"", "max = 1"] {
        assert!(toml::from_str::<SessionSettings>(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn debug_shows_no_token() {
    let house = House::with_corp().await;
    let (session, _) = house.log_in("alice").await;
    let shown = format!("{session:?} {:?}", house.sessions);
    assert!(!shown.contains("id-alice-") && !shown.contains("refresh-alice-"), "{shown}");
}

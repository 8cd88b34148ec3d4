//! The broker against a provider with behaviour and a clock that stands still until it is moved.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::HeaderValue;
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::clock::ManualClock;
use crate::identity::{Evidence, EvidenceError, EvidenceSource, Subject};
use crate::policy::{Call, SessionBounds, Tellable, Way};
use crate::secret::Secret;

mod chains;

/// Issues keys that say for whom, and fails as it is told.
#[derive(Debug)]
struct Service {
    clock: Arc<ManualClock>,
    life: Duration,
    mood: Mutex<Mood>,
    calls: AtomicUsize,
    durations: Mutex<Vec<Option<Duration>>>,
    /// One permit lets one call answer; closed: all do.
    gate: Semaphore,
    arrived: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Mood {
    Good,
    Down,
    Refusing,
    Panicking,
}

#[async_trait]
impl CredentialProvider for Service {
    fn can_tell(&self) -> Tellable {
        Tellable {
            call: Call::AssumeRole,
            session_name: Way::No,
            tags: Way::No,
            source_identity: Way::No,
            duration: Way::No,
        }
    }

    async fn issue(
        &self,
        grant: &Grant,
        holder: &Holder,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        self.answer(grant, &format!("{}|{}", grant.subject.source, grant.subject.id), Some(holder), duration).await
    }

    async fn go_on(
        &self,
        grant: &Grant,
        before: &Credentials,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        self.answer(grant, &format!("{} > {}", before.access_key_id, grant.role.role_name()), None, duration).await
    }
}

impl Service {
    async fn answer(
        &self,
        grant: &Grant,
        key: &str,
        proof: Option<&Holder>,
        duration: Option<Duration>,
    ) -> Result<Credentials, IssueError> {
        let count = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.durations.lock().unwrap().push(duration);
        self.arrived.notify_one();
        let _closed = self.gate.acquire().await.map(|permit| permit.forget());
        if let Some(holder) = proof {
            holder.evidence.evidence(Duration::ZERO).await.map_err(|_| IssueError::EvidenceExpired)?;
        }
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Good => Ok(Credentials {
                access_key_id: format!("{key}|{count}").into(),
                secret_access_key: Secret::new("canary"),
                session_token: HeaderValue::from_static("token"),
                expires: self.clock.now() + self.life,
                issued: self.clock.now(),
                role_session: "".into(),
                request_id: "id".into(),
            }),
            Mood::Down => Err(IssueError::Unavailable { retry_after: None, source: "down".into() }),
            Mood::Refusing => Err(IssueError::Refused {
                role: grant.role.to_string(),
                code: "AccessDenied".to_owned(),
                source: "no".into(),
            }),
            Mood::Panicking => panic!("as told"),
        }
    }
}

/// A login whose proof is good until it is told otherwise.
#[derive(Debug)]
struct Proof(bool);

#[async_trait]
impl EvidenceSource for Proof {
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        if self.0 { Ok(Evidence::OidcToken(Secret::new("token"))) } else { Err(EvidenceError::Expired) }
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    service: Arc<Service>,
    provider: Arc<dyn CredentialProvider>,
    broker: Broker,
    metrics: Metrics,
}

impl Bench {
    /// A service whose keys live an hour and which answers at once.
    fn new() -> Self {
        let bench = Self::gated(Duration::from_secs(3600));
        bench.service.gate.close();
        bench
    }

    /// A service that answers once for each permit of its gate.
    fn gated(life: Duration) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let service = Arc::new(Service {
            clock: Arc::clone(&clock),
            life,
            mood: Mutex::new(Mood::Good),
            calls: AtomicUsize::new(0),
            durations: Mutex::default(),
            gate: Semaphore::new(0),
            arrived: Notify::new(),
        });
        let metrics = Metrics::new();
        let broker = Broker::new(Arc::clone(&clock) as Arc<dyn Clock>, metrics.clone(), Handle::current(), 10_000);
        Self { clock, provider: Arc::clone(&service) as Arc<dyn CredentialProvider>, service, broker, metrics }
    }

    async fn ask(&self, grant: &Arc<Grant>, holder: &Holder) -> Result<Arc<Credentials>, Arc<IssueError>> {
        self.broker.credentials(grant, holder, &self.provider).await
    }

    async fn key(&self, grant: &Arc<Grant>, holder: &Holder) -> String {
        self.ask(grant, holder).await.unwrap().access_key_id.to_string()
    }

    fn is(&self, mood: Mood) {
        *self.service.mood.lock().unwrap() = mood;
    }

    fn calls(&self) -> usize {
        self.service.calls.load(Ordering::SeqCst)
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Waits until everything under way for the grant has been settled.
    async fn settled(&self, grant: &Arc<Grant>) {
        if let Some(landing) = self.broker.0.entries.get(grant).and_then(|entry| entry.under_way()) {
            let _outcome = landing.wait().await;
        }
    }
}

fn grant(source: &str, id: &str) -> Arc<Grant> {
    Arc::new(Grant {
        provider: "aws".into(),
        subject: Arc::new(Subject { source: source.into(), id: id.into() }),
        role: "arn:aws:iam::123456789012:role/reports".parse().unwrap(),
        session_name: "alice".parse().unwrap(),
        duration: None,
        tags: Vec::new(),
        transitive: Vec::new(),
        source_identity: None,
        external_id: None,
        bounds: SessionBounds::default(),
        after: None,
    })
}

fn holder(good: bool, life: u64) -> Holder {
    let ends = crate::clock::from_epoch_seconds(START + life);
    Holder { id: HolderId::random(), ends, evidence: Arc::new(Proof(good)) }
}

/// A27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_first_requests_ask_once() {
    let bench = Arc::new(Bench::gated(Duration::from_secs(3600)));
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (bench, grant, holder) = (Arc::clone(&bench), Arc::new((*grant).clone()), holder.clone());
            tokio::spawn(async move { bench.key(&grant, &holder).await })
        })
        .collect();
    bench.service.arrived.notified().await;
    bench.service.gate.close();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "corp|alice|1");
    }
    assert_eq!(bench.calls(), 1);
    assert!(
        bench.metrics.render().contains("claviger_credentials_issued_total{provider=\"aws\",outcome=\"issued\"} 1")
    );
}

/// A27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_people_ask_a_thousand_times_and_get_their_own() {
    let bench = Arc::new(Bench::new());
    let callers: Vec<_> = (0..1000)
        .map(|i| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { (i, bench.key(&grant("corp", &format!("u{i}")), &holder(true, DAY)).await) })
        })
        .collect();
    for caller in callers {
        let (i, key) = caller.await.unwrap();
        assert!(key.starts_with(&format!("corp|u{i}|")), "{key}");
    }
    assert_eq!(bench.calls(), 1000);
}

/// A27: texts that join to the same are not the same.
#[tokio::test]
async fn nobody_gets_what_another_was_given() {
    let bench = Bench::new();
    let one = holder(true, DAY);
    assert!(bench.key(&grant("a", "bc"), &one).await.starts_with("a|bc|"));
    assert!(bench.key(&grant("ab", "c"), &one).await.starts_with("ab|c|"));
    let mut tagged = (*grant("a", "bc")).clone();
    tagged.tags.push(("team".parse().unwrap(), "x".parse().unwrap()));
    assert_eq!(bench.key(&Arc::new(tagged), &one).await, "a|bc|3");
    assert_eq!(bench.key(&grant("a", "bc"), &one).await, "a|bc|1");
}

#[tokio::test]
async fn renewal_runs_ahead_and_nobody_waits_for_it() {
    let bench = Bench::gated(Duration::from_secs(60)); // as short as a provider's ID token may be
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    bench.service.gate.add_permits(1);
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    bench.advance(38);
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    assert_eq!(bench.calls(), 1, "too early");
    bench.service.arrived.notified().await;
    bench.advance(8); // 46 s: past the latest renewal, 45 s
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    bench.service.arrived.notified().await;
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    assert_eq!(bench.calls(), 2, "one renewal, while the old are served");
    bench.service.gate.add_permits(1);
    bench.settled(&grant).await;
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|2");
}

/// A35
#[tokio::test]
async fn the_last_good_are_served_until_they_end_and_not_past_it() {
    let bench = Bench::new();
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    bench.is(Mood::Down);
    let mut served = 0;
    for _ in 0..3590 {
        bench.advance(1);
        served += usize::from(bench.key(&grant, &holder).await == "corp|alice|1");
        bench.settled(&grant).await;
    }
    assert_eq!(served, 3590);
    assert!((15..60).contains(&bench.calls()), "{} attempts in a third of an hour", bench.calls());
    bench.advance(5);
    let error = bench.ask(&grant, &holder).await.unwrap_err();
    assert!(matches!(&*error, IssueError::Unavailable { retry_after: Some(_), .. }));
    let calls = bench.calls();
    bench.ask(&grant, &holder).await.unwrap_err();
    assert_eq!(bench.calls(), calls, "who has nothing is not let through every time either");
    bench.is(Mood::Good);
    bench.advance(11);
    assert_eq!(bench.key(&grant, &holder).await, format!("corp|alice|{}", calls + 1));
}

/// What moka alone would serve: its clock does not see the suspended hours.
#[tokio::test]
async fn a_laptop_that_slept_seven_hours_asks_anew() {
    let bench = Bench::new();
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    bench.advance(7 * 3600);
    assert!(bench.broker.fresh(&grant, &holder, &bench.provider, bench.clock.now()).is_none());
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|2");
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_while() {
    let bench = Bench::new();
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    bench.is(Mood::Refusing);
    for _ in 0..100 {
        assert!(matches!(&*bench.ask(&grant, &holder).await.unwrap_err(), IssueError::Refused { .. }));
    }
    assert_eq!(bench.calls(), 1);
    bench.is(Mood::Good);
    bench.advance(31);
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|2");
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_along() {
    let bench = Bench::gated(Duration::from_secs(3600));
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    let mut leader = Box::pin(bench.ask(&grant, &holder));
    assert!(futures_util::poll!(&mut leader).is_pending());
    let mut waiter = Box::pin(bench.key(&grant, &holder));
    assert!(futures_util::poll!(&mut waiter).is_pending());
    bench.service.arrived.notified().await;
    drop(leader);
    bench.service.gate.close();
    assert_eq!((waiter.await.as_str(), bench.calls()), ("corp|alice|1", 1));
}

#[tokio::test]
async fn a_provider_that_panics_fails_those_who_wait_and_no_others() {
    let bench = Bench::new();
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    bench.is(Mood::Panicking);
    assert!(matches!(&*bench.ask(&grant, &holder).await.unwrap_err(), IssueError::Unavailable { .. }));
    bench.is(Mood::Good);
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|2");
}

#[tokio::test]
async fn the_last_holder_takes_the_entry_along() {
    let bench = Bench::new();
    let (grant, one, two) = (grant("corp", "alice"), holder(true, DAY), holder(true, DAY));
    bench.key(&grant, &one).await;
    assert_eq!(bench.key(&grant, &two).await, "corp|alice|1", "two logins of one person share");
    bench.broker.release(&one.id);
    assert_eq!(bench.key(&grant, &two).await, "corp|alice|1");
    bench.broker.release(&two.id);
    assert!(!bench.broker.0.entries.contains_key(&grant));
    // a request of theirs that was under way comes too late
    assert!(matches!(&*bench.ask(&grant, &two).await.unwrap_err(), IssueError::EvidenceExpired));
    assert!(bench.broker.0.entries.get(&grant).is_none_or(|entry| entry.is_over(bench.clock.now())));
    assert_eq!(bench.calls(), 1);
}

#[tokio::test]
async fn what_comes_after_the_logout_is_not_kept() {
    let bench = Bench::gated(Duration::from_secs(3600));
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    bench.service.gate.add_permits(1);
    bench.key(&grant, &holder).await;
    bench.service.arrived.notified().await;
    bench.advance(2800);
    bench.key(&grant, &holder).await; // starts a renewal
    bench.service.arrived.notified().await;
    let entry = bench.broker.0.entries.get(&grant).unwrap();
    bench.broker.release(&holder.id);
    let landing = entry.under_way().unwrap();
    bench.service.gate.close();
    assert!(matches!(landing.wait().await, Err(error) if matches!(*error, IssueError::EvidenceExpired)));
    assert!(matches!(entry.turn(bench.clock.now(), &bench.provider, |_| {}), Turn::Gone));
}

#[tokio::test]
async fn what_a_changed_provider_issued_is_dropped() {
    let bench = Bench::new();
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    bench.key(&grant, &holder).await;
    let now = || BTreeMap::from([("aws".into(), Arc::clone(&bench.provider))]);
    bench.broker.use_providers(now(), |name| name == "aws");
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|1");
    bench.broker.use_providers(now(), |_| false);
    assert_eq!(bench.key(&grant, &holder).await, "corp|alice|2");
    bench.broker.release(&holder.id);
    assert!(!bench.broker.0.entries.contains_key(&grant));
}

/// A33: of what an earlier generation's provider issues nothing is kept, and nothing of its successor's is given out.
#[tokio::test]
async fn a_request_of_an_earlier_generation_keeps_to_its_own_provider() {
    let (earlier, now) = (Bench::new(), Bench::new());
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    let broker = &earlier.broker;
    assert_eq!(earlier.key(&grant, &holder).await, "corp|alice|1");
    broker.use_providers(BTreeMap::from([("aws".into(), Arc::clone(&now.provider))]), |_| false);
    for calls in [2, 3] {
        assert_eq!(earlier.key(&grant, &holder).await, format!("corp|alice|{calls}"));
        assert!(!broker.0.entries.contains_key(&grant));
    }
    for _ in 0..2 {
        let credentials = broker.credentials(&grant, &holder, &now.provider).await.unwrap();
        assert_eq!(&*credentials.access_key_id, "corp|alice|1");
    }
    assert_eq!((earlier.key(&grant, &holder).await.as_str(), now.calls()), ("corp|alice|4", 1));
    assert!(broker.fresh(&grant, &holder, &now.provider, now.clock.now()).is_some());

    // the same section built anew, as for another signing key: what it issued stays
    let anew: Arc<dyn CredentialProvider> = Arc::clone(&Bench::new().provider);
    broker.use_providers(BTreeMap::from([("aws".into(), Arc::clone(&anew))]), |_| true);
    assert!(broker.fresh(&grant, &holder, &anew, now.clock.now()).is_some());
    assert!(broker.fresh(&grant, &holder, &now.provider, now.clock.now()).is_none());
}

#[tokio::test]
async fn an_old_login_is_helped_out_by_a_newer_one() {
    let bench = Bench::new();
    let (grant, old, new) = (grant("corp", "alice"), holder(false, DAY), holder(true, DAY));
    assert!(matches!(&*bench.ask(&grant, &old).await.unwrap_err(), IssueError::EvidenceExpired));
    assert_eq!(bench.key(&grant, &new).await, "corp|alice|2", "no memory of the other's failure");
    bench.advance(7200);
    assert_eq!(bench.key(&grant, &old).await, "corp|alice|4");
}

#[tokio::test]
async fn keys_are_asked_for_no_longer_than_the_longest_login_lives() {
    let bench = Bench::new();
    bench.key(&grant("corp", "short"), &holder(true, 1800)).await;
    bench.key(&grant("corp", "long"), &holder(true, DAY)).await;
    let mut wanted = (*grant("corp", "wanted")).clone();
    wanted.duration = Some(Duration::from_secs(43_200));
    bench.key(&Arc::new(wanted), &holder(true, 7200)).await;
    let seconds = |s| Some(Duration::from_secs(s));
    assert_eq!(*bench.service.durations.lock().unwrap(), [seconds(1800), None, seconds(7200)]);
}

#[tokio::test]
async fn sweeping_drops_what_has_ended() {
    let bench = Bench::new();
    let (ending, staying) = (grant("corp", "ending"), grant("corp", "staying"));
    bench.key(&ending, &holder(true, 1800)).await;
    bench.key(&staying, &holder(true, DAY)).await;
    assert!(bench.metrics.render().contains("claviger_credentials_entries 2"));
    bench.advance(1801);
    bench.broker.sweep();
    let kept: HashSet<_> = bench.broker.0.entries.iter().map(|(grant, _)| grant.subject.id.to_string()).collect();
    assert_eq!(kept, HashSet::from(["staying".to_owned()]));
    bench.advance(3600); // its keys ended, and nobody came back
    bench.broker.sweep();
    assert_eq!(bench.broker.0.entries.iter().count(), 0);
    assert!(bench.metrics.render().contains("claviger_credentials_entries 0"));
}

#[tokio::test]
async fn keys_that_had_ended_when_they_came_are_a_failure() {
    let bench = Bench::gated(Duration::ZERO);
    bench.service.gate.close();
    let (grant, holder) = (grant("corp", "alice"), holder(true, DAY));
    for _ in 0..10 {
        assert!(matches!(&*bench.ask(&grant, &holder).await.unwrap_err(), IssueError::Unavailable { .. }));
    }
    assert_eq!(bench.calls(), 1);
}

const START: u64 = 1_456_380_211;
const DAY: u64 = 86_400;

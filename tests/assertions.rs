//! `kind = "saml"` of `[credentials.*]`: the response of a login, shown to an STS that knows its provider.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use claviger::authority::{Account, Authority, PolicyText};
use claviger::built_in::{self, Environment, Settings, Surroundings};
use claviger::clock::{Clock, SystemClock};
use claviger::credentials::{self, BUILT_INS, CredentialProvider, IssueError};
use claviger::fetch::Fetch;
use claviger::identity::{
    Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Identity, RolePair, SamlResponse, Subject,
};
use claviger::policy::{AllowSettings, Ask, Grant, NormalPath, Policy, WantSettings, Wanted};
use claviger::saml::{
    AssertionOf, Certificate, NameId, ProviderOf, ResponseOf, SUCCESS, Signing, SigningKey, fresh_id,
};
use claviger::secret::Secret;
use claviger::server::{Listener, Manner, Workers};
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use http::Method;
use serde_json::{Value, json};

const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/corp";
const ENTITY: &str = "https://idp.example.com/saml";
const ATTRIBUTE: &str = "https://aws.amazon.com/SAML/Attributes/";
const DAY: u64 = 86_400;

/// Somebody's response; none: it is too old by our own clock.
#[derive(Debug)]
struct Shows(Option<SamlResponse>);

#[async_trait]
impl EvidenceSource for Shows {
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        self.0.clone().map(Evidence::SamlResponse).ok_or(EvidenceError::Expired)
    }
}

/// The system's clock, so many seconds ahead.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// An STS that knows a provider, and what asks it.
struct Corp {
    key: SigningKey,
    authority: Arc<Authority>,
    credentials: Arc<dyn CredentialProvider>,
    /// What those go by.
    clock: Arc<Ahead>,
    _workers: Workers,
}

impl Corp {
    fn start() -> Self {
        let key = key();
        let mut account = Account::new("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap());
        account.add_saml_provider("corp", metadata(&key).as_bytes(), &[], &[]).unwrap();
        for (role, longest) in [("short", 3600), ("odd", 10_000), ("long", 43_200)] {
            let trust = json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithSAML",
            }]});
            account.add_role(role, PolicyText::Json(trust.to_string()), Duration::from_secs(longest)).unwrap();
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        let authority = Authority::new(account, &fetch, Arc::clone(&clock), &Metrics::new());
        let (workers, listener) =
            (Workers::start(1).unwrap(), Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        let at = listener.local_addr().unwrap();
        workers.serve(listener, Manner::plain("sts", &Metrics::new()), Arc::clone(&authority) as _);

        let surroundings = Surroundings::new(".", Environment::default());
        let table = format!("kind = \"saml\"\nregion = \"eu-west-1\"\nendpoint = \"http://{at}\"").parse().unwrap();
        let clock = Arc::new(Ahead::default());
        let ours: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let settings = Settings { name: "aws", table, surroundings: &surroundings, clock: &ours };
        let credentials = built_in::build(BUILT_INS, settings, &credentials::Materials { mint: None }).unwrap();
        Self { key, authority, credentials, clock, _workers: workers }
    }

    /// A response for alice that offers every role, in either order.
    fn response(&self) -> SamlResponse {
        response(&self.key, SystemClock.now())
    }

    /// How long the keys live that are issued for this role in a session of this life, or why there are none.
    async fn issued(&self, role: &str, shown: Option<SamlResponse>, session: u64) -> Result<u64, IssueError> {
        let now = SystemClock.now();
        let holder = Holder {
            id: HolderId::random(),
            ends: now + Duration::from_secs(session),
            evidence: Arc::new(Shows(shown)),
        };
        let grant = self.grant(role, &holder).unwrap();
        let issued = self.credentials.issue(&grant, &holder, None).await?;
        let session = format!("arn:aws:sts::123456789012:assumed-role/{role}/alice@corp");
        assert_eq!(&*issued.role_session, session);
        Ok(issued.expires.duration_since(now).unwrap().as_secs())
    }

    /// What the policy makes of a route with this role, for whoever logged in with such a response.
    fn grant(&self, role: &str, holder: &Holder) -> Result<Arc<Grant>, String> {
        let want = WantSettings { role: Some(arn(role)), ..WantSettings::default() };
        let told = Some(("aws", self.credentials.can_tell()));
        let policy = Policy::build(&AllowSettings::SignedIn, Some(&want), told).unwrap();
        let claims = json!({format!("{ATTRIBUTE}Role"): pairs(), format!("{ATTRIBUTE}RoleSessionName"): "alice@corp"});
        let Value::Object(claims) = claims else { unreachable!() };
        let identity = Identity {
            subject: Arc::new(Subject { source: "corp".into(), id: "alice".into() }),
            claims: Claims::new(claims),
            ends_at: holder.ends,
            holder: holder.clone(),
        };
        let permit = policy.decide(Ask {
            identity: Some(&identity),
            method: &Method::GET,
            path: &NormalPath::parse("/").unwrap(),
            peer: Ipv4Addr::LOCALHOST.into(),
            role: Wanted::Any,
            now: SystemClock.now(),
        });
        permit.map(|permit| Arc::clone(permit.grant().unwrap())).map_err(|denied| denied.to_string())
    }

    fn asked(&self) -> u64 {
        self.authority.calls("AssumeRoleWithSAML")
    }
}

#[tokio::test]
async fn the_longest_that_all_allow_is_asked_for() {
    let corp = Corp::start();
    let lives = async |role, response, session, wanted: u64| {
        let lives = corp.issued(role, Some(response), session).await.unwrap();
        assert!((wanted - 20..=wanted).contains(&lives), "{role}: {lives} for {wanted}");
    };
    lives("long", corp.response(), DAY, 43_200).await; // STS's own most
    lives("long", corp.response(), 5000, 5000).await; // the session's life
    lives("long", corp.response(), 60, 900).await; // STS gives none for less
    let hour = Some(Duration::from_secs(3600));
    lives("long", SamlResponse { session_duration: hour, ..corp.response() }, DAY, 3600).await;
    let soon = Some(SystemClock.now() + Duration::from_secs(1800));
    lives("long", SamlResponse { session_ends: soon, ..corp.response() }, DAY, 1800).await;
    lives("short", corp.response(), DAY, 3600).await; // the role's MaxSessionDuration
    lives("odd", corp.response(), DAY, 7200).await;
    // what the role allows is known from then on
    let before = corp.asked();
    lives("odd", corp.response(), DAY, 7200).await;
    assert_eq!(corp.asked(), before + 1);
    // for a day: its owner may have come to allow more
    corp.clock.0.store(DAY, Ordering::Relaxed);
    lives("odd", corp.response(), 2 * DAY, 7200).await;
    assert_eq!(corp.asked(), before + 5);
}

#[tokio::test]
async fn what_is_refused_is_sorted_by_what_helps() {
    let corp = Corp::start();
    // too old, by our clock or by that of STS: a new login helps
    assert!(matches!(corp.issued("long", None, DAY).await, Err(IssueError::EvidenceExpired)));
    let old = response(&corp.key, SystemClock.now() - Duration::from_secs(600));
    assert!(matches!(corp.issued("long", Some(old), DAY).await, Err(IssueError::EvidenceExpired)));
    // another's signature: nothing helps
    let forged = response(&key(), SystemClock.now());
    let refused = corp.issued("long", Some(forged), DAY).await;
    assert!(matches!(refused, Err(IssueError::Refused { code, .. }) if code == "InvalidIdentityToken"));
    // a session whose response no longer names the role: STS is not asked
    let before = corp.asked();
    let none = SamlResponse { roles: Vec::new(), ..corp.response() };
    let refused = corp.issued("long", Some(none), DAY).await;
    assert!(matches!(refused, Err(IssueError::Refused { code, .. }) if code == "RoleNotInResponse"));
    assert_eq!(corp.asked(), before);
}

/// A20: what the policy offers and the provider does not is nobody's.
#[tokio::test]
async fn a_role_that_the_response_does_not_name_is_not_given() {
    let corp = Corp::start();
    let ends = SystemClock.now() + Duration::from_secs(60);
    let holder = Holder { id: HolderId::random(), ends, evidence: Arc::new(Shows(None)) };
    let denied = corp.grant("admin", &holder).unwrap_err();
    assert!(denied.contains(&arn("admin")) && denied.contains("Attributes/Role"), "{denied}");
}

fn arn(role: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{role}")
}

fn pairs() -> Vec<String> {
    vec![
        format!("{},{PROVIDER}", arn("short")),
        format!("{PROVIDER},{}", arn("long")),
        format!("{},{PROVIDER}", arn("odd")),
    ]
}

fn key() -> SigningKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["idp.example.com".to_owned()]).unwrap();
    let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
    SigningKey::new(&Secret::new(pair.serialize_pem()), certificate).unwrap()
}

fn metadata(key: &SigningKey) -> String {
    let provider = ProviderOf {
        entity_id: ENTITY,
        sign_on_url: "https://idp.example.com/sso",
        logout_url: None,
        signing: &[key.certificate()],
        wants_signed_requests: false,
        name_id_formats: &[],
        valid_until: None,
    };
    provider.write(None).unwrap()
}

fn response(key: &SigningKey, at: SystemTime) -> SamlResponse {
    let name_id = NameId { value: "alice".to_owned(), format: None, name_qualifier: None, sp_name_qualifier: None };
    let (role, session_name) = (format!("{ATTRIBUTE}Role"), format!("{ATTRIBUTE}RoleSessionName"));
    let attributes = [(role.as_str(), pairs()), (session_name.as_str(), vec!["alice@corp".to_owned()])];
    let assertion = AssertionOf {
        name_id: &name_id,
        recipient: "https://signin.aws.amazon.com/saml",
        audience: "urn:amazon:webservices",
        attributes: &attributes,
        session_index: &fresh_id(),
        authn_instant: at,
        authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
        session_ends_at: None,
        lives: Duration::from_secs(3600),
    };
    let response = ResponseOf {
        issuer: ENTITY,
        destination: "https://apps.example.com/acs",
        in_response_to: Some("_request"),
        status: SUCCESS,
        status_detail: None,
        assertion: Some(assertion),
        at,
    };
    let document = response.build(Signing { key, response: false, assertion: true, encrypt: None }).unwrap();
    SamlResponse {
        document: Secret::new(document.as_is().value),
        roles: pairs().iter().filter_map(|pair| RolePair::read(pair)).collect(),
        taken_until: at + Duration::from_secs(300),
        session_duration: None,
        session_ends: None,
    }
}

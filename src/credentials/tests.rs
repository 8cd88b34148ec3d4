//! Both kinds against an STS on a socket, whose answer is decided by the role it is asked for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::built_in::{self, Environment, Settings, SettingsError, Surroundings};
use crate::clock::{Clock, ManualClock, from_epoch_seconds};
use crate::identity::{Evidence, EvidenceError, EvidenceSource, HolderId, Subject};
use crate::jose::{Expected, KeySet, Signer, verify};
use crate::policy::SessionBounds;

const ROLE_SESSION: &str = "arn:aws:sts::123456789012:assumed-role/reports/alice";

type Form = HashMap<String, String>;

/// Answers by the role's name, and keeps what it was asked.
#[derive(Debug, Default)]
struct FakeSts {
    asked: Mutex<Vec<Form>>,
}

impl FakeSts {
    async fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sts, address) = (Arc::new(Self::default()), listener.local_addr().unwrap());
        let serving = Arc::clone(&sts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sts = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&sts).answer(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (sts, address)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_signed = request.headers().contains_key("authorization");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let form: Form = form_urlencoded::parse(&body).into_owned().collect();
        let action = &form["Action"];
        assert_eq!(is_signed, action == "AssumeRole", "a token is the proof, else a signature is");
        let attempts = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(form.clone());
            asked.len()
        };
        let role = form["RoleArn"].rsplit('/').next().unwrap().to_owned();
        let (status, body) = match &*role {
            "denied" => refusal(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
            "claim" => refusal(403, "IDPRejectedClaim", "no"),
            "expired" => refusal(400, "ExpiredTokenException", "Token expired: current date/time must be before"),
            "expired-vaguely" => refusal(400, "InvalidIdentityToken", "The token has Expired"),
            "expired-at-minio" => refusal(400, "InvalidParameterValue", "token is expired"),
            "invalid" => refusal(400, "InvalidIdentityToken", "Couldn't verify the signature"),
            "throttled" => refusal(400, "Throttling", "Rate exceeded"),
            "unreachable-keys" => refusal(400, "IDPCommunicationError", "no keys"),
            "down" => (503, "<html>".to_owned()),
            "page" => (403, "<html>go away</html>".to_owned()),
            "flaky" if attempts < 3 => (500, String::new()),
            "minio" => (200, success(action, "", "M1NI0KEY")),
            _ => (200, success(action, ROLE_SESSION, "ASIAEXAMPLE")),
        };
        Ok(Response::builder().status(status).header("x-amzn-requestid", "id-1").body(body.into()).unwrap())
    }
}

fn refusal(status: u16, code: &str, message: &str) -> (u16, String) {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>id-1</RequestId></ErrorResponse>"
    );
    (status, body)
}

fn success(action: &str, arn: &str, key: &str) -> String {
    let user = format!("<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>AROA:alice</AssumedRoleId></AssumedRoleUser>");
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <{action}Result>{user}<Credentials><AccessKeyId>{key}</AccessKeyId>\
         <SecretAccessKey>canary</SecretAccessKey><SessionToken>tok/en+=</SessionToken>\
         <Expiration>2016-02-25T07:03:31Z</Expiration></Credentials></{action}Result>\
         <ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></{action}Response>"
    )
}

#[derive(Debug)]
struct IdToken;

#[async_trait]
impl EvidenceSource for IdToken {
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        Ok(Evidence::OidcToken(Secret::new("the-id-token")))
    }
}

fn holder() -> Holder {
    Holder { id: HolderId::random(), ends: from_epoch_seconds(NOW + 86_400), evidence: Arc::new(IdToken) }
}

fn grant(role: &str) -> Grant {
    Grant {
        provider: "aws".into(),
        subject: Arc::new(Subject { source: "corp".into(), id: "u-1".into() }),
        role: format!("arn:aws:iam::123456789012:role/{role}").parse().unwrap(),
        session_name: "alice".parse().unwrap(),
        duration: None,
        tags: vec![("team".parse().unwrap(), "x".parse().unwrap())],
        transitive: Vec::new(),
        source_identity: None,
        external_id: None,
        bounds: SessionBounds::default(),
        after: None,
    }
}

fn build(table: &str, mint: Option<Arc<Mint>>) -> Result<Arc<dyn CredentialProvider>, SettingsError> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let surroundings = Surroundings::new(".", Environment::default());
    let table = toml::from_str(table).unwrap();
    let settings = Settings { name: "aws", table, surroundings: &surroundings, clock: &clock };
    built_in::build(BUILT_INS, settings, &Materials { mint })
}

fn kind(kind: &str, sts: SocketAddr, mint: Option<Arc<Mint>>) -> Arc<dyn CredentialProvider> {
    build(&format!("kind = \"{kind}\"\nregion = \"eu-west-1\"\nendpoint = \"http://{sts}\""), mint).unwrap()
}

fn mint() -> Arc<Mint> {
    Mint::new("https://apps.example.com/.claviger/issuer".parse().unwrap(), Signer::generate().unwrap().0, Vec::new())
}

#[tokio::test]
async fn the_persons_own_token_is_shown() {
    let (sts, address) = FakeSts::start().await;
    let provider = kind("web_identity", address, None);
    let credentials = provider.issue(&grant("reports"), &holder(), None).await.unwrap();
    assert_eq!(&*credentials.access_key_id, "ASIAEXAMPLE");
    assert!(credentials.secret_access_key.matches("canary"));
    assert!(credentials.session_token.is_sensitive() && credentials.session_token == "tok/en+=");
    assert_eq!(credentials.expires, from_epoch_seconds(NOW + 3600));
    assert_eq!((&*credentials.request_id, credentials.issued), ("id-1", from_epoch_seconds(NOW)));
    assert_eq!(&*credentials.role_session, ROLE_SESSION);
    assert!(!format!("{credentials:?}").contains("canary") && !format!("{credentials:?}").contains("tok/en"));

    provider.issue(&grant("minio"), &holder(), Some(Duration::from_secs(900))).await.unwrap();
    let asked = sts.asked.lock().unwrap();
    assert_eq!(asked[0]["Action"], "AssumeRoleWithWebIdentity");
    assert_eq!(asked[0]["WebIdentityToken"], "the-id-token");
    assert_eq!((&*asked[0]["RoleSessionName"], asked[0].get("DurationSeconds")), ("alice", None));
    assert_eq!(asked[1]["DurationSeconds"], "900");
}

#[tokio::test]
async fn a_chain_goes_on_by_the_keys_before_for_an_hour_at_most() {
    let (sts, address) = FakeSts::start().await;
    let provider = kind("web_identity", address, None);
    let before = provider.issue(&grant("reports"), &holder(), None).await.unwrap();
    let bounds = SessionBounds {
        policy: Some(r#"{"Statement":[]}"#.into()),
        policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".parse().unwrap()],
    };
    let far = Grant { external_id: Some("agreed".parse().unwrap()), bounds, ..grant("minio") };
    provider.go_on(&far, &before, Some(Duration::from_secs(7200))).await.unwrap();
    provider.issue(&far, &holder(), None).await.unwrap();
    let asked = sts.asked.lock().unwrap();
    assert_eq!((&*asked[1]["Action"], &*asked[1]["DurationSeconds"]), ("AssumeRole", "3600"));
    assert_eq!((&*asked[1]["ExternalId"], &*asked[1]["Tags.member.1.Key"]), ("agreed", "team"));
    for asked in &asked[1..] {
        assert_eq!(asked["Policy"], r#"{"Statement":[]}"#);
        assert_eq!(asked["PolicyArns.member.1.arn"], "arn:aws:iam::aws:policy/ReadOnlyAccess");
    }
}

#[tokio::test]
async fn a_minted_token_says_who_and_what() {
    let (sts, address) = FakeSts::start().await;
    let mint = mint();
    kind("minted", address, Some(Arc::clone(&mint))).issue(&grant("reports"), &holder(), None).await.unwrap();
    let asked = sts.asked.lock().unwrap();
    let keys = KeySet::parse(mint.key_set().to_string().as_bytes()).unwrap();
    let now = from_epoch_seconds(NOW);
    let audiences = &["sts.amazonaws.com"];
    let expected = Expected { issuer: mint.issuer(), audiences, now, leeway: Duration::ZERO };
    let claims = verify(&asked[0]["WebIdentityToken"], &keys, &expected).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["https://aws.amazon.com/tags"]["principal_tags"]["team"][0]),
        (&"corp/u-1".into(), &"x".into())
    );
}

/// What helps is the kind of the error: a new login, nothing, or time (A35).
#[tokio::test]
async fn refusals_are_sorted_by_what_helps() {
    let (_sts, address) = FakeSts::start().await;
    let (web_identity, minted) = (kind("web_identity", address, None), kind("minted", address, Some(mint())));
    for (role, web_identity_says, minted_says) in [
        ("denied", "refused AccessDenied", "refused AccessDenied"),
        ("claim", "refused IDPRejectedClaim", "refused IDPRejectedClaim"),
        ("invalid", "refused InvalidIdentityToken", "refused InvalidIdentityToken"),
        ("expired", "expired", "unavailable"), // a new login brings no better minted token
        ("expired-vaguely", "expired", "unavailable"),
        ("expired-at-minio", "expired", "unavailable"),
        ("throttled", "unavailable", "unavailable"),
        ("unreachable-keys", "unavailable", "unavailable"),
        ("down", "unavailable", "unavailable"),
        ("page", "unavailable", "unavailable"),
    ] {
        assert_eq!(word(web_identity.issue(&grant(role), &holder(), None).await), web_identity_says, "{role}");
        assert_eq!(word(minted.issue(&grant(role), &holder(), None).await), minted_says, "{role}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let (sts, address) = FakeSts::start().await;
    let provider = kind("web_identity", address, None);
    assert_eq!(word(provider.issue(&grant("flaky"), &holder(), None).await), "issued");
    assert_eq!(sts.asked.lock().unwrap().len(), 3);
    assert_eq!(word(provider.issue(&grant("denied"), &holder(), None).await), "refused AccessDenied");
    assert_eq!(sts.asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let outcome = kind("web_identity", gone, None).issue(&grant("reports"), &holder(), None).await;
    assert_eq!(word(outcome), "unavailable");
}

#[test]
fn keys_end_soon_in_their_last_quarter_or_four_minutes() {
    let (issued, second) = (from_epoch_seconds(1_000_000), Duration::from_secs(1));
    for (life, soon) in [(43_200, 240), (3600, 240), (900, 225), (8, 2)] {
        let expires = issued + second * life;
        let credentials = Credentials {
            access_key_id: "ASIA".into(),
            secret_access_key: Secret::new("secret"),
            session_token: HeaderValue::from_static("token"),
            expires,
            issued,
            role_session: "".into(),
            request_id: "".into(),
        };
        let at = expires - second * soon;
        assert!(credentials.end_soon(at) && !credentials.end_soon(at - second), "{life}");
    }
}

#[test]
fn mistakes_name_their_keys() {
    for (table, key) in [
        ("kind = \"web_identity\"", ""),
        ("kind = \"web_identity\"\nregion = \"Europe\"", "region"),
        ("kind = \"web_identity\"\nregion = \"eu-west-1\"\nendpoint = \"ftp://x\"", "endpoint"),
        ("kind = \"web_identity\"\nregion = \"eu-west-1\"\nendpoint = \"http://minio.example.com:9000\"", "endpoint"),
        ("kind = \"web_identity\"\nregion = \"eu-west-1\"\nendpoint = \"http://10.0.0.1:9000\"", "endpoint"),
        ("kind = \"web_identity\"\nregion = \"eu-west-1\"\nendpoint = \"http://u@x/?a\"", "endpoint"),
        ("kind = \"web_identity\"\nregion = \"eu-west-1\"\nendpoint_ca = \"no-such.pem\"", "endpoint_ca"),
        ("kind = \"web_identity\"\nregion = \"eu-west-1\"\naudience = \"x\"", "audience"),
        ("kind = \"minted\"\nregion = \"eu-west-1\"", "kind"),
    ] {
        assert_eq!(build(table, None).unwrap_err().key, key, "{table}");
    }
    for example in BUILT_INS {
        build(example.example, Some(mint())).unwrap();
    }
}

fn word(outcome: Result<Credentials, IssueError>) -> String {
    match outcome {
        Ok(_) => "issued".to_owned(),
        Err(IssueError::Refused { code, .. }) => format!("refused {code}"),
        Err(IssueError::EvidenceExpired) => "expired".to_owned(),
        Err(IssueError::Unavailable { .. }) => "unavailable".to_owned(),
    }
}

const NOW: u64 = 1_456_380_211; // 2016-02-25T06:03:31Z

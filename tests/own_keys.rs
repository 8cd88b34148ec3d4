//! `assume_role`: claviger's own keys, from each place where they may be, ask for the person's role.

mod places;

use std::time::Duration;

use claviger::aws::{AssumedRole, Bounds, Keys, Role, Sts};
use claviger::clock::{Clock as _, SystemClock};
use claviger::secret::Secret;
use http::StatusCode;
use serde_json::Value;

use crate::support::own_keys::{OWN_KEY, OWN_SECRET};
use crate::support::routes::OPEN;
use crate::support::secure::certificate;
use crate::support::world::{Plan, World};
use places::Places;

const OWN: &str = r#"
[credentials.own]
kind = "assume_role"
region = "eu-west-1"
endpoint = "{authority}"
external_id = "agreed-on"
BASE

[route.app]
host = "*"
upstream = "{upstream}"
credentials = "own"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/own"
tags = { department = "{claims.department}" }
transitive_tags = ["department"]
source_identity = "{subject.id}"
duration = "2h"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

/// `base` is as the config has it; empty: not set.
fn plan(base: &str) -> Plan {
    Plan::with_routes(&[&OWN.replace("BASE", base), OPEN].concat()).log("trace")
}

impl World {
    /// Keys of the role `machine`, which claviger's own user may take.
    async fn machine(&self) -> AssumedRole {
        let endpoint = format!("http://{}", self.authority_at).parse().unwrap();
        let sts = Sts::new(&"eu-west-1".parse().unwrap(), Some(&endpoint), None).unwrap();
        let keys =
            Keys { access_key_id: OWN_KEY.to_owned(), secret_access_key: Secret::new(OWN_SECRET), session_token: None };
        let ask = Role {
            role: &"arn:aws:iam::123456789012:role/machine".parse().unwrap(),
            session_name: &"claviger".parse().unwrap(),
            duration: None,
            tags: &[],
            transitive: &[],
            source_identity: None,
            external_id: None,
            bounds: Bounds::default(),
        };
        sts.assume_role(ask, &keys).await.unwrap()
    }

    /// What the last AssumeRole said under this name.
    fn asked(&self, name: &str) -> Option<String> {
        let said = self.sts_tap.said();
        let said = said.iter().rfind(|said| said.asked.contains("Action=AssumeRole&"))?;
        let value = form_urlencoded::parse(said.asked.as_bytes()).find(|(key, _)| key == name);
        value.map(|(_, value)| value.into_owned())
    }

    /// Somebody who has just logged in opens the page.
    async fn opened_by(&self, name: &str) -> (StatusCode, String) {
        let mut browser = self.newcomer(name).await;
        let answer = browser.open(&self.url("/page")).await;
        (answer.status, answer.text().to_owned())
    }

    /// The last request is signed with alice's own session of the role.
    async fn signed_for_alice(&self) -> Value {
        let signer = self.signer(&self.upstream.last(), "s3").await;
        let role = "arn:aws:iam::123456789012:role/own";
        assert_eq!((&signer["role"], &signer["source_identity"]), (&role.into(), &"sub-alice".into()), "{signer}");
        assert_eq!(signer["tags"]["department"], "finance", "{signer}");
        assert_eq!(self.asked("ExternalId").as_deref(), Some("agreed-on"));
        assert_eq!(self.asked("TransitiveTagKeys.member.1").as_deref(), Some("department"));
        signer
    }

    /// A36: nothing of what is secret is in the log.
    async fn told_nothing(&self, secrets: &[&str]) {
        let log = self.log().await.join("\n");
        assert!(log.contains("credentials were issued") || log.contains("credentials can't be issued now"));
        for secret in secrets {
            assert!(!log.contains(secret), "a secret is in the log");
        }
    }
}

/// A user's keys start no role chain: STS is asked for what the route wants.
#[tokio::test]
async fn keys_of_the_environment_ask_for_the_persons_role() {
    let plan = plan("").variable("AWS_ACCESS_KEY_ID", OWN_KEY).variable("AWS_SECRET_ACCESS_KEY", OWN_SECRET);
    let world = plan.start().await;
    let (status, page) = world.opened_by("alice").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    world.signed_for_alice().await;
    assert_eq!(world.asked("DurationSeconds").as_deref(), Some("7200"));
    world.told_nothing(&[OWN_SECRET]).await;

    // the role's trust policy is heard: bob's tag is another
    let before = world.upstream.seen().len();
    let (status, page) = world.opened_by("bob").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(page.contains("role/own") && page.contains("AccessDenied"), "{page}");
    assert_eq!(world.upstream.seen().len(), before + 1, "but for the page without credentials");
}

/// As with EKS pod identity: a token from a file, as it is and read anew each time, and keys that are asked for again
/// when they have ended. Keys of a role give an hour at most.
#[tokio::test]
async fn keys_of_the_container_endpoint_are_asked_for_with_the_tokens_file() {
    let (places, folder) = (Places::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("token");
    std::fs::write(&file, "pod-token-1\n").unwrap();
    let plan = plan("base = [\"container\"]")
        .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &places.url("/v1/credentials"))
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not-this-one")
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap());
    let world = plan.start().await;
    let machine = world.machine().await;
    places.give(&machine, SystemClock.now());
    let (status, page) = world.opened_by("alice").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    world.signed_for_alice().await;
    assert_eq!(world.asked("DurationSeconds").as_deref(), Some("3600"));

    places.give(&machine, SystemClock.now() + Duration::from_secs(3600));
    std::fs::write(&file, "pod-token-2").unwrap();
    for _ in 0..2 {
        assert_eq!(world.opened_by("bob").await.0, StatusCode::FORBIDDEN);
    }
    let asked = places.asked();
    let told: Vec<_> = asked.iter().map(|asked| (asked.line.as_str(), asked.header("authorization"))).collect();
    assert_eq!(told, [("GET /v1/credentials", "pod-token-1"), ("GET /v1/credentials", "pod-token-2")]);
    world.told_nothing(&["pod-token-1", machine.secret_access_key.expose(), machine.session_token.expose()]).await;
}

/// By https the endpoint is believed by its certificate, as any server is; before that it is shown no token.
#[tokio::test]
async fn a_container_endpoint_by_https_is_believed_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let [theirs, key, others] = ["theirs.crt", "theirs.key", "others.crt"].map(|name| folder.path().join(name));
    let (own, private) = certificate("127.0.0.1");
    std::fs::write(&theirs, own).unwrap();
    std::fs::write(&key, private).unwrap();
    std::fs::write(&others, certificate("127.0.0.1").0).unwrap();
    for (roots, expected) in [(&theirs, StatusCode::OK), (&others, StatusCode::SERVICE_UNAVAILABLE)] {
        let places = Places::secure(&theirs, &key);
        let plan = plan("base = [\"container\"]")
            .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &places.url("/v1/credentials"))
            .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")
            .variable("SSL_CERT_FILE", roots.to_str().unwrap());
        let world = plan.start().await;
        let machine = world.machine().await;
        places.give(&machine, SystemClock.now() + Duration::from_secs(3600));
        let (status, page) = world.opened_by("alice").await;
        assert_eq!(status, expected, "{page}");
        let asked: Vec<_> = places.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
        if expected == StatusCode::OK {
            world.signed_for_alice().await;
            assert_eq!(asked, ["pod-token"]);
        } else {
            assert!(asked.is_empty(), "nothing is said to a stranger: {asked:?}");
        }
        world.told_nothing(&["pod-token", machine.secret_access_key.expose()]).await;
    }
}

/// A23: the second version only, by a token that a PUT has brought.
#[tokio::test]
async fn keys_of_the_instance_are_asked_for_with_a_session_token() {
    let places = Places::start();
    let plan = plan("").variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &places.url(""));
    let world = plan.start().await;
    let machine = world.machine().await;
    places.give(&machine, SystemClock.now() + Duration::from_secs(3600));
    let (status, page) = world.opened_by("alice").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    world.signed_for_alice().await;
    let asked = places.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let role = "GET /latest/meta-data/iam/security-credentials/machine-role";
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    assert_eq!(lines, ["PUT /latest/api/token", roles, role]);
    assert_eq!(asked[1].header("x-aws-ec2-metadata-token"), "imds-token");
    assert!(asked[0].header("x-forwarded-for").is_empty());
    world.told_nothing(&["imds-token", machine.secret_access_key.expose()]).await;
}

/// EKS service accounts: the token of a file is exchanged for our own keys, and those ask for the person's role.
#[tokio::test]
async fn keys_by_a_web_identity_file_ask_for_the_persons_role() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let plan = plan("base = [\"web_identity\", \"instance\"]")
        .variable("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap())
        .variable("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/direct");
    let world = plan.start().await;
    let mut browser = world.newcomer("alice").await;
    // the provider's tokens are what the role `direct` trusts
    let said = world.idp_tap.said();
    let granted =
        said.iter().find_map(|said| serde_json::from_str::<Value>(&said.answered).ok()?.get("id_token").cloned());
    std::fs::write(&file, granted.unwrap().as_str().unwrap()).unwrap();
    let answer = browser.open(&world.url("/page")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    world.signed_for_alice().await;
    assert_eq!(world.sts_calls(), 1);
}

/// Whatever a place answers that is no keys, nobody is signed for, and another place is not asked.
#[tokio::test]
async fn a_place_without_keys_is_an_outage() {
    let places = Places::start();
    let plan = plan("base = [\"container\", \"environment\"]")
        .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", &places.url("/v1/credentials"))
        .variable("AWS_ACCESS_KEY_ID", OWN_KEY)
        .variable("AWS_SECRET_ACCESS_KEY", OWN_SECRET);
    let world = plan.start().await;
    let before = world.upstream.seen().len();
    let (status, page) = world.opened_by("alice").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{page}");
    assert_eq!(world.upstream.seen().len(), before + 1, "but for the page without credentials");
    assert!(world.asked("RoleArn").is_none());
    assert!(!places.asked().is_empty());
    world.told_nothing(&[OWN_SECRET, "not-for-the-log"]).await;
}

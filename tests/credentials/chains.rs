//! Chains of roles: each is assumed by the keys of the one before, and nobody gets as far as a role that is not theirs.

use std::collections::BTreeMap;

use http::StatusCode;

use crate::support::routes::OPEN;
use crate::support::world::{Plan, World};

/// Two departments' routes that begin alike, and one that starts from the provider's own token.
const CHAINED: &str = r#"
[route.spoke]
host = "*"
path = "/spoke"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
through = ["arn:aws:iam::123456789012:role/anyone", "arn:aws:iam::123456789012:role/hub"]
role = "arn:aws:iam::123456789012:role/spoke"
external_id = "agreed-on"
tags = { department = "{claims.department}", via = "claviger" }
transitive_tags = ["department"]
source_identity = "{subject.id}"
policy = """{ "Version": "2012-10-17",
              "Statement": [] }"""
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.disagreeing]
host = "*"
path = "/disagreeing"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
through = ["arn:aws:iam::123456789012:role/anyone", "arn:aws:iam::123456789012:role/hub"]
role = "arn:aws:iam::123456789012:role/spoke"
external_id = "guessed"
tags = { department = "{claims.department}" }
transitive_tags = ["department"]
source_identity = "{subject.id}"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }

[route.from-token]
host = "*"
path = "/from-token"
upstream = "{upstream}"
credentials = "direct"
allow = "signed-in"
through = ["arn:aws:iam::123456789012:role/direct"]
role = "arn:aws:iam::123456789012:role/hub"
tags = { department = "{claims.department}" }
source_identity = "{subject.id}"
duration = "1h"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

type Said = BTreeMap<String, String>;

impl World {
    /// What STS was asked, in order.
    fn asked_of_sts(&self) -> Vec<Said> {
        let parameters = |asked: &str| form_urlencoded::parse(asked.as_bytes()).into_owned().collect::<Said>();
        self.sts_tap
            .said()
            .iter()
            .map(|said| parameters(&said.asked))
            .filter(|said| said.contains_key("Action"))
            .collect()
    }
}

fn roles(asked: &[Said]) -> Vec<(&str, &str)> {
    asked.iter().map(|said| (said["Action"].as_str(), said["RoleArn"].rsplit('/').next().unwrap())).collect()
}

async fn world() -> World {
    Plan::with_routes(&[CHAINED, OPEN].concat()).start().await
}

#[tokio::test]
async fn each_role_is_assumed_by_the_keys_of_the_one_before() {
    let world = world().await;
    let mut alice = world.newcomer("alice").await;
    let answer = alice.open(&world.url("/spoke")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let signer = world.signer(&world.upstream.last(), "s3").await;
    assert_eq!(signer["role"], "arn:aws:iam::123456789012:role/spoke", "{signer}");
    assert_eq!((&signer["tags"]["department"], &signer["tags"]["via"]), (&"finance".into(), &"claviger".into()));
    assert_eq!(signer["source_identity"], "sub-alice");

    let asked = world.asked_of_sts();
    let way = [("AssumeRoleWithWebIdentity", "anyone"), ("AssumeRole", "hub"), ("AssumeRole", "spoke")];
    assert_eq!(roles(&asked), way);
    let (hub, spoke) = (&asked[1], &asked[2]);
    for (what, key, at_hub, at_spoke) in [
        ("once told, they stay, and STS refuses to be told again", "SourceIdentity", None, None),
        ("the minted token has told it", "TransitiveTagKeys.member.1", None, None),
        ("what does not stay is for the last", "Tags.member.1.Key", None, Some("via")),
        ("the last one's owner wants to hear it", "ExternalId", None, Some("agreed-on")),
        ("the last keys are bounded", "Policy", None, Some(r#"{"Statement":[],"Version":"2012-10-17"}"#)),
    ] {
        assert_eq!(
            (hub.get(key).map(String::as_str), spoke.get(key).map(String::as_str)),
            (at_hub, at_spoke),
            "{what}"
        );
    }

    assert_eq!(alice.open(&world.url("/spoke")).await.status, StatusCode::OK);
    assert_eq!(world.asked_of_sts().len(), way.len(), "from then on they are at hand");
}

/// A27: what is agreed on is part of what is asked for; what was issued on the way serves both.
#[tokio::test]
async fn chains_that_begin_alike_share_their_beginning_and_no_end() {
    let world = world().await;
    let mut alice = world.newcomer("alice").await;
    assert_eq!(alice.open(&world.url("/spoke")).await.status, StatusCode::OK);
    let before = world.asked_of_sts().len();
    let refused = alice.open(&world.url("/disagreeing")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert_eq!(roles(&world.asked_of_sts()[before..]), [("AssumeRole", "spoke")]);

    let mut bob = world.newcomer("bob").await;
    let before = world.asked_of_sts().len();
    assert_eq!(bob.open(&world.url("/spoke")).await.status, StatusCode::FORBIDDEN);
    let way = [("AssumeRoleWithWebIdentity", "anyone"), ("AssumeRole", "hub"), ("AssumeRole", "spoke")];
    assert_eq!(roles(&world.asked_of_sts()[before..]), way, "nothing of alice's is bob's");
}

#[tokio::test]
async fn what_a_token_cannot_tell_the_first_call_by_keys_does() {
    let world = world().await;
    let mut alice = world.newcomer("alice").await;
    assert_eq!(alice.open(&world.url("/from-token")).await.status, StatusCode::OK);
    let signer = world.signer(&world.upstream.last(), "s3").await;
    assert_eq!((&signer["tags"]["department"], &signer["source_identity"]), (&"finance".into(), &"sub-alice".into()));
    let asked = world.asked_of_sts();
    assert_eq!(roles(&asked), [("AssumeRoleWithWebIdentity", "direct"), ("AssumeRole", "hub")]);
    assert_eq!(asked[1]["DurationSeconds"], "3600");
}

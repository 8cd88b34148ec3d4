//! Credentials are renewed before they end, and nobody notices.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;

use super::signed;
use crate::support::world::until;

#[tokio::test]
async fn keys_are_renewed_ahead_of_their_end_without_a_failed_request() {
    let world = signed("").start().await;
    world.sts_tap.credentials_live(Duration::from_secs(2));
    let alice = world.ticket("alice").await;
    // until they have been renewed twice in the background; the first answer that is not 200 fails
    let ask = async || {
        let answer = world.get("/", &alice).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        world.claviger.log().iter().filter(|line| line.contains("\"cache\":\"renewal\"")).count()
    };
    until(ask, |renewals| *renewals >= 2).await;

    let mut ends: BTreeMap<String, String> = BTreeMap::new();
    for said in world.sts_tap.said() {
        let value = |name: &str| {
            let (_, rest) = said.answered.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        ends.insert(value("AccessKeyId"), value("Expiration").replace(['-', ':'], ""));
    }
    for seen in world.upstream.seen() {
        let key = seen.all("authorization")[0].split(['=', '/']).nth(1).unwrap().to_owned();
        assert!(*seen.all("x-amz-date")[0] < *ends[&key], "signed with {key} past its end");
    }
    assert_eq!(world.signer(&world.upstream.last(), "s3").await["source_identity"], "sub-alice");
}

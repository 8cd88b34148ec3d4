//! A choice does not outlive the role.

use std::time::Duration;

use claviger::provider::Lifetimes;
use http::StatusCode;

use super::{form_for, plan};
use crate::support::world::until;

#[tokio::test]
async fn who_loses_a_role_loses_the_choice() {
    let short = Duration::from_secs(1);
    let lifetimes = Lifetimes { id_token: short, access_token: short, ..Lifetimes::default() };
    let world = plan().lifetimes(lifetimes).start().await;
    let mut alice = world.newcomer("alice").await;
    let page = alice.open(&world.url("/bucket")).await;
    alice.submit(&form_for(&page, "accountant"), &[]).await;
    assert!(world.last_role().await.0.ends_with(":role/finance"));

    world.change("alice", |alice| alice.groups = vec!["staff".to_owned()]);
    let cookie = world.cookie(&alice);
    let role = async || {
        assert_eq!(world.get("/bucket", &cookie).await.status, StatusCode::OK);
        world.last_role().await.0
    };
    let role = until(role, |role| !role.ends_with(":role/finance")).await;
    assert!(role.ends_with(":role/anyone"), "the only one that is left: {role}");
}

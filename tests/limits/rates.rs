//! How often: 429 for who asks for more, and nobody else.

use http::{Method, StatusCode};

use super::world;
use crate::support::browser::Browser;
use crate::support::client::{self, Answer, headers};
use crate::support::wire::Wire;
use crate::support::world::{World, until};

/// Asks with an `X-Forwarded-For`.
async fn for_client(world: &World, client: &str) -> Answer {
    client::send(world.at, Method::GET, "/", &headers(&[("x-forwarded-for", client)]), "").await
}

#[tokio::test]
async fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let world = world("[limits.rate]\nper_address = { requests = 1, per = \"700ms\", burst = 3 }").await;
    let mut wire = Wire::from("127.0.0.1", world.at).await;
    for _ in 0..3 {
        assert!(wire.ask("/").await.starts_with("HTTP/1.1 200"));
    }
    let refused = until(async || wire.ask("/").await, |head| head.starts_with("HTTP/1.1 429")).await;
    assert!(refused.to_lowercase().contains("retry-after: 1\r\n"), "{refused}");
    assert!(Wire::from("127.0.0.2", world.at).await.ask("/").await.starts_with("HTTP/1.1 200"));
    until(async || wire.ask("/").await, |head| head.starts_with("HTTP/1.1 200")).await;
}

#[tokio::test]
async fn a6_a_client_makes_no_other_of_itself_by_what_it_says_of_itself() {
    let world = world("[limits.rate]\nper_address = { requests = 1, per = \"1h\", burst = 1 }").await;
    assert_eq!(for_client(&world, "192.0.2.1").await.status, StatusCode::OK);
    for client in ["192.0.2.1", "192.0.2.2"] {
        let answer = for_client(&world, client).await;
        let told = (answer.status, answer.json()["error"].clone());
        assert_eq!(told, (StatusCode::TOO_MANY_REQUESTS, "too_many_requests".into()), "{client}");
    }
    assert_eq!(world.metric("claviger_rate_limited_total{limit=\"per_address\"}").await, 2.0);
    world.claviger.event(|e| e["target"] == "claviger::access" && e["fault"] == "too_many_requests").await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own() {
    let behind = "[listen.behind]\naddress = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let world = world(&format!("{behind}\n[limits.rate]\nper_address = {{ requests = 2, per = \"1h\" }}")).await;
    let at = world.claviger.address("behind").await;
    let ask = async |client| {
        let answer = client::send(at, Method::GET, "/", &headers(&[("x-forwarded-for", client)]), "").await;
        answer.status.as_u16()
    };
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        assert_eq!([ask(client).await, ask(client).await, ask(client).await], [200, 200, 429], "{client}");
    }
    assert_eq!(ask("2001:db8::2").await, 429, "of the same /64");
    assert_eq!(ask("2001:db8:0:1::1").await, 200);
}

#[tokio::test]
async fn a_person_is_one_on_however_many_connections() {
    let world = world("[limits.rate]\nper_identity = { requests = 4, per = \"1h\" }").await;
    let log_in = async |name| {
        let mut browser = Browser::default();
        world.log_in(&mut browser, &world.url("/private"), name).await;
        world.cookie(&browser)
    };
    let (alice, again, bob) = (log_in("alice").await, log_in("alice").await, log_in("bob").await);
    let mut statuses = Vec::new();
    for ticket in [&alice, &again].repeat(3) {
        statuses.push(world.get("/private", ticket).await.status.as_u16());
    }
    // each login has asked once for the page it was for
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429]);
    assert_eq!(world.get("/private", &bob).await.status, 200);
    assert_eq!(world.get("/", "").await.status, 200, "who is nobody has no bucket");
}

#[tokio::test]
async fn a_storm_of_logins_stops_at_the_door() {
    let world = world("[limits.rate]\nlogin = { requests = 3, per = \"1h\" }").await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(world.get("/.claviger/callback?state=x&code=y", "").await.status.as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 429, 429]);
    assert_eq!(world.get("/", "").await.status, 200, "apps are no login");
    for _ in 0..5 {
        let published = world.get("/.claviger/issuer/jwks", "").await;
        assert_eq!(published.status, 200, "STS needs the keys whoever storms");
    }
}

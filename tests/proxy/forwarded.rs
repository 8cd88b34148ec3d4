//! Where a request comes from is what the socket says, unless a believed peer says otherwise (A6).

use http::Method;
use serde_json::json;

use crate::support::client::{self, Answer, headers};
use crate::support::hostile::FORGED_ORIGIN;
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[listen.second]
address = "127.0.0.1:0"
trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]

[route.site]
host = "127.0.0.1"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "headers" }

[route.office]
host = "127.0.0.1"
path = "/office"
upstream = "{upstream}"
allow = { who = "anyone", sources = ["203.0.113.0/24"] }

[route.public]
host = "127.0.0.1"
path = "/public"
upstream = "{upstream}"
allow = { who = "anyone", methods = ["GET"] }
"#;

/// All of it at once, and some of it twice.
fn forged() -> Vec<(&'static str, &'static str)> {
    let more = [("x-forwarded-for", "203.0.113.8"), ("x_forwarded_for", "203.0.113.7")];
    FORGED_ORIGIN.iter().copied().chain(more).collect()
}

#[tokio::test]
async fn a6_policy_does_not_believe_just_anyone() {
    let world = Plan::with_routes(ROUTES).start().await;
    // CVE-2026-40575: the path is the request's own; CVE-2026-34457: so is who asks
    for (method, path, more, status) in [
        (Method::GET, "/office", ("x-a", "b"), 403),
        (Method::GET, "/", ("x-forwarded-uri", "/livez"), 401),
        (Method::GET, "/", ("user-agent", "GoogleHC/1.0"), 401),
        (Method::GET, "/", ("user-agent", "kube-probe/1.30"), 401),
        (Method::POST, "/public", ("x-forwarded-method", "GET"), 403),
        (Method::DELETE, "/public", ("x-http-method", "GET"), 403),
    ] {
        let mut sent = headers(&forged());
        sent.append(more.0, more.1.parse().unwrap());
        let answer = client::send(world.at, method, path, &sent, "").await;
        assert_eq!(answer.status, status, "{path} {more:?}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test]
async fn a6_policy_believes_configured_peers_up_to_the_first_stranger() {
    let world = Plan::with_routes(ROUTES).start().await;
    let second = world.claviger.address("second").await;
    for (list, status) in [
        ("203.0.113.7", 200),
        ("203.0.113.7:1234", 200),
        ("198.51.100.1, 203.0.113.7", 200),
        ("203.0.113.7, 10.1.2.3", 200), // two load balancers, both ours
        ("198.51.100.1", 403),
        ("203.0.113.7, 198.51.100.1", 403), // the client wrote the first itself
        ("203.0.113.7, 198.51.100.1, 10.1.2.3", 403),
        ("", 403),
    ] {
        let answer = client::send(second, Method::GET, "/office", &headers(&[("x-forwarded-for", list)]), "").await;
        assert_eq!(answer.status, status, "{list}");
    }
    let unreadable = headers(&[("x-forwarded-for", "203.0.113.7, garbage")]);
    assert!(client::send(second, Method::GET, "/office", &unreadable, "").await.status.is_client_error());
    let told = headers(&[
        ("x-forwarded-for", "198.51.100.1, 203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x_forwarded_host", "evil.test"),
        ("x-real-ip", "6.6.6.6"),
    ]);
    client::send(second, Method::GET, "/office", &told, "").await;
    let seen = world.upstream.last();
    assert_eq!(seen.all("x-forwarded-for"), ["198.51.100.1, 203.0.113.7, 127.0.0.1"]);
    let host = second.to_string();
    assert_eq!((seen.all("x-forwarded-proto"), seen.all("x-forwarded-host")), (vec!["https"], vec![&*host]));
    assert_eq!((seen.all("x_forwarded_host"), seen.all("x-real-ip")), (vec![], vec![]));
    let line = world.claviger.event(|e| e["path"] == "/office" && e["client"] == "203.0.113.7").await;
    assert_eq!(line["status"], 200);
}

/// CVE-2026-33495, CVE-2025-64101: what people and STS are led to is what is configured, whoever asks.
#[tokio::test]
async fn a6_redirects_cookies_and_the_issuer_are_the_configured_origins() {
    let world = Plan::with_routes(ROUTES).start().await;
    let second = world.claviger.address("second").await;
    for at in [world.at, second] {
        let mut sent = headers(&forged());
        sent.extend(headers(&[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("accept", "text/html"),
        ]));
        let answer = client::send(at, Method::GET, "/", &sent, "").await;
        let away = url::Url::parse(answer.location()).unwrap();
        assert_eq!(away.port(), Some(world.provider_at.port()), "{away}");
        let (_, back) = away.query_pairs().find(|(key, _)| key == "redirect_uri").unwrap();
        assert_eq!(back, format!("http://{at}/.claviger/callback"));
        let cookie = answer.header("set-cookie");
        assert!(cookie.starts_with(&format!("claviger-{}-", at.port())) && !cookie.contains("Domain"), "{cookie}");
        assert!(!is_evil(&format!("{:?}{}", answer.headers, text(&answer))));
    }
    let published = "/.claviger/issuer/.well-known/openid-configuration";
    let document = client::send(world.at, Method::GET, published, &headers(&forged()), "").await.json();
    let issuer = world.url("/.claviger/issuer");
    assert_eq!((&document["issuer"], &document["jwks_uri"]), (&json!(issuer), &json!(format!("{issuer}/jwks"))));
    let sent = headers(&[("host", "evil.test"), ("sec-fetch-mode", "navigate"), ("accept", "text/html")]);
    assert_eq!(client::send(world.at, Method::GET, "/", &sent, "").await.status, 404, "no route is for that host");
}

/// A logout leads back to where it is configured to.
#[tokio::test]
async fn a6_a_logout_leads_back_to_the_configured_origin() {
    let world = Plan::with_routes(ROUTES).start().await;
    let mut alice = world.browser_of("alice").await;
    let elsewhere = [("origin", "http://evil.test"), ("sec-fetch-site", "cross-site")];
    let sent: Vec<(&str, &str)> = forged().into_iter().chain(elsewhere).collect();
    let refused = alice.fetch(Method::POST, "/.claviger/logout", &sent, "").await;
    assert_eq!(refused.status, 400, "another site's page asks");
    let mut sent = forged();
    let origin = world.url("");
    sent.push(("origin", &origin));
    let away = alice.fetch(Method::POST, "/.claviger/logout", &sent, "").await;
    assert!(away.status.is_redirection(), "{}", away.status);
    assert!(!is_evil(away.location()), "{}", away.location());
    assert_eq!(who(&world, &mut alice).await, 401);
}

async fn who(world: &World, browser: &mut crate::support::browser::Browser) -> u16 {
    browser.fetch(Method::GET, &world.url("/"), &[], "").await.status.as_u16()
}

/// Whether it leads where the client says. The bare word is in many a token by chance.
fn is_evil(text: &str) -> bool {
    ["evil.test", "/evil", "%2Fevil"].iter().any(|place| text.contains(place))
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

//! Logins under names that nobody wrote down, tickets on other hosts, and a provider that speaks TLS itself.

use std::sync::Arc;

use claviger::fetch::{Fetch, Reach};
use claviger::tls::Trust;
use http::{Method, Request, StatusCode};

use crate::support::client::{self, Answer, headers};
use crate::support::process::Process;
use crate::support::routes::APP;
use crate::support::secure::certificate;
use crate::support::world::{Plan, World};

/// A navigation to `host`, wherever that name comes from.
async fn navigate(world: &World, host: &str, target: &str, cookie: &str) -> Answer {
    let sent = headers(&[
        ("host", host),
        ("accept", "text/html"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("cookie", cookie),
    ]);
    client::send(world.at, Method::GET, target, &sent, "").await
}

/// A7, A8, A9: under a name that somebody else points at us a catch-all route still answers, but no login is handed
/// over there, nobody is redirected there, and a ticket of ours opens nothing.
#[tokio::test]
async fn a_catch_all_route_hands_no_login_to_names_that_nobody_wrote_down() {
    let world = Plan::with_routes(APP).start().await;
    let alice = world.browser_of("alice").await;
    let (name, ticket) = alice.cookie("127.0.0.1", "claviger-").unwrap();
    let cookie = format!("{name}={ticket}");
    let here = world.at.to_string();
    assert_eq!(navigate(&world, &here, "/x", &cookie).await.status, StatusCode::OK);

    let so_far = world.upstream.seen().len();
    for cookie in ["", &cookie] {
        let page = navigate(&world, "evil.example", "/x", cookie).await;
        assert_eq!((page.status, page.location()), (StatusCode::UNAUTHORIZED, ""));
        assert!(page.text().contains(&format!("href=\"http://{here}/\"")), "{}", page.text());
        for place in ["login?to=/", "enter?code=x", "me", "logout"] {
            let page = navigate(&world, "evil.example", &format!("/.claviger/{place}"), cookie).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{place}");
        }
    }
    assert_eq!(world.upstream.seen().len(), so_far);

    let to = navigate(&world, &here, "/.claviger/login?to=http://evil.example/", &cookie).await;
    assert!(!to.location().contains("evil.example"), "{}", to.location());
}

/// The provider's cookies go to no upstream, so it can't stand behind a route: it speaks TLS itself.
#[tokio::test]
async fn the_provider_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate("localhost");
    for (name, content) in [("tls.crt", certificate), ("tls.key", key), ("users.toml", String::new())] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let config = r#"
        state_dir = "state"
        [listen.main]
        address = "127.0.0.1:0"
        [route.app]
        host = "app.localhost"
        upstream = "http://127.0.0.1:1"
        allow = "anyone"
        [provider]
        address = "127.0.0.1:0"
        issuer = "https://localhost/op"
        users = "users.toml"
        tls = { certificate = "tls.crt", key = "tls.key" }
    "#;
    let file = folder.path().join("claviger.toml");
    std::fs::write(&file, config).unwrap();
    let claviger = Process::start(&file, &[]);
    let at = claviger.address("provider").await;

    let trust = Trust::with_file(&folder.path().join("tls.crt")).unwrap();
    let fetch = Arc::new(Fetch::new(&trust));
    let url = format!("https://localhost:{}/op/.well-known/openid-configuration", at.port());
    let answer = fetch.send(Request::get(url).body(bytes::Bytes::new()).unwrap(), &Reach::Configured).await.unwrap();
    let document: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(document["issuer"], "https://localhost/op");
}

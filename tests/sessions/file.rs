//! `kind = "file"`: a restart keeps everyone logged in.

use std::fs;
use std::time::Duration;

use claviger::provider::Lifetimes;
use http::{Method, StatusCode};

use crate::support::browser::Browser;
use crate::support::routes::APP;
use crate::support::world::{Plan, World, until};

/// Whoever is logged in; finance signs with credentials too.
const ROUTES: &str = r#"
[session]
kind = "file"

[route.signed]
host = "*"
path = "/signed/"
upstream = "{upstream}"
allow = "signed-in"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
"#;

fn plan() -> Plan {
    Plan::with_routes(&[APP, ROUTES].concat())
}

async fn log_out(world: &World, browser: &mut Browser) {
    let page = browser.open(&world.url("/.claviger/logout")).await;
    let answer = browser.step_form(&page, &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
}

async fn status(world: &World, path: &str, cookie: &str) -> StatusCode {
    world.get(path, cookie).await.status
}

#[tokio::test]
async fn a_restart_keeps_everyone_logged_in() {
    let mut world = plan().start().await;
    let (alice, mut bob) = (world.ticket("alice").await, world.browser_of("bob").await);
    let bobs = world.cookie(&bob);
    log_out(&world, &mut bob).await;

    world.claviger.terminate();
    world.restart().await;
    assert_eq!(status(&world, "/", &alice).await, StatusCode::OK);
    assert_eq!(status(&world, "/signed/x", &alice).await, StatusCode::OK, "its proof of identity came along");
    assert_eq!(status(&world, "/", &bobs).await, StatusCode::UNAUTHORIZED, "A9: a logout survives");

    // A37
    let carol = world.ticket("mallory").await;
    world.claviger.kill();
    world.restart().await;
    for cookie in [&alice, &carol] {
        assert_eq!(status(&world, "/", cookie).await, StatusCode::OK);
    }
    assert_eq!(status(&world, "/", &bobs).await, StatusCode::UNAUTHORIZED);
}

/// The provider takes each refresh token once: the one that a renewal brought must be there after a kill.
#[tokio::test]
async fn renewed_tokens_survive_a_kill() {
    let lifetimes =
        Lifetimes { id_token: Duration::from_secs(4), access_token: Duration::from_secs(4), ..Lifetimes::default() };
    let mut world = plan().lifetimes(lifetimes).start().await;
    let alice = world.ticket("alice").await;
    for round in 1..=2 {
        let renewed = async || {
            assert_eq!(status(&world, "/", &alice).await, StatusCode::OK, "round {round}");
            world.metric("claviger_session_renewals_total{outcome=\"renewed\"}").await
        };
        until(renewed, |renewed| *renewed >= 1.0).await;
        world.claviger.kill();
        world.restart().await;
    }
    assert_eq!(status(&world, "/", &alice).await, StatusCode::OK);
}

/// A9, A25, A37: what is in the folder says nothing, and what was changed there opens nothing.
#[tokio::test]
async fn kept_sessions_are_sealed() {
    let mut world = plan().start().await;
    let (alice, bob) = (world.ticket("alice").await, world.ticket("bob").await);
    let folder = world.file("state").join("sessions");
    let files = || -> Vec<_> {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_none() && !path.ends_with(".lock")).collect()
    };
    assert_eq!(files().len(), 2);
    let secret = alice.split('=').next_back().unwrap();
    // words so long that none is in what is sealed by chance
    let mut words = vec!["sub-alice".to_owned(), "sub-bob".to_owned(), secret.to_owned()];
    for said in world.idp_tap.said().iter().filter(|said| said.target.starts_with("/token")) {
        let answer: serde_json::Value = serde_json::from_str(&said.answered).unwrap();
        words.extend(["id_token", "refresh_token"].map(|name| answer[name].as_str().unwrap().to_owned()));
    }
    assert_eq!(words.len(), 7);
    for file in files() {
        let content = fs::read(&file).unwrap();
        for word in &words {
            assert!(!content.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
        }
        assert!(!file.to_str().unwrap().contains(secret));
    }
    world.claviger.terminate();
    world.claviger.wait();
    for file in files() {
        let mut content = fs::read(&file).unwrap();
        content[40] ^= 1;
        fs::write(&file, content).unwrap();
    }
    world.restart().await;
    for cookie in [&alice, &bob] {
        assert_eq!(status(&world, "/", cookie).await, StatusCode::UNAUTHORIZED, "never an error page");
    }
    let answer = Browser::default().fetch(Method::GET, &world.url("/"), &[("cookie", &alice)], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// A37: the disk is full. Nobody new comes in, nobody is thrown out, and it heals by itself.
#[tokio::test]
async fn a_full_disk_fails_logins_only() {
    let world = plan().start().await;
    let alice = world.ticket("alice").await;
    let (folder, aside) = (world.file("state").join("sessions"), world.file("state").join("aside"));
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();
    let mut bob = Browser::default();
    let answer = world.log_in(&mut bob, &world.url("/"), "bob").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(world.ticket_in(&bob, world.host()).is_none());
    assert_eq!(status(&world, "/", &alice).await, StatusCode::OK);

    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    world.ticket("bob").await;
}

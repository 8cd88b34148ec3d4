//! A9, A10: cookies that were changed, set by others, or are there twice.

use http::StatusCode;

use super::{callback, refused};
use crate::support::browser::Browser;
use crate::support::routes::APP;
use crate::support::world::{Plan, World};

/// Neither a session nor a failure of ours.
async fn opens_nothing(world: &World, value: &str) {
    let answer = world.get("/", &format!("{}={value}", world.ticket_name())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value}");
    assert_eq!(answer.json()["error"], "login_required", "{value}");
}

fn with_another(text: &str, at: usize, other: &str) -> String {
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[tokio::test]
async fn a9_a_changed_ticket_opens_nothing() {
    let world = Plan::with_routes(APP).start().await;
    let (alice, bob) = (world.browser_of("alice").await, world.browser_of("bob").await);
    let [alice, bob] = [alice, bob].map(|browser| world.ticket_in(&browser, world.host()).unwrap());
    let served = world.upstream.seen().len();
    for at in 0..alice.len() {
        for other in ["A", "B", "-", "~"].into_iter().filter(|other| alice[at..=at] != **other) {
            opens_nothing(&world, &with_another(&alice, at, other)).await;
        }
        // CVE-2026-27840: a cut one
        opens_nothing(&world, &alice[..at]).await;
    }
    let half = alice.len() / 2;
    for changed in [
        format!("{alice}="),
        format!("{alice}A"),
        format!("A{alice}"),
        format!("{}{}", &alice[..half], &bob[half..]),
        alice.to_ascii_uppercase(),
        format!("\"{alice}"),
        "a".repeat(8_000),
        "../../etc/passwd".to_owned(),
        "' OR 1=1 --".to_owned(),
    ] {
        opens_nothing(&world, &changed).await;
    }
    // CVE-2026-25748: what is no ticket sends a browser to log in, and nothing through
    let mut browser = Browser::default();
    browser.cookies.insert((world.host().into(), world.ticket_name()), ("garbage".into(), "/".into()));
    let answer = browser.step(&world.url("/")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(world.upstream.seen().len(), served);
    // and the tickets themselves were good all the time
    for ticket in [&alice, &bob] {
        assert_eq!(world.get("/", &format!("{}={ticket}", world.ticket_name())).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a9_a_changed_login_cookie_is_no_login() {
    let world = Plan::with_routes(APP).start().await;
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/after"), "alice").await;
    let prefix = format!("{}-login-", world.ticket_name());
    let (name, value) = browser.cookie(world.host(), &prefix).unwrap();
    let try_with = async |name: &str, value: &str| {
        let mut browser = browser.clone();
        browser.cookies.retain(|(_, name), _| !name.starts_with(&prefix));
        browser.cookies.insert((world.host().into(), name.into()), (value.into(), "/".into()));
        browser.step(back.as_str()).await
    };
    let flipped = |at: usize| with_another(&value, at, if &value[at..=at] == "A" { "B" } else { "A" });
    let mut changed: Vec<String> = (0..value.len()).step_by(value.len() / 40).map(flipped).collect();
    changed.extend([&value[..value.len() - 1], &value[1..], &value[..value.len() / 2], "x"].map(str::to_owned));
    changed.extend([format!("{value}A"), format!("A{value}"), format!("{value}{value}")]);
    for changed in changed {
        refused(&world, &try_with(&name, &changed).await).await;
    }
    // one login's cookie is worth nothing under another name
    refused(&world, &try_with(&format!("{prefix}00000000"), &value).await).await;
    assert_eq!(try_with(&name, &value).await.location(), world.url("/after"), "unchanged, it is good");
}

/// Somebody gave the browser a ticket before the login: the login makes another, and theirs opens nothing.
#[tokio::test]
async fn a10_a_ticket_that_was_there_before_is_not_the_ticket_after() {
    let world = Plan::with_routes(APP).start().await;
    let made_up = "A".repeat(43);
    let mallorys = world.ticket_in(&world.browser_of("mallory").await, world.host()).unwrap();
    for given in [made_up, mallorys] {
        let mut alice = Browser::default();
        alice.cookies.insert((world.host().into(), world.ticket_name()), (given.clone(), "/".into()));
        let answer = world.log_in(&mut alice, &world.url("/.claviger/login?to=/"), "alice").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(world.upstream.last().all("x-forwarded-user"), ["sub-alice"]);
        assert_ne!(world.ticket_in(&alice, world.host()).unwrap(), given);
        opens_nothing(&world, &given).await;
    }
}

#[tokio::test]
async fn a10_every_login_makes_a_new_ticket() {
    let world = Plan::with_routes(APP).start().await;
    let mut alice = world.browser_of("alice").await;
    let first = world.ticket_in(&alice, world.host()).unwrap();
    let answer = alice.open(&world.url("/.claviger/login?to=/again")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let second = world.ticket_in(&alice, world.host()).unwrap();
    assert_ne!(first, second);
    opens_nothing(&world, &first).await;
}

/// A sibling host can set cookies of our name for the whole domain, and browsers send those first or last.
#[tokio::test]
async fn a10_cookies_of_our_name_from_elsewhere_do_not_hide_ours() {
    let world = Plan::with_routes(APP).start().await;
    let (name, ours) = (world.ticket_name(), world.ticket("alice").await);
    let (like, long) = ("A".repeat(43), "x".repeat(3_000));
    for cookie in [
        format!("{name}=foreign; {ours}"),
        format!("{ours}; {name}=foreign"),
        format!("{name}={like}; {name}={like}; {ours}"),
        format!("{name}=; {name}; ={name}; {ours}"),
        format!("a=b;{name}={long};  {ours};c=d"),
    ] {
        let answer = world.get("/", &cookie).await;
        assert_eq!(answer.status, StatusCode::OK, "{cookie}");
        assert_eq!(world.upstream.last().all("x-forwarded-user"), ["sub-alice"]);
    }
    // the name is the whole name
    for cookie in [format!("x{ours}"), ours.replacen('=', "-=", 1), ours.to_ascii_uppercase()] {
        assert_eq!(world.get("/", &cookie).await.status, StatusCode::UNAUTHORIZED, "{cookie}");
    }
}

/// The same during a login: a foreign cookie of its name does not stop it.
#[tokio::test]
async fn a10_a_foreign_login_cookie_does_not_stop_a_login() {
    let world = Plan::with_routes(APP).start().await;
    let mut browser = Browser::default();
    let back = callback(&mut browser, &world.url("/after"), "alice").await;
    let (name, value) = browser.cookie(world.host(), &format!("{}-login-", world.ticket_name())).unwrap();
    let target = format!("{}?{}", back.path(), back.query().unwrap());
    let answer = world.get(&target, &format!("{name}=foreign; {name}={value}")).await;
    assert_eq!(answer.location(), world.url("/after"), "{}", answer.text());
}

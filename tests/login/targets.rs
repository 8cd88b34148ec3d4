//! A7: where a login leads is a path here, whatever was asked for.

use url::Url;

use crate::support::browser::Browser;
use crate::support::hostile::login_targets;
use crate::support::routes::APP;
use crate::support::world::{PASSWORD, Plan, World};

/// Follows a login to its end, and fails where a step leads to anyone but claviger and the provider.
async fn end(world: &World, browser: &mut Browser, begin: &str) -> Url {
    let known = [world.origin.clone(), format!("http://{}", world.provider_at)];
    let mut next = Url::parse(begin).unwrap();
    for _ in 0..10 {
        let origin = next.origin().ascii_serialization();
        assert!(known.contains(&origin), "{begin} leads to {next}");
        let answer = browser.step(next.as_str()).await;
        if !answer.status.is_redirection() {
            return next;
        }
        next = next.join(answer.location()).unwrap();
    }
    panic!("{begin} does not end");
}

#[tokio::test]
async fn a7_a_login_leads_to_a_path_here_and_nowhere_else() {
    let world = Plan::with_routes(APP).start().await;
    let mut at_provider = Browser::default();
    let page = at_provider.open(&world.url("/")).await;
    at_provider.step_form(&page, &[("username", "alice"), ("password", PASSWORD)]).await;
    at_provider.cookies.retain(|(_, name), _| name.starts_with("claviger-provider"));

    for to in login_targets(world.at.port()) {
        let begin = Url::parse_with_params(&world.url("/.claviger/login"), [("to", &to)]).unwrap();
        let end = end(&world, &mut at_provider.clone(), begin.as_str()).await;
        assert_eq!(end.as_str(), world.url("/"), "{to:?}");
    }
    for (to, path) in [
        ("/a/b?c=d&e=%2F%2Fx", "/a/b?c=d&e=%2F%2Fx".to_owned()),
        ("/a?next=http://evil.example", "/a?next=http://evil.example".to_owned()),
        (world.url("/own").as_str(), "/own".to_owned()),
    ] {
        let begin = Url::parse_with_params(&world.url("/.claviger/login"), [("to", to)]).unwrap();
        let end = end(&world, &mut at_provider.clone(), begin.as_str()).await;
        assert_eq!(end.as_str(), world.url(&path));
    }
    // what is asked for twice is asked for in two ways
    let begin = world.url("/.claviger/login?to=/a&to=//evil.example");
    assert_eq!(end(&world, &mut at_provider.clone(), &begin).await.as_str(), world.url("/"));
}

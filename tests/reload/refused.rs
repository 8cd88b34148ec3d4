//! Configs that can't be used: the one before stays, and it is said why.

use serde_json::json;

use super::{ROUTES, edit, outcomes, problem, put, reload};
use crate::support::world::Plan;

/// A33
#[tokio::test]
async fn a33_a_config_with_faults_changes_nothing_and_every_fault_is_named_once() {
    let world = Plan::with_routes(ROUTES).start().await;
    let good = std::fs::read_to_string(world.file("claviger.toml")).unwrap();
    let cases = [
        ("[route.open", vec!["line "]),
        ("", vec!["listen: is missing"]),
        (
            &*good.replace("allow = \"anyone\"", "allow = \"everyone\"\nupstraem = \"x\"").replace("/first", "first"),
            vec!["route.open.allow: ", "route.open.upstraem: ", "route.open.add_prefix"],
        ),
        (&*good.replace("kind = \"oidc\"", "kind = \"odic\""), vec!["identity.idp.kind: unknown kind `odic`"]),
    ];
    for (i, (text, faults)) in cases.iter().enumerate() {
        put(&world, "claviger.toml", text);
        let outcome = reload(&world).await;
        assert_eq!(outcome["message"], "the config was not reloaded: the one before stays in use");
        let told = outcome["config.errors"].as_str().unwrap();
        faults.iter().for_each(|fault| assert!(told.contains(fault), "{fault}: {told}"));
        assert_eq!((world.get("/", "").await.status.as_u16(), &*world.upstream.last().target), (200, "/first/"));
        let ready = world.admin("/readyz").await;
        assert_eq!(ready.status, 200, "it still serves");
        let degraded = ready.json()["degraded"][0].as_str().unwrap().to_owned();
        assert!(
            degraded.starts_with("config: the last reload was refused: ") && degraded.contains(faults[0]),
            "{degraded}"
        );
        assert_eq!(outcomes(&world).len(), i + 1, "said once");
    }
    put(&world, "claviger.toml", &good.replace("/first", "/second"));
    assert_eq!(reload(&world).await["config.changed"], "route.open changed");
    world.get("/", "").await;
    assert_eq!(world.upstream.last().target, "/second/");
    assert_eq!(world.admin("/readyz").await.json()["degraded"], json!([]));
    assert_eq!(world.metric("claviger_reloads_total{outcome=\"refused\"}").await, 4.0);
    assert_eq!(world.metric("claviger_config_generation").await, 2.0);
}

#[tokio::test]
async fn what_only_a_restart_changes_is_named_and_the_rest_waits_with_it() {
    let world = Plan::with_routes(ROUTES).start().await;
    let good = std::fs::read_to_string(world.file("claviger.toml")).unwrap();
    for (from, to, path) in [
        ("workers = 1", "workers = 2", "server.workers"),
        ("state_dir = \"", "state_dir = \"/else", "state_dir"),
        ("admin = { address = \"127.0.0.1:0\" }", "", "admin.address"),
        ("[listen.main]", "[session]\nmax_sessions = 5\n[listen.main]", "session.max_sessions"),
    ] {
        put(&world, "claviger.toml", &good.replace("/first", "/second"));
        edit(&world, from, to);
        let outcome = reload(&world).await;
        let expected = format!("{path}: has changed; restart claviger to use it");
        assert_eq!(problem(&outcome), expected);
        world.get("/", "").await;
        assert_eq!(world.upstream.last().target, "/first/", "the whole of it or nothing");
    }
}

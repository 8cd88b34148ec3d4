//! Listeners that come and go with a config: new ones are bound before it counts, and old ones finish what they have.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{edit, half_done, put, reload};
use crate::callers::ends::{SWITCH, held};
use crate::support::client;
use crate::support::gate::{Crowd, Gate};
use crate::support::place::Place;
use crate::support::routes::behind;
use crate::support::wire::Wire;
use crate::support::world::{Plan, World, until};

const ROUTES: &str = r#"
[route.open]
host = "*"
upstream = "{upstream}"
allow = "anyone"
add_prefix = "/first"
inject = { kind = "headers" }
"#;

async fn status(at: SocketAddr) -> u16 {
    client::send(at, Method::GET, "/", &HeaderMap::new(), "").await.status.as_u16()
}

async fn is_gone(at: SocketAddr) {
    until(async || TcpStream::connect(at).await, Result::is_err).await.unwrap_err();
}

fn add(world: &World, section: &str) {
    edit(world, "[listen.main]", &format!("{section}\n[listen.main]"));
}

#[tokio::test]
async fn one_that_is_added_serves_and_one_that_is_removed_finishes() {
    let gate = Gate::closed();
    let upstream = half_done(&gate).await;
    let world = Plan::with_routes(&[&behind(&upstream.url()), ROUTES].concat()).start().await;
    let more = "[listen.more]\naddress = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]";
    add(&world, more);
    assert_eq!(reload(&world).await["config.changed"], "listen.more added");
    let at = world.claviger.address("more").await;
    assert_eq!((status(at).await, status(world.at).await), (200, 200));
    let proxied = client::headers(&[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")]);
    client::send(at, Method::GET, "/", &proxied, "").await;
    assert!(world.upstream.last().all("x-forwarded-for")[0].contains("192.0.2.7"), "its own settings count");
    // a free port stays what it is
    edit(&world, "/first", "/second");
    reload(&world).await;
    assert_eq!((status(at).await, &*world.upstream.last().target), (200, "/second/"));

    let mut idle = Wire::to(at).await;
    idle.ask("/").await;
    let mut wire = Wire::to(at).await;
    wire.send(format!("GET /behind HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    gate.until(Crowd { waiting: 1, through: 0 }).await;
    edit(&world, more, "");
    assert_eq!(reload(&world).await["config.changed"], "listen.more removed");
    is_gone(at).await;
    assert_eq!(idle.rest().await, "", "nothing is asked on it any more");
    gate.open();
    assert!(wire.rest().await.ends_with("halfdone"), "and it is closed then");
    assert_eq!(status(world.at).await, 200);

    // it may come back
    let place = Place::reserve();
    add(&world, &more.replace("127.0.0.1:0", &place.at().to_string()));
    reload(&world).await;
    assert_eq!(status(place.at()).await, 200);
}

/// What was upgraded there is nobody's request any more, and would go on for ever.
#[tokio::test]
async fn tunnels_of_one_that_is_removed_end_after_the_grace_and_others_go_on() {
    let upstream = held().await;
    let world = Plan::with_routes(&ROUTES.replace("{upstream}", &upstream.url())).start().await;
    edit(&world, "drain = \"10s\"", "drain = \"1s\"");
    let more = "[listen.more]\naddress = \"127.0.0.1:0\"";
    add(&world, more);
    reload(&world).await;
    let at = world.claviger.address("more").await;
    let mut tunnels = Vec::new();
    for at in [at, world.at] {
        let mut wire = Wire::to(at).await;
        wire.send(SWITCH.replacen("\r\n", &format!("\r\nHost: {at}\r\n"), 1)).await;
        wire.up_to(b"hello").await;
        tunnels.push(wire);
    }
    let [theirs, mut others] = <[Wire; 2]>::try_from(tunnels).ok().unwrap();
    edit(&world, more, "");
    assert_eq!(reload(&world).await["config.changed"], "listen.more removed");
    let removed = Instant::now();
    assert_eq!(theirs.rest().await, "");
    assert!(removed.elapsed() > Duration::from_millis(500), "not before its time");
    others.send("still here").await;
    assert_eq!(others.bytes(10).await, b"still here");
}

#[tokio::test]
async fn one_may_move() {
    let world = Plan::with_routes(ROUTES).start().await;
    let (old, new) = (Place::reserve(), Place::reserve());
    add(&world, &format!("[listen.more]\naddress = \"{}\"", old.at()));
    reload(&world).await;
    assert_eq!(status(old.at()).await, 200);
    edit(&world, &old.at().to_string(), &new.at().to_string());
    assert_eq!(reload(&world).await["config.changed"], "listen.more changed");
    assert_eq!(status(new.at()).await, 200);
    is_gone(old.at()).await;
}

/// A33: the whole of a config or nothing of it.
#[tokio::test]
async fn one_that_cannot_be_had_changes_nothing() {
    let world = Plan::with_routes(ROUTES).certificate().start().await;
    let good = std::fs::read_to_string(world.file("claviger.toml")).unwrap();
    let (taken, free) = (TcpListener::bind("127.0.0.1:0").unwrap(), Place::reserve());
    let taken_at = taken.local_addr().unwrap();
    let more = |at: SocketAddr| format!("[listen.more]\naddress = \"{at}\"\n[listen.main]");
    let tls = format!("address = \"{}\"\ntls = {{ certificate = \"tls.crt\", key = \"tls.key\" }}", world.at);
    for (from, to, problem) in [
        ("[listen.main]", more(taken_at), format!("listen.more.address: {taken_at} can't be listened on: ")),
        ("[listen.main]", "[listen.web]".to_owned(), "listen.web.address: is `listen.main`'s until this".to_owned()),
        (&format!("address = \"{}\"", world.at), tls, "listen.main.tls: comes or goes at an address in use".to_owned()),
        ("\"anyone\"", "\"everyone\"".to_owned(), "route.open.allow: ".to_owned()),
    ] {
        let text = good.replace("/first", "/second").replacen(from, &to, 1);
        // one that could be had comes along
        let text = text.replacen("[listen.", &format!("[listen.aside]\naddress = \"{}\"\n[listen.", free.at()), 1);
        put(&world, "claviger.toml", &text);
        let outcome = reload(&world).await;
        let told = outcome["config.errors"].as_str().unwrap_or_default();
        assert!(told.starts_with(&problem) && !told.contains("; listen."), "{problem}: {outcome}");
        assert_eq!((status(world.at).await, &*world.upstream.last().target), (200, "/first/"), "{problem}");
        is_gone(free.at()).await;
    }
    drop(taken);
    put(&world, "claviger.toml", &good.replacen("[listen.main]", &more(taken_at), 1));
    assert_eq!(reload(&world).await["message"], Value::from("the config was reloaded"));
    assert_eq!(status(taken_at).await, 200);
}

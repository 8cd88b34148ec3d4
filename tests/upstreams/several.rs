//! Several addresses, of which one goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use tokio::sync::watch;

use crate::support::client::{self, headers};
use crate::support::place::Place;
use crate::support::side::Side;
use crate::support::upstream::Upstream;
use crate::support::watched;
use crate::support::wire::{Behind, Wire};
use crate::support::world::Plan;

#[tokio::test]
async fn one_dies_under_load_and_nothing_fails_that_was_not_sent() {
    let (one, other) = (Upstream::default(), Upstream::default());
    let sides = [&one, &other].map(|app| Side::new("app", Place::reserve(), Arc::new(app.clone())));
    sides.iter().for_each(Side::start);
    let routes = format!(
        "[route.app]\nhost = \"*\"\nupstream = [\"http://{}\", \"http://{}\"]\nallow = \"anyone\"",
        sides[0].at(),
        sides[1].at()
    );
    let world = Plan::with_routes(&routes).start().await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(watch::Sender::new(0)));
    let load = (0..8).map(|_| {
        let (at, stop, asked) = (world.at, Arc::clone(&stop), Arc::clone(&asked));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // idempotent, as the one that dies may have begun with some
                let answer = client::send(at, Method::PUT, "/", &headers(&[]), "").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                asked.send_modify(|asked| *asked += 1);
            }
        })
    });
    let load: Vec<_> = load.collect();
    let more = async |count: usize| {
        let before = *asked.borrow();
        watched::until(&asked, |asked| *asked >= before + count).await;
    };
    more(50).await;
    assert!(!one.seen().is_empty() && !other.seen().is_empty());
    sides[1].drain().await;
    more(50).await;
    let label = format!("claviger_upstream_healthy{{upstream=\"{}\",address=\"{}\"}}", sides[0].at(), sides[1].at());
    assert!(world.metric(&label).await < 0.5, "{label}");
    sides[1].start();
    let before = other.seen().len();
    other.until(|seen| seen.len() > before).await;
    stop.store(true, Ordering::Relaxed);
    for load in load {
        load.await.unwrap();
    }
    assert!(world.metric(&label).await > 0.5);
}

#[tokio::test]
async fn what_was_read_is_sent_nowhere_else() {
    let closing = || Behind::new(async |mut wire: Wire| drop(wire.head().await));
    let (one, other) = (closing().await, closing().await);
    let routes =
        format!("[route.app]\nhost = \"*\"\nupstream = [\"{}\", \"{}\"]\nallow = \"anyone\"", one.url(), other.url());
    let world = Plan::with_routes(&routes).start().await;
    for n in 1..=6 {
        let answer = client::send(world.at, Method::POST, "/", &headers(&[]), "x").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (502, &"upstream_unreachable".into()));
        assert_eq!(one.heads().len() + other.heads().len(), n);
    }
}

#[tokio::test]
async fn health_is_asked_for_apart_from_requests() {
    let well = Arc::new(AtomicBool::new(true));
    let says = Arc::clone(&well);
    let app = Behind::new(move |mut wire: Wire| {
        let says = Arc::clone(&says);
        async move {
            while wire.head().await.starts_with("GET /healthz ") {
                let status = if says.load(Ordering::Relaxed) { "204 Well" } else { "503 Ill" };
                wire.send(format!(
                    "HTTP/1.1 {status}\r\n{}\r\n",
                    if status.starts_with('5') { "Content-Length: 0\r\n" } else { "" }
                ))
                .await;
            }
        }
    })
    .await;
    let routes = format!(
        "[route.app]\nhost = \"*\"\nallow = \"anyone\"\n\
         upstream = {{ url = \"{}\", health = {{ path = \"/healthz\", interval = \"2ms\" }} }}",
        app.url()
    );
    let world = Plan::with_routes(&routes).start().await;
    let label = format!("claviger_upstream_healthy{{upstream=\"{0}\",address=\"{0}\"}}", app.at);
    for (is_well, sentence) in [(false, "an upstream's address is down"), (true, "an upstream's address is up")] {
        well.store(is_well, Ordering::Relaxed);
        world.claviger.event(|e| e["message"] == sentence && e["upstream.address"] == app.at.to_string()).await;
        let shown = world.metric(&label).await;
        assert_eq!(shown > 0.5, is_well, "{shown}");
    }
    let told = world.claviger.events().iter().filter(|e| e["message"] == "an upstream's address is down").count();
    assert_eq!(told, 1, "once, however often it is asked");
}

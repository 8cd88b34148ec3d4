//! Files that the config names: certificates, secrets, keys, users; found by themselves or at a SIGHUP.

use std::fs;
use std::os::unix::fs::symlink;

use claviger::secret::Secret;
use claviger::tls::Trust;
use claviger::users::hash_password;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{ROUTES, edit, outcome_after, outcomes, put, reload};
use crate::login::callback;
use crate::support::browser::Browser;
use crate::support::place::Place;
use crate::support::secure::{certificate, shake};
use crate::support::world::{Plan, World};

#[tokio::test]
async fn a_new_certificate_counts_for_the_next_handshake_and_no_connection_is_lost() {
    let world = Plan::with_routes(ROUTES).secure().start().await;
    let first = world.trust();
    let mut old = world.tls(b"http/1.1").await;
    assert!(ask(&mut old).await.starts_with("HTTP/1.1 200"));

    let (newer, key) = certificate("apps.test");
    put(&world, "tls.crt", &newer);
    let outcome = reload(&world).await;
    assert!(outcome["config.errors"].as_str().unwrap().starts_with("listen.secure.tls: "), "they don't match yet");
    assert!(is_shown(&world, &first).await && !is_shown(&world, &world.trust()).await);
    put(&world, "tls.key", &key);
    let changed = reload(&world).await["config.changed"].as_str().unwrap().to_owned();
    assert!(changed.contains("tls.crt` changed") && changed.contains("tls.key` changed"), "{changed}");
    assert!(is_shown(&world, &world.trust()).await && !is_shown(&world, &first).await);
    assert!(ask(&mut old).await.starts_with("HTTP/1.1 200"), "a connection stays up");
}

/// Without a signal: whatever way the file is changed in.
#[tokio::test]
async fn changed_files_are_found_by_themselves() {
    let world = Plan::with_routes(ROUTES).secure().start().await;
    // as Kubernetes mounts secrets: tls.crt -> data/tls.crt, data -> v1
    for version in ["v1", "v2"] {
        fs::create_dir(world.file(version)).unwrap();
    }
    let (newer, key) = certificate("apps.test");
    for name in ["tls.crt", "tls.key"] {
        fs::copy(world.file(name), world.file("v1").join(name)).unwrap();
    }
    fs::write(world.file("v2/tls.crt"), newer).unwrap();
    fs::write(world.file("v2/tls.key"), key).unwrap();
    symlink("v1", world.file("data")).unwrap();
    edit(&world, "\"tls.crt\"", "\"data/tls.crt\"");
    edit(&world, "\"tls.key\"", "\"data/tls.key\"");
    edit(&world, "watch = false", "watch_every = \"20ms\"");
    reload(&world).await;

    symlink("v2", world.file("data.new")).unwrap();
    fs::rename(world.file("data.new"), world.file("data")).unwrap();
    let outcome = outcome_after(&world, 1).await;
    assert_eq!(
        (&outcome["message"], &outcome["why"]),
        (&Value::from("the config was reloaded"), &Value::from("files"))
    );
    assert!(is_shown(&world, &Trust::with_file(&world.file("v2/tls.crt")).unwrap()).await);

    // the config itself, by an atomic rename; no change of content is no change
    edit(&world, "/first", "/second");
    assert_eq!(outcome_after(&world, 2).await["config.changed"], "route.open changed");
    let good = fs::read_to_string(world.file("claviger.toml")).unwrap();
    put(&world, "claviger.toml", &good);
    edit(&world, "/second", "/third");
    assert_eq!(outcome_after(&world, 3).await["config.generation"], 5);
    assert_eq!(outcomes(&world).len(), 4);

    // and in place, where it may be seen when it is empty, with a fault that is mended
    fs::write(world.file("claviger.toml"), "half of").unwrap();
    assert!(outcome_after(&world, 4).await["config.errors"].is_string());
    fs::write(world.file("claviger.toml"), good.replace("/second", "/fourth")).unwrap();
    let mended = |event: &Value| event["config.generation"] == 6 && event["config.changed"] == "route.open changed";
    world.claviger.event(mended).await;
    world.get("/", "").await;
    assert_eq!(world.upstream.last().target, "/fourth/");

    // and it can be switched off
    edit(&world, "watch_every = \"20ms\"", "watch = false");
    world.claviger.event(|event| event["config.generation"] == 7).await;
    edit(&world, "/fourth", "/fifth");
    assert_eq!(reload(&world).await["why"], "signal");
}

#[tokio::test]
async fn a_client_secret_in_a_file_is_rotated() {
    let plan = Plan::with_routes(ROUTES).client_secret("the-new-secret").file("secret", "the-old-secret\n");
    let world = plan.start().await;
    edit(&world, "client_secret = { env = \"CLIENT_SECRET\" }", "client_secret = { file = \"secret\" }");
    reload(&world).await;
    let mut browser = Browser::default();
    let answer = world.log_in(&mut browser, &world.url("/staff"), "alice").await;
    assert!(world.ticket_in(&browser, world.host()).is_none(), "the provider knows another: {}", answer.status);

    put(&world, "secret", "the-new-secret\n");
    let changed = reload(&world).await["config.changed"].as_str().unwrap().to_owned();
    assert!(changed.ends_with("secret` changed"), "{changed}");
    let alice = ticket_at(&world, "/staff").await;
    assert_eq!(world.get("/staff", &alice).await.status, 200);
    let log = world.log().await.join("\n");
    assert!(!log.contains("the-old-secret") && !log.contains("the-new-secret"), "A36");
}

/// A login that began under the old key ends under the new one, as both are believed; with the old one gone it can't.
#[tokio::test]
async fn cookie_keys_change_with_an_overlap() {
    let (old, new) = ("k".repeat(40), "n".repeat(40));
    let keys = "keys = { cookie = [{ file = \"old\" }] }";
    let plan = Plan::with_routes(ROUTES).config(keys).file("old", &old).file("new", &new);
    let world = plan.start().await;
    for (from, to, goes_on) in [
        ("[{ file = \"old\" }]", "[{ file = \"new\" }, { file = \"old\" }]", true),
        ("[{ file = \"new\" }, { file = \"old\" }]", "[{ file = \"new\" }]", true),
        ("[{ file = \"new\" }]", "[{ file = \"old\" }]", false),
    ] {
        let mut browser = Browser::default();
        let back = callback(&mut browser, &world.url("/staff"), "alice").await;
        edit(&world, from, to);
        assert_eq!(reload(&world).await["message"], "the config was reloaded");
        let answer = browser.step(back.as_str()).await;
        assert_eq!(answer.status.is_redirection(), goes_on, "{to}: {}", answer.status);
    }
}

/// Tokens that were signed by the old key verify as long as it is published.
#[tokio::test]
async fn minted_keys_change_with_an_overlap() {
    let pem = || rcgen::KeyPair::generate().unwrap().serialize_pem();
    let keys = "keys = { minted = [{ file = \"old.pem\" }] }";
    let world = Plan::with_routes(ROUTES).config(keys).file("old.pem", &pem()).file("new.pem", &pem()).start().await;
    let published = async || {
        let keys = world.get("/.claviger/issuer/jwks", "").await.json()["keys"].clone();
        keys.as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = published().await;
    edit(&world, "[{ file = \"old.pem\" }]", "[{ file = \"new.pem\" }, { file = \"old.pem\" }]");
    reload(&world).await;
    let after = published().await;
    assert_eq!((before.len(), after.len(), &after[1]), (1, 2, &before[0]));
}

/// The built-in provider's people, while somebody is signing in there.
#[tokio::test]
async fn a_users_file_is_read_again() {
    let hash = hash_password(&Secret::new("password")).unwrap();
    let user = |name: &str| format!("[user.{name}]\nsub = \"{name}\"\npassword = \"{hash}\"\n");
    let place = Place::reserve();
    let at = place.at();
    let provider = format!(
        "[provider]\naddress = \"{at}\"\nissuer = \"http://{at}\"\nusers = \"users.toml\"\n\
         [provider.client.app]\nredirect_uris = [\"http://127.0.0.1/cb\"]\n"
    );
    let plan = Plan::with_routes(&format!("{ROUTES}\n{provider}")).file("users.toml", &user("ann"));
    let world = plan.start().await;
    let authorize = format!(
        "http://{at}/authorize?client_id=app&response_type=code&scope=openid&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
    );
    let mut browser = Browser::default();
    let page = browser.open(&authorize).await;
    let as_ben = [("username", "ben"), ("password", "password")];
    let page = browser.step_form(&page, &as_ben).await;
    assert!(page.status.is_success() || page.status.is_client_error(), "nobody knows ben: {}", page.status);

    put(&world, "users.toml", "[user.ann]\nsub = 5");
    assert!(reload(&world).await["config.errors"].as_str().unwrap().starts_with("provider.users"));
    put(&world, "users.toml", &format!("{}{}", user("ann"), user("ben")));
    assert!(reload(&world).await["config.changed"].as_str().unwrap().ends_with("users.toml` changed"));
    let back = browser.step_form(&page, &as_ben).await;
    assert!(back.location().starts_with("http://127.0.0.1/cb?code="), "{} {}", back.status, back.text());
}

/// Whether a handshake succeeds in which only this certificate is believed.
async fn is_shown(world: &World, trust: &Trust) -> bool {
    shake(world.secure_at().await, trust, b"http/1.1").await.is_ok()
}

/// One request on a connection that stays open.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: apps.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it was closed");
    }
    String::from_utf8(answer).unwrap()
}

/// The `Cookie` header of alice, who logs in at this path.
async fn ticket_at(world: &World, path: &str) -> String {
    let mut browser = Browser::default();
    world.log_in(&mut browser, &world.url(path), "alice").await;
    world.cookie(&browser)
}

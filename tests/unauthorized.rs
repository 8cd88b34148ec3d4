//! Every path that anything of ours listens on, and what nobody in particular gets there.
//!
//! The sources are read for paths, so that a new one fails here until somebody has written down what it tells strangers.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use claviger::clock::SystemClock;
use claviger::demo::Demo;
use claviger::fetch::Fetch;
use claviger::secret::Secret;
use claviger::tls::Trust;
use http::Method;

use crate::support::client;
use crate::support::place::Place;
use crate::support::routes::{APP, PUBLIC};
use crate::support::side::Side;
use crate::support::world::{Plan, World};

/// What nobody gets at a path by GET, POST and PUT, without a login, a cookie, a token or a signature.
type Told = (&'static str, [u16; 3]);

const PROXY: &[Told] = &[
    ("/", [401, 401, 401]),
    ("/any/path", [401, 401, 401]),
    ("/public", [200, 200, 200]),
    ("/public/any", [200, 200, 200]),
    ("/publicity", [401, 401, 401]),
    ("/public/%2e%2e/private", [400, 400, 400]),
];

/// Under `/.claviger/`.
const SIGN_IN: &[Told] = &[
    ("login", [401, 405, 405]),
    ("callback", [400, 405, 405]),
    ("enter", [400, 405, 405]),
    // who is not logged in is told that they are logged out
    ("logout", [200, 303, 405]),
    ("signed-out", [200, 405, 405]),
    ("me", [401, 405, 405]),
    ("roles", [401, 401, 405]),
    ("", [404, 404, 404]),
    ("anything", [404, 404, 404]),
    ("me/", [404, 404, 404]),
];

/// Under `/.claviger/issuer`: public, as STS must be able to read it.
const PUBLISHED: &[Told] = &[
    ("/.well-known/openid-configuration", [200, 404, 404]),
    ("/jwks", [200, 404, 404]),
    ("", [404, 404, 404]),
    ("/anything", [404, 404, 404]),
];

/// Under `/.claviger/`: public, as upstreams must be able to read it.
const PUBLISHED_KEYS: &[Told] = &[
    ("jwks.json", [200, 404, 404]),
    ("keys", [404, 404, 404]),
    ("keys/", [404, 404, 404]),
    ("keys/unknown", [404, 404, 404]),
];

/// Public by its nature, and so on a listener of its own.
const ADMIN: &[Told] = &[
    ("/livez", [200, 405, 405]),
    ("/readyz", [200, 405, 405]),
    ("/metrics", [200, 405, 405]),
    ("/", [404, 405, 405]),
    ("/anything", [404, 405, 405]),
];

const PROVIDER: &[Told] = &[
    ("/.well-known/openid-configuration", [200, 405, 405]),
    ("/keys", [200, 405, 405]),
    ("/authorize", [400, 400, 405]),
    ("/sign-in", [405, 400, 405]),
    ("/token", [405, 401, 405]),
    ("/revoke", [405, 401, 405]),
    ("/userinfo", [401, 401, 405]),
    // nobody is signed out, and told so
    ("/sign-out", [200, 200, 405]),
    ("/device-authorization", [405, 401, 405]),
    // the page that asks for the password
    ("/device", [200, 200, 405]),
    ("/", [404, 404, 404]),
    ("/anything", [404, 404, 404]),
];

const AUTHORITY: &[Told] = &[
    ("/", [400, 400, 404]),
    ("/?Action=GetCallerIdentity&Version=2011-06-15", [403, 403, 404]),
    (
        "/?Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/anyone&RoleSessionName=me",
        [403, 403, 404],
    ),
    (
        "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/anyone&RoleSessionName=me&WebIdentityToken=none",
        [400, 400, 404],
    ),
    ("/verdict", [404, 401, 404]),
    ("/anything", [404, 404, 404]),
];

/// Whatever the path, a signature comes first.
const DEMO: &[Told] = &[
    ("/", [403, 403, 403]),
    ("/whoami", [403, 403, 403]),
    ("/bucket", [403, 403, 403]),
    ("/bucket/key", [403, 403, 403]),
    ("/..", [403, 403, 403]),
];

async fn nobody_gets(at: SocketAddr, below: &str, told: &[Told]) {
    for (path, statuses) in told {
        for (method, status) in [Method::GET, Method::POST, Method::PUT].into_iter().zip(statuses) {
            let target = format!("{below}{path}");
            let answer = client::send(at, method.clone(), &target, &client::headers(&[]), "").await;
            let text = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status.as_u16(), *status, "{method} {target} at {at}: {text}");
            // and nobody is given anything to come back with
            let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
            let kept = cookies.iter().filter(|c| !c.contains("Max-Age=0") && !c.contains("claviger-provider-form"));
            assert_eq!(kept.count(), 0, "{method} {target}: {cookies:?}");
        }
    }
}

fn demo(world: &World) -> Side {
    let authority = format!("http://{}", world.authority_at).parse().unwrap();
    let fetch = Arc::new(Fetch::new(&Trust::system()));
    let demo = Demo::new(&authority, Secret::new("verdict-token"), fetch, Arc::new(SystemClock), Vec::new());
    Side::new("demo", Place::reserve(), demo)
}

#[tokio::test]
async fn nobody_gets_nothing_but_what_is_for_everybody() {
    let world = Plan::with_routes(&[APP, PUBLIC].concat()).start().await;
    nobody_gets(world.at, "", PROXY).await;
    let passed = world.upstream.seen();
    assert!(passed.iter().all(|seen| seen.target.starts_with("/public")), "{passed:?}");
    nobody_gets(world.at, "/.claviger/", SIGN_IN).await;
    nobody_gets(world.at, "/.claviger/issuer", PUBLISHED).await;
    nobody_gets(world.at, "/.claviger/", PUBLISHED_KEYS).await;
    nobody_gets(world.claviger.address("admin").await, "", ADMIN).await;
    nobody_gets(world.provider_at, "", PROVIDER).await;
    nobody_gets(world.authority_at, "", AUTHORITY).await;
    let demo = demo(&world);
    demo.start();
    nobody_gets(demo.at(), "", DEMO).await;
    assert_eq!(world.upstream.seen().len(), passed.len(), "nothing else got through");
    assert_eq!(world.metric("claviger_sessions").await, 0.0);
}

/// Who answers requests, with the beginning of the function that knows its paths, and the list of them above.
const DOORS: [(&str, &str, &str, Option<&[Told]>); 9] = [
    ("Door", "src/sign_in.rs", "answer(", Some(SIGN_IN)),
    ("Door", "src/app/published.rs", "of_the_mint(", Some(PUBLISHED)),
    ("Door", "src/app/published.rs", "of_the_identity_issuer(", Some(PUBLISHED_KEYS)),
    ("Door", "src/app/door.rs", "answer<", None), // the proxy: any path, by its routes
    ("Port", "src/app/endpoints.rs", "handle(", None), // what SDKs are told, and who is none, is in `endpoints`
    ("Admin", "src/admin.rs", "handle(", Some(ADMIN)),
    ("OpenIdProvider", "src/provider.rs", "at(path", Some(PROVIDER)),
    ("Authority", "src/authority.rs", "handle(", Some(AUTHORITY)),
    ("Demo", "src/demo.rs", "handle(", None), // any path, after the signature
];

#[test]
fn every_path_in_the_sources_is_listed_here() {
    for (door, file, function, told) in DOORS {
        let found = paths(file, function);
        let Some(told) = told else {
            assert!(found.is_empty(), "{file}: {door} has paths of its own now: {found:?}");
            continue;
        };
        assert!(!found.is_empty(), "{file}: `{function}` has no paths; have they moved?");
        let listed: BTreeSet<&str> = told.iter().map(|(path, _)| path.split('?').next().unwrap()).collect();
        let missing: Vec<_> = found.iter().filter(|path| !listed.contains(path.as_str())).collect();
        assert!(missing.is_empty(), "{file}: {missing:?} is new; what does it tell strangers?");
    }
}

#[test]
fn every_handler_in_the_sources_is_a_door_here() {
    let mut found = BTreeSet::new();
    handlers(Path::new("src"), &mut found);
    let known: BTreeSet<String> = DOORS.iter().map(|(door, ..)| (*door).to_owned()).collect();
    assert_eq!(found, known);
}

/// The texts that a function matches on: those before an arrow.
fn paths(file: &str, function: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(file).unwrap();
    let start = source.find(&format!("fn {function}")).unwrap_or_else(|| panic!("{file} has no `{function}`"));
    let indent = source[..start].rsplit('\n').next().unwrap();
    let indent = &indent[..indent.len() - indent.trim_start().len()];
    let body = source[start..].split(&format!("\n{indent}}}\n")).next().unwrap();
    let patterns = body.lines().filter_map(|line| match line.split_once("=>") {
        Some((pattern, _)) => Some(pattern),
        // a long pattern goes over several lines
        None => {
            Some(line.trim()).filter(|line| line.starts_with('|') || (line.starts_with('"') && line.ends_with('"')))
        }
    });
    patterns.flat_map(|pattern| pattern.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The types that implement `Handler`, outside of tests.
fn handlers(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let of_tests = path.iter().any(|part| matches!(part.to_str().unwrap(), "tests" | "tests.rs" | "testing.rs"));
        if of_tests {
            continue;
        }
        if path.is_dir() {
            handlers(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("impl Handler for ").skip(1);
            found.extend(names.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()));
        }
    }
}

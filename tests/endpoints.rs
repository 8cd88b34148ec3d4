//! `[endpoint.<name>]`: what an unmodified SDK gets, and what nobody else does.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::support::client::{Answer, headers, raw, send};
use crate::support::routes::DIRECT;
use crate::support::world::{Plan, World, until};

/// A workload whose platform gives it Alice's tokens.
const WORKLOAD: &str = r#"
[identity.workload]
kind = "token_file"
path = "workload.jwt"

[endpoint.app]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"

[endpoint.stranger]
kind = "container"
address = "127.0.0.1:0"
token_file = "{folder}/token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/nobodys"
"#;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const CREDENTIALS: &str = "/v1/credentials";

/// A world in which claviger has its own identity, and the address of `app`.
async fn world() -> (World, SocketAddr) {
    let world = Plan::with_routes(&[DIRECT, WORKLOAD].concat()).file("token", TOKEN).start().await;
    let at = world.claviger.address("endpoint.app").await;
    (world, at)
}

/// Puts a token of Alice's where the platform does.
async fn give_token(world: &World) {
    world.ticket("alice").await;
    let said = world.idp_tap.said();
    let tokens = said.iter().rev().filter_map(|said| serde_json::from_str::<Value>(&said.answered).ok());
    let token = tokens.filter_map(|answer| answer["id_token"].as_str().map(str::to_owned)).next().unwrap();
    write(world, "workload.jwt", &token);
}

/// As a platform rotates a file.
fn write(world: &World, name: &str, text: &str) {
    std::fs::write(world.file("new"), text).unwrap();
    std::fs::rename(world.file("new"), world.file(name)).unwrap();
}

async fn ask(at: SocketAddr, path: &str, token: &str) -> Answer {
    send(at, Method::GET, path, &headers(&[("authorization", token), ("accept", "application/json")]), "").await
}

#[tokio::test]
async fn an_sdk_gets_the_workloads_keys_from_the_brokers_cache() {
    let (world, at) = world().await;
    give_token(&world).await;
    let answer = ask(at, CREDENTIALS, TOKEN).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    let told = answer.json();
    for key in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(told[key].as_str().is_some_and(|text| text.len() >= 16), "{key}");
    }
    let ends = told["Expiration"].as_str().unwrap();
    assert!(ends.len() == "2016-02-25T06:03:31Z".len() && ends.ends_with('Z'), "{ends}");
    assert_eq!(told["RoleArn"], "arn:aws:iam::123456789012:role/direct");
    assert_eq!(told["AccountId"], "123456789012");

    // the same keys, by the role's name too, and STS was asked once
    let calls = world.sts_calls();
    assert_eq!(ask(at, "/v1/credentials/direct", TOKEN).await.json()["AccessKeyId"], told["AccessKeyId"]);
    assert_eq!(world.sts_calls(), calls);
    let served = r#"claviger_endpoint_requests_total{endpoint="app",verdict="served"}"#;
    until(async || world.metric(served).await, |count| *count >= 2.0).await;

    let audit = |told: &Value| told["message"] == "credentials were handed out";
    let line = world.claviger.event(|line| audit(line) || audit(&line["fields"])).await.to_string();
    assert!(line.contains("role/direct") && line.contains("sub-alice"), "{line}");
    for secret in [told["SecretAccessKey"].as_str().unwrap(), told["Token"].as_str().unwrap(), TOKEN] {
        assert!(!world.claviger.log().iter().any(|line| line.contains(secret)));
    }
    // never another role
    for (path, status) in [
        ("/v1/credentials/another", StatusCode::FORBIDDEN),
        ("/v1/credentials/", StatusCode::NOT_FOUND),
        ("/v1/credentials/direct/more", StatusCode::NOT_FOUND),
        ("/v1/credentialsdirect", StatusCode::NOT_FOUND),
        ("/", StatusCode::NOT_FOUND),
    ] {
        let answer = ask(at, path, TOKEN).await;
        assert!(answer.status == status && answer.json()["code"].is_string(), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn keys_are_rotated_before_they_end() {
    let (world, at) = world().await;
    give_token(&world).await;
    world.sts_tap.credentials_live(Duration::from_secs(3));
    let first = ask(at, CREDENTIALS, TOKEN).await.json()["AccessKeyId"].clone();
    let key = async || {
        let answer = ask(at, CREDENTIALS, TOKEN).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["AccessKeyId"].clone()
    };
    until(key, |key| *key != first).await;
}

/// A22: what a page in a browser sends is refused whatever token it has, and learns nothing.
#[tokio::test]
async fn a22_no_page_gets_keys() {
    let (world, at) = world().await;
    give_token(&world).await;
    let (here, other_port) = (at.to_string(), format!("localhost:{}", at.port().wrapping_add(1)));
    let rebound = [format!("evil.test:{}", at.port()), format!("127.0.0.1.nip.io:{}", at.port()), format!("{here}.")];
    let strange: Vec<(&str, &str)> = [
        ("host", "evil.test"),
        ("host", &*other_port),
        ("origin", "http://127.0.0.1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "no-cors"),
        ("x-forwarded-for", "192.0.2.7"),
        ("forwarded", "for=192.0.2.7"),
    ]
    .into_iter()
    .chain(rebound.iter().map(|host| ("host", &**host)))
    .collect();
    for (name, value) in strange {
        for token in [TOKEN, "wrong"] {
            let sent = headers(&[("authorization", token), (name, value)]);
            let answer = send(at, Method::GET, CREDENTIALS, &sent, "").await;
            assert_eq!((answer.status, answer.text()), (StatusCode::FORBIDDEN, ""), "{name}: {value}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        }
    }
    let preflight = headers(&[("origin", "http://evil.test"), ("access-control-request-method", "GET")]);
    assert_eq!(send(at, Method::OPTIONS, CREDENTIALS, &preflight, "").await.status, StatusCode::FORBIDDEN);
    let local = headers(&[("authorization", TOKEN), ("host", &format!("localhost:{}", at.port()))]);
    assert_eq!(send(at, Method::GET, CREDENTIALS, &local, "").await.status, StatusCode::OK);
    world
        .claviger
        .line(|line| line.contains("no credentials were handed out") && line.contains("a browser asks"))
        .await;
}

/// A22, A24: the token is compared as it is, and the file that holds it is the only one that counts.
#[tokio::test]
async fn a24_only_who_has_the_token_gets_keys() {
    let (world, at) = world().await;
    give_token(&world).await;
    let bearer = format!("Bearer {TOKEN}");
    let longer = format!("{TOKEN}0");
    for wrong in ["", "wrong", &TOKEN[1..], &*bearer, &*longer, &*TOKEN.to_uppercase()] {
        let answer = ask(at, CREDENTIALS, wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(answer.json()["code"], "Unauthorized");
    }
    assert_eq!(send(at, Method::GET, CREDENTIALS, &HeaderMap::new(), "").await.status, StatusCode::UNAUTHORIZED);
    let twice = format!(
        "GET {CREDENTIALS} HTTP/1.1\r\nHost: {at}\r\nAuthorization: {TOKEN}\r\nAuthorization: {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    assert!(!raw(at, twice).await.starts_with("HTTP/1.1 200"));

    // rotated: the old one is worth nothing from then on
    let next = "fedcba9876543210fedcba9876543210";
    write(&world, "token", &format!("{next}\n"));
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(at, CREDENTIALS, next).await.status, StatusCode::OK);
    // guessable, empty or gone: nobody gets anything
    for text in ["short", ""] {
        write(&world, "token", text);
        assert_eq!(ask(at, CREDENTIALS, text).await.status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    }
    std::fs::remove_file(world.file("token")).unwrap();
    assert_eq!(ask(at, CREDENTIALS, next).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_sdks_user_reads_what_sts_said_and_of_which_role() {
    let (world, _) = world().await;
    give_token(&world).await;
    let at = world.claviger.address("endpoint.stranger").await;
    let answer = ask(at, CREDENTIALS, TOKEN).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::FORBIDDEN, &Value::from("AccessDenied")));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("AccessDenied") && message.contains("role/nobodys"), "{message}");
}

#[tokio::test]
async fn without_a_token_of_its_own_the_workload_is_nobody() {
    let (world, at) = world().await;
    let answer = ask(at, CREDENTIALS, TOKEN).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("NoToken")));
    assert_eq!(world.sts_calls(), 0);
    give_token(&world).await;
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);
    std::fs::remove_file(world.file("workload.jwt")).unwrap();
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// A24: an endpoint that somebody else holds is no endpoint.
#[test]
fn a24_a_port_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap();
    let config = WORKLOAD.split("[endpoint.stranger]").next().unwrap();
    let config = config.replace("127.0.0.1:0", &address.to_string()).replace("{folder}/", "");
    let credentials = "[credentials.direct]\nkind = \"web_identity\"\nregion = \"eu-west-1\"\n";
    let state = format!("state_dir = \"{}\"\n", folder.path().join("state").display());
    let file = folder.path().join("claviger.toml");
    std::fs::write(&file, [&*state, &*config, credentials].concat()).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_claviger")).arg("serve").arg(&file).output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let holder = format!("(pid {}) is there already", std::process::id());
    assert!(
        said.contains("endpoint.app.address") && said.contains(&holder) && said.contains(&address.to_string()),
        "{said}"
    );
}

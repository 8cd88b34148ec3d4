//! How endpoints run: they come and go with the config, are ready when they have credentials, and take no port twice.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::{CREDENTIALS, NEXT_TOKEN, STRANGERS, TOKEN, WORKLOAD, ask, give_token, world, world_with, write};
use crate::reload::{edit, reload};
use crate::support::client::{self, headers, send};
use crate::support::place::Place;
use crate::support::process::Process;
use crate::support::world::until;

/// The port is free again.
async fn is_gone(at: SocketAddr) {
    until(async || TcpStream::connect(at), Result::is_err).await.unwrap_err();
}

#[tokio::test]
async fn keys_are_rotated_before_they_end_and_nobody_notices() {
    let (world, at) = world().await;
    world.sts_tap.credentials_live(Duration::from_secs(3));
    give_token(&world).await;
    let key = async || {
        let answer = ask(at, CREDENTIALS, TOKEN).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["AccessKeyId"].clone()
    };
    let first = key().await;
    let second = until(key, |key| *key != first).await;
    until(key, |key| *key != second).await;
}

/// Who asks first does not wait, and who looks at the metrics sees when keys end.
#[tokio::test]
async fn keys_are_there_before_anybody_asks() {
    let (world, at) = world().await;
    assert_eq!(world.sts_calls(), 0);
    give_token(&world).await;
    let expiry = r#"claviger_endpoint_expiry_timestamp_seconds{endpoint="app",role="direct"}"#;
    until(async || world.metric(expiry).await, |expiry| *expiry > 1_700_000_000.0).await;
    let calls = world.sts_calls();
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);
    assert_eq!((calls, world.sts_calls()), (2, 2), "Alice has her own; all endpoints with this role share its keys");
    let seconds = r#"claviger_endpoint_request_seconds_count{endpoint="app"}"#;
    until(async || world.metric(seconds).await, |count| *count >= 1.0).await;
}

/// A sidecar is of no use before it has credentials; a proxy goes on without.
#[tokio::test]
async fn a_sidecar_is_ready_when_it_has_something_to_hand_out() {
    let (world, _) = world_with(STRANGERS).await;
    let credentials = format!(
        "[credentials.direct]\nkind = \"web_identity\"\nregion = \"eu-west-1\"\nendpoint = \"http://{}\"\n",
        world.authority_at
    );
    let workload = WORKLOAD.replace("{folder}/", "").replace("app.sock", "sidecar.sock");
    let file = world.file("sidecar.toml");
    let first = "server = { workers = 1 }\nadmin = { address = \"127.0.0.1:0\" }\nstate_dir = \"sidecar\"\n";
    std::fs::write(&file, [first, &workload, STRANGERS.replace("{folder}/", "").as_str(), &credentials].concat())
        .unwrap();
    let sidecar = Process::start(&file, &[]);
    let admin = sidecar.address("admin").await;
    let ready = async || send(admin, Method::GET, "/readyz", &HeaderMap::new(), "").await;
    let answer = until(ready, |answer| answer.text().contains("endpoint.app: the workload's own token")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert_eq!(answer.json()["status"], "unusable");
    assert_eq!(world.admin("/readyz").await.status, StatusCode::OK, "there are routes");

    give_token(&world).await;
    let answer = until(ready, |answer| answer.status == StatusCode::OK).await;
    assert!(!answer.text().contains("endpoint.app:"), "{}", answer.text());
    let answer = until(ready, |answer| answer.text().contains("endpoint.stranger: no credentials for the role")).await;
    assert_eq!(answer.status, StatusCode::OK, "the others serve");
}

#[tokio::test]
async fn an_endpoint_comes_and_goes_and_changes_with_the_config() {
    let (world, at) = world().await;
    give_token(&world).await;
    let more = "[endpoint.more]\nkind = \"container\"\naddress = \"127.0.0.1:0\"\ntoken_file = \"more\"\n\
                identity = \"workload\"\ncredentials = \"direct\"\nrole = \"arn:aws:iam::123456789012:role/direct\"\n";
    write(&world, "more", NEXT_TOKEN);
    edit(&world, "[endpoint.app]", &format!("{more}\n[endpoint.app]"));
    assert_eq!(reload(&world).await["config.changed"], "endpoint.more added");
    let more_at = world.claviger.address("endpoint.more").await;
    assert_eq!(ask(more_at, CREDENTIALS, NEXT_TOKEN).await.status, StatusCode::OK);
    assert_eq!(ask(more_at, CREDENTIALS, TOKEN).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);

    // what it is changes where it is
    edit(&world, "token_file = \"more\"", &format!("token_file = \"{}\"", world.file("token").display()));
    assert_eq!(reload(&world).await["config.changed"], "endpoint.more changed");
    assert_eq!(ask(more_at, CREDENTIALS, NEXT_TOKEN).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(more_at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);

    // and it moves
    let place = Place::reserve();
    edit(
        &world,
        "[endpoint.more]\nkind = \"container\"\naddress = \"127.0.0.1:0\"",
        &format!("[endpoint.more]\nkind = \"container\"\naddress = \"{}\"", place.at()),
    );
    reload(&world).await;
    assert_eq!(ask(place.at(), CREDENTIALS, TOKEN).await.status, StatusCode::OK);
    is_gone(more_at).await;

    let text = std::fs::read_to_string(world.file("claviger.toml")).unwrap();
    let (start, end) = (text.find("[endpoint.more]").unwrap(), text.find("[endpoint.app]").unwrap());
    write(&world, "claviger.toml", &[&text[..start], &text[end..]].concat());
    assert_eq!(reload(&world).await["config.changed"], "endpoint.more removed");
    is_gone(place.at()).await;
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);
}

/// A33: a config that can't be had whole changes nothing, and says why.
#[tokio::test]
async fn a33_an_endpoint_that_cannot_be_had_leaves_all_as_it_was() {
    let (world, at) = world().await;
    give_token(&world).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let instance = world.claviger.address("endpoint.instance").await;
    let first = "[endpoint.app]\nkind = \"container\"\naddress = \"127.0.0.1:0\"";
    for (address, said) in [
        (taken.local_addr().unwrap().to_string(), "can't be listened on"),
        (instance.to_string(), "can't be listened on"),
        (world.at.to_string(), "is the address of `listen.main` too"),
        ("0.0.0.0:9911".to_owned(), "is not on this machine alone"),
    ] {
        edit(&world, first, &first.replace("127.0.0.1:0", &address));
        let outcome = reload(&world).await;
        let errors = outcome["config.errors"].as_str().unwrap_or_default();
        assert!(errors.contains("endpoint.app.address") && errors.contains(said), "{address}: {outcome}");
        edit(&world, &first.replace("127.0.0.1:0", &address), first);
        assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);
    }
}

/// Session tokens of the instance metadata service stay good where nothing of the endpoint has changed.
#[tokio::test]
async fn a_reload_of_something_else_leaves_an_endpoint_as_it_is() {
    let (world, _) = world().await;
    let at = world.claviger.address("endpoint.instance").await;
    let sent = headers(&[("x-aws-ec2-metadata-token-ttl-seconds", "600")]);
    let token = send(at, Method::PUT, "/latest/api/token", &sent, "").await.text().to_owned();
    let region = async || {
        let sent = headers(&[("x-aws-ec2-metadata-token", &token)]);
        send(at, Method::GET, "/latest/meta-data/placement/region", &sent, "").await.status
    };
    edit(&world, "drain = \"10s\"", "drain = \"9s\"");
    reload(&world).await;
    assert_eq!(region().await, StatusCode::OK);
    edit(&world, "region = \"eu-west-1\"\nidentity", "region = \"eu-west-2\"\nidentity");
    reload(&world).await;
    assert_eq!(region().await, StatusCode::UNAUTHORIZED, "another one knows nothing of it");
}

/// A flood of refusals is not one of lines.
#[tokio::test]
async fn refusals_are_told_once_a_second_with_their_number() {
    let (world, at) = world().await;
    let told = || world.claviger.events().into_iter().filter(is_refusal).collect::<Vec<Value>>();
    let asked = async || {
        ask(at, CREDENTIALS, "wrong").await;
        told()
    };
    let told = until(asked, |told| told.len() >= 3).await;
    let counts: Vec<u64> = told.iter().map(|told| told["count"].as_u64().unwrap()).collect();
    assert!(counts[0] == 1 && counts[1..].iter().all(|count| *count > 1), "{counts:?}");
    let unauthorized = r#"claviger_endpoint_requests_total{endpoint="app",verdict="unauthorized"}"#;
    assert!(world.metric(unauthorized).await >= counts.iter().sum::<u64>() as f64);
}

fn is_refusal(told: &Value) -> bool {
    told["message"] == "no credentials were handed out" && told["reason"] == "the token is missing or wrong"
}

/// A24, A26: no second process takes a share of the port, whatever options it has.
#[tokio::test]
async fn a26_a_second_process_cannot_share_the_port() {
    let (world, at) = world().await;
    let instance = world.claviger.address("endpoint.instance").await;
    for at in [at, instance] {
        for address in [at, SocketAddr::from(([0, 0, 0, 0], at.port()))] {
            for (reuse_address, reuse_port) in [(false, false), (true, false), (false, true), (true, true)] {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_reuse_address(reuse_address).unwrap();
                socket.set_reuse_port(reuse_port).unwrap();
                let taken = socket.bind(&address.into()).and_then(|()| socket.listen(1));
                assert!(taken.is_err(), "{address} {reuse_address} {reuse_port}");
            }
        }
    }
}

/// A24: an endpoint that somebody else holds is no endpoint.
#[test]
fn a24_a_port_or_a_socket_that_is_taken_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap();
    let _taken = std::os::unix::net::UnixListener::bind(folder.path().join("taken.sock")).unwrap();
    let one = WORKLOAD.split("[endpoint.instance]").next().unwrap().replace("{folder}/", "");
    let by_address = one.replace("127.0.0.1:0", &address.to_string());
    let by_socket = one.replace("address = \"127.0.0.1:0\"", "socket = \"taken.sock\"");
    let nowhere = one.replace("address = \"127.0.0.1:0\"", "socket = \"none/app.sock\"");
    let holder = format!("(pid {}) is there already", std::process::id());
    for (config, expected) in [
        (by_address, ["endpoint.app.address", &*address.to_string(), &holder]),
        (by_socket, ["endpoint.app.socket", "taken.sock", "another process listens there"]),
        (nowhere, ["endpoint.app.socket", "none/app.sock", "there is no folder"]),
    ] {
        let credentials = "[credentials.direct]\nkind = \"web_identity\"\nregion = \"eu-west-1\"\n";
        let file = folder.path().join("claviger.toml");
        std::fs::write(&file, ["state_dir = \"state\"\n", &config, credentials].concat()).unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_claviger")).arg("serve").arg(&file).output().unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(expected.iter().all(|expected| said.contains(expected)), "{said}");
    }
}

#[test]
fn check_lists_endpoints_and_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let credentials = "[credentials.direct]\nkind = \"web_identity\"\nregion = \"eu-west-1\"\n";
    let config = [&*WORKLOAD.replace("{folder}/", ""), credentials].concat();
    let check = |config: &str, arguments: &[&str]| {
        std::fs::write(folder.path().join("claviger.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        let ended =
            command.current_dir(folder.path()).arg("check").args(arguments).arg("claviger.toml").output().unwrap();
        (ended.status.code().unwrap(), String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap())
    };
    // what is not there yet is a warning: the platform may write it later
    let (code, said) = check(&config, &[]);
    assert_eq!(code, 0, "{said}");
    for expected in ["app (container)", "instance (imds)", "app.sock", "role/direct", "nobody gets anything now"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (_, said) = check(&config, &["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["endpoints"].as_array().map(Vec::len), Some(3));
    assert!(said["endpoints"][0]["lacks"].as_str().unwrap().contains("token"), "{said}");

    for (from, to, key, expected) in [
        ("identity = \"workload\"", "identity = \"nobody\"", "endpoint.app.identity", "there is no"),
        ("credentials = \"direct\"", "credentials = \"no\"", "endpoint.app.credentials", "there is no"),
        ("token_file = \"token\"\n", "", "endpoint.app.token_file", "is missing"),
        ("address = \"127.0.0.1:0\"\n", "", "endpoint.app.address", "or a `socket`"),
        ("address = \"127.0.0.1:0\"\n", "address = \"127.0.0.1:0\"\nsocket = \"x\"\n", "endpoint.app.socket", "one of"),
        ("address = \"127.0.0.1:0\"\n", "address = \"127.0.0.1:0\"\nusers = [1]\n", "endpoint.app.users", "no use"),
        ("address = \"127.0.0.1:0\"\n", "address = \"0.0.0.0:1\"\n", "endpoint.app.address", "169.254.170.2"),
        (
            "kind = \"imds\"\naddress = \"127.0.0.1:0\"\n",
            "kind = \"imds\"\naddress = \"10.0.0.1:80\"\n",
            "endpoint.instance.address",
            "169.254.169.254",
        ),
        ("kind = \"imds\"\n", "kind = \"imds\"\nhop_limit = 0\n", "endpoint.instance.hop_limit", "nonzero"),
        (
            "kind = \"imds\"\n",
            "kind = \"imds\"\navailability_zone = \"us-east-1a\"\n",
            "endpoint.instance.availability_zone",
            "eu-west-1a",
        ),
        ("kind = \"imds\"\n", "kind = \"imds\"\nroles = []\n", "endpoint.instance.roles", "unknown"),
    ] {
        assert!(config.contains(from), "{from}");
        let (code, said) = check(&config.replacen(from, to, 1), &[]);
        assert!(code == 2 && said.contains(key) && said.contains(expected), "{to}: {said}");
    }
}

/// Nothing but what an endpoint is for is on its port.
#[tokio::test]
async fn nobody_gets_anything_else_at_an_endpoint() {
    let (world, at) = world().await;
    let instance = world.claviger.address("endpoint.instance").await;
    for (at, path) in [
        (at, "/"),
        (at, CREDENTIALS),
        (at, "/.claviger/me"),
        (at, "/metrics"),
        (instance, "/"),
        (instance, "/latest/meta-data/iam/security-credentials/direct"),
        (instance, "/.claviger/me"),
        (instance, "/metrics"),
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = client::send(at, method.clone(), path, &HeaderMap::new(), "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        }
    }
}

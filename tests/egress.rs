//! Egress: an app of the workload speaks plain HTTP to claviger, which signs for the AWS host that it asks for.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::support::client::{Answer, headers, raw, send};
use crate::support::world::{Plan, World};

/// Two roles, each for the services that its route lists; all of AWS is at the upstream.
const EGRESS: &str = r#"
[identity.workload]
kind = "token_file"
path = "workload.jwt"

[route.files]
host = ["s3.eu-west-1.amazonaws.com", "*.s3.eu-west-1.amazonaws.com", "s3.amazonaws.com"]
upstream = { url = "as-asked", endpoint = "{upstream}" }
identity = ["workload"]
allow = "signed-in"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4" }

[route.queues]
host = ["sqs.us-east-2.amazonaws.com", "*.eu-central-1.amazonaws.com"]
upstream = { url = "as-asked", endpoint = "{upstream}" }
identity = ["workload"]
allow = "signed-in"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"
inject = { kind = "sigv4" }

[route.strangers]
host = "sns.eu-west-1.amazonaws.com"
upstream = { url = "as-asked", endpoint = "{upstream}" }
identity = ["workload"]
allow = "signed-in"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/nobodys"
inject = { kind = "sigv4" }

[route.app]
host = "127.0.0.1"
upstream = "{upstream}"
allow = "signed-in"
"#;

async fn world() -> World {
    let world = Plan::with_routes(EGRESS).start().await;
    // the platform gives the workload a token of Alice's
    world.ticket("alice").await;
    let said = world.idp_tap.said();
    let tokens = said.iter().rev().filter_map(|said| serde_json::from_str::<Value>(&said.answered).ok());
    let token = tokens.filter_map(|answer| answer["id_token"].as_str().map(str::to_owned)).next().unwrap();
    std::fs::write(world.file("workload.jwt"), token).unwrap();
    world
}

async fn ask(world: &World, method: Method, host: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let mut headers = headers(&[("host", host)]);
    headers.extend(self::headers(more));
    send(world.at, method, path, &headers, body.to_owned()).await
}

#[tokio::test]
async fn each_request_is_signed_for_the_host_it_asks_for() {
    let world = world().await;
    let sent = [("x-amz-meta-colour", "blue"), ("x-real-ip", "10.0.0.1"), ("x_real_ip", "10.0.0.1")];
    for (host, seen_as, scope) in [
        ("s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "/eu-west-1/s3/aws4_request"),
        ("Bucket.S3.eu-west-1.amazonaws.com.", "bucket.s3.eu-west-1.amazonaws.com", "/eu-west-1/s3/aws4_request"),
        ("s3.amazonaws.com:80", "s3.amazonaws.com", "/us-east-1/s3/aws4_request"),
        ("sqs.us-east-2.amazonaws.com", "sqs.us-east-2.amazonaws.com", "/us-east-2/sqs/aws4_request"),
        ("email.eu-central-1.amazonaws.com", "email.eu-central-1.amazonaws.com", "/eu-central-1/ses/aws4_request"),
    ] {
        let answer = ask(&world, Method::PUT, host, "/k?x=1", &sent, "content").await;
        assert_eq!(answer.status, StatusCode::OK, "{host}: {}", answer.text());
        let seen = world.upstream.last();
        assert_eq!(seen.all("host"), [seen_as]);
        assert_eq!((&*seen.target, &*seen.body), ("/k?x=1", &b"content"[..]));
        let line = seen.all("authorization")[0].to_owned();
        assert!(line.contains(scope), "{host}: {line}");
        assert!(seen.all("x-real-ip").is_empty() && seen.all("x_real_ip").is_empty(), "{seen:?}");
        assert!(seen.all("x-forwarded-for").is_empty() && seen.all("x-amz-security-token").len() == 1, "{seen:?}");
    }
}

#[tokio::test]
async fn an_app_may_take_it_for_its_http_proxy() {
    let world = world().await;
    let answer = raw(
        world.at,
        "GET http://s3.eu-west-1.amazonaws.com/b?list-type=2 HTTP/1.1\r\nHost: s3.eu-west-1.amazonaws.com\r\n\
         Proxy-Connection: keep-alive\r\nConnection: close\r\n\r\n",
    );
    let answer = answer.await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = world.upstream.last();
    assert_eq!((&*seen.target, seen.all("host")), ("/b?list-type=2", vec!["s3.eu-west-1.amazonaws.com"]));
    assert!(seen.all("proxy-connection").is_empty());

    let answer = raw(
        world.at,
        "CONNECT s3.eu-west-1.amazonaws.com:443 HTTP/1.1\r\nHost: s3.eu-west-1.amazonaws.com:443\r\n\r\n",
    );
    let answer = answer.await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("http_proxy"), "{answer}");
}

/// A29, SSRF: what a request says leads nowhere but to the hosts that are listed and known.
#[tokio::test]
async fn a29_an_unlisted_host_is_refused() {
    let world = world().await;
    for host in [
        "s3.us-west-2.amazonaws.com",
        "dynamodb.eu-west-1.amazonaws.com",
        "s3.eu-west-1.amazonaws.com.evil.test",
        "s3.eu-west-1.amazonaws.com:8443",
        "made-up.eu-central-1.amazonaws.com",
        "a.b.s3.eu-west-1.amazonaws.com",
        "169.254.169.254",
        "[::1]",
        "evil.test",
    ] {
        let answer = ask(&world, Method::GET, host, "/", &[], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{host}: {}", answer.text());
        assert_eq!(answer.json()["error"], "host_not_listed", "{host}");
        let said = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(said.contains(host) && said.contains("as-asked"), "{said}");
    }
    assert!(world.upstream.seen().iter().all(|seen| seen.all("authorization").is_empty()));
}

/// A22, A23: whoever reaches such a route is the workload, so what no SDK sends is refused, and told nothing.
#[tokio::test]
async fn a22_no_page_speaks_for_the_workload() {
    let world = world().await;
    let host = "s3.eu-west-1.amazonaws.com";
    let before = world.upstream.seen().len();
    for strange in [
        ("origin", "http://s3.eu-west-1.amazonaws.com"),
        ("origin", "null"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "no-cors"),
        ("x-forwarded-for", "192.0.2.7"),
        ("forwarded", "for=192.0.2.7"),
    ] {
        let answer = ask(&world, Method::GET, host, "/", &[strange], "").await;
        assert_eq!((answer.status, answer.text()), (StatusCode::FORBIDDEN, ""), "{strange:?}");
    }
    assert_eq!(world.upstream.seen().len(), before);
}

#[tokio::test]
async fn without_keys_there_is_no_request() {
    let world = world().await;
    let before = world.upstream.seen().len();
    let answer = ask(&world, Method::GET, "sns.eu-west-1.amazonaws.com", "/", &[], "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(answer.text().contains("AccessDenied"), "{}", answer.text());
    std::fs::remove_file(world.file("workload.jwt")).unwrap();
    let answer = ask(&world, Method::GET, "s3.eu-west-1.amazonaws.com", "/", &[], "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert_eq!(answer.json()["error"], "workload_unidentified");
    assert_eq!(world.upstream.seen().len(), before);
}

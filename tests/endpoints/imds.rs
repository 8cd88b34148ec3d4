//! `kind = "imds"`: the instance metadata service, as SDKs walk it and as others try to.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::{STRANGERS, give_token, of_others, world, world_with};
use crate::support::client::{Answer, headers, raw, send};
use crate::support::world::World;

const ROLE: &str = "/latest/meta-data/iam/security-credentials/";
const EXTENDED: &str = "/latest/meta-data/iam/security-credentials-extended/";

async fn instance() -> (World, SocketAddr) {
    let (world, _) = world().await;
    give_token(&world).await;
    let at = world.claviger.address("endpoint.instance").await;
    (world, at)
}

async fn put(at: SocketAddr, path: &str, sent: &[(&str, &str)]) -> Answer {
    send(at, Method::PUT, path, &headers(sent), "").await
}

/// A session token for six hours.
async fn token(at: SocketAddr) -> String {
    let answer = put(at, "/latest/api/token", &[("x-aws-ec2-metadata-token-ttl-seconds", "21600")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.header("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
    answer.text().to_owned()
}

async fn get(at: SocketAddr, path: &str, token: &str) -> Answer {
    send(at, Method::GET, path, &headers(&[("x-aws-ec2-metadata-token", token)]), "").await
}

#[tokio::test]
async fn an_sdk_walks_from_the_token_to_the_keys() {
    let (world, at) = instance().await;
    let token = token(at).await;
    for path in [ROLE, ROLE.trim_end_matches('/'), EXTENDED, EXTENDED.trim_end_matches('/')] {
        let answer = get(at, path, &token).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "direct"), "{path}");
        assert!(answer.header("content-type").starts_with("text/plain"), "{path}");
    }
    let answer = get(at, &format!("{ROLE}direct"), &token).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"));
    let told = answer.json();
    assert_eq!((&told["Code"], &told["Type"]), (&Value::from("Success"), &Value::from("AWS-HMAC")));
    for key in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(told[key].as_str().is_some_and(|text| text.len() >= 16), "{key}");
    }
    for key in ["LastUpdated", "Expiration"] {
        let time = told[key].as_str().unwrap();
        assert!(time.len() == "2016-02-25T06:03:31Z".len() && time.ends_with('Z'), "{key}: {time}");
    }
    assert!(told.get("AccountId").is_none());
    let extended = get(at, &format!("{EXTENDED}direct"), &token).await.json();
    assert_eq!(extended["AccountId"], "123456789012");
    assert_eq!(extended["AccessKeyId"], told["AccessKeyId"], "the same keys");

    // HEAD is as good as GET
    let sent = headers(&[("x-aws-ec2-metadata-token", &token)]);
    let head = send(at, Method::HEAD, &format!("{ROLE}direct"), &sent, "").await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, &*answer.body.len().to_string()));

    let audit = |told: &Value| told["message"] == "credentials were handed out" && told["endpoint"] == "instance";
    let line = world.claviger.event(audit).await.to_string();
    assert!(line.contains("role/direct") && line.contains("sub-alice"), "{line}");
    for secret in [told["SecretAccessKey"].as_str().unwrap(), told["Token"].as_str().unwrap(), &token] {
        assert!(!world.claviger.log().iter().any(|line| line.contains(secret)));
    }
}

#[tokio::test]
async fn sdks_are_told_where_they_are() {
    let (_world, at) = instance().await;
    let token = token(at).await;
    for (path, said) in [
        ("/latest/meta-data/placement/region", "eu-west-1"),
        ("/latest/meta-data/placement/availability-zone", "eu-west-1a"),
        ("/latest/meta-data/placement/", "availability-zone\nregion"),
        ("/latest/meta-data/", "iam/\ninstance-id\nplacement/"),
        ("/latest/meta-data", "iam/\ninstance-id\nplacement/"),
        ("/latest/", "dynamic\nmeta-data"),
        ("/", "latest"),
    ] {
        let answer = get(at, path, &token).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, said), "{path}");
    }
    let id = get(at, "/latest/meta-data/instance-id", &token).await.text().to_owned();
    assert!(id.len() == 19 && id.starts_with("i-"), "{id}");
    let document = get(at, "/latest/dynamic/instance-identity/document", &token).await.json();
    assert_eq!((&document["region"], &document["accountId"]), (&"eu-west-1".into(), &"123456789012".into()));
    assert_eq!((&document["instanceId"], &document["version"]), (&Value::from(id), &"2017-09-30".into()));
    let info = get(at, "/latest/meta-data/iam/info", &token).await.json();
    assert_eq!(info["Code"], "Success");
    assert_eq!(info["InstanceProfileArn"], "arn:aws:iam::123456789012:instance-profile/direct");
    // what nobody but AWS can sign, what is not here, and other roles' names
    for path in [
        "/latest/dynamic/instance-identity/pkcs7",
        "/latest/dynamic/instance-identity/signature",
        "/latest/dynamic/instance-identity/rsa2048",
        "/latest/user-data",
        "/latest/meta-data/public-keys/",
        "/2021-03-23/meta-data/instance-id",
        "/anything",
    ] {
        assert_eq!(get(at, path, &token).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let another = get(at, &format!("{ROLE}another"), &token).await;
    assert_eq!((another.status, &another.json()["Code"]), (StatusCode::OK, &"AccessDenied".into()));
}

/// A23: without a token that was asked for by PUT there is nothing, and none is issued to who does not ask properly.
#[tokio::test]
async fn a23_version_1_and_what_is_passed_on_get_nothing() {
    let (world, at) = instance().await;
    let good = token(at).await;
    let keys = format!("{ROLE}direct");
    for path in [&*keys, ROLE, "/latest/meta-data/placement/region", "/latest/meta-data/", "/", "/anything"] {
        let answer = send(at, Method::GET, path, &HeaderMap::new(), "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.text().contains("/latest/api/token"), "{}", answer.text());
    }
    let longer = format!("{good}A");
    for wrong in ["", "wrong", &good[1..], &*longer, &*good.to_lowercase()] {
        assert_eq!(get(at, &keys, wrong).await.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let twice = format!(
        "GET {keys} HTTP/1.1\r\nHost: {at}\r\nX-aws-ec2-metadata-token: {good}\r\nX-aws-ec2-metadata-token: {good}\r\nConnection: close\r\n\r\n"
    );
    assert!(raw(at, twice).await.starts_with("HTTP/1.1 401"));

    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    for ttl in ["0", "21601", "-1", "+60", "60.0", "1e3", "sixty", "", " ", "99999999999999999999"] {
        let answer = put(at, "/latest/api/token", &[(TTL, ttl)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{ttl}");
    }
    assert_eq!(put(at, "/latest/api/token", &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(put(at, "/latest/api/token", &[(TTL, "60"), (TTL, "60")]).await.status, StatusCode::BAD_REQUEST);
    for ttl in ["1", "21600"] {
        assert_eq!(put(at, "/latest/api/token", &[(TTL, ttl)]).await.header(TTL), ttl);
    }
    for (path, status) in [
        ("/2021-03-23/api/token", StatusCode::FORBIDDEN),
        ("/1.0/api/token", StatusCode::FORBIDDEN),
        ("/latest/meta-data/instance-id", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(put(at, path, &[(TTL, "60")]).await.status, status, "{path}");
    }
    for method in [Method::POST, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let sent = headers(&[("x-aws-ec2-metadata-token", &good)]);
        let answer = send(at, method.clone(), &keys, &sent, "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, PUT"),
            "{method}"
        );
        assert_eq!(send(at, method, &keys, &HeaderMap::new(), "").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(get(at, &keys, &good).await.status, StatusCode::OK);
    world.claviger.line(|line| line.contains("the token is missing or not good")).await;
}

/// A22, A23: pages and servers that pass something on get neither tokens nor keys, and learn nothing.
#[tokio::test]
async fn a22_no_page_gets_a_token_or_keys() {
    let (_world, at) = instance().await;
    let good = token(at).await;
    for (name, value) in of_others(at) {
        for (method, path) in [(Method::PUT, "/latest/api/token"), (Method::GET, ROLE), (Method::OPTIONS, ROLE)] {
            let sent =
                [("x-aws-ec2-metadata-token-ttl-seconds", "60"), ("x-aws-ec2-metadata-token", &*good), (name, &value)];
            let answer = send(at, method.clone(), path, &headers(&sent), "").await;
            assert_eq!((answer.status, answer.text()), (StatusCode::FORBIDDEN, ""), "{method} {name}: {value}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        }
    }
}

/// A23: a token is of the endpoint that issued it.
#[tokio::test]
async fn a23_a_token_of_another_instance_is_none() {
    let (world, _) = world_with(STRANGERS).await;
    let [one, other] = ["endpoint.instance", "endpoint.outcast"];
    let (one, other) = (world.claviger.address(one).await, world.claviger.address(other).await);
    let (token, path) = (token(one).await, "/latest/meta-data/placement/availability-zone");
    assert_eq!(get(one, path, &token).await.text(), "eu-west-1a");
    assert_eq!(get(other, path, &token).await.status, StatusCode::UNAUTHORIZED);
}

/// SDKs show their user what is in an answer with 200 alone.
#[tokio::test]
async fn an_sdks_user_reads_why_there_are_no_keys() {
    let (world, _) = world_with(STRANGERS).await;
    let at = world.claviger.address("endpoint.instance").await;
    let nobody = get(at, &format!("{ROLE}direct"), &token(at).await).await;
    assert_eq!((nobody.status, &nobody.json()["Code"]), (StatusCode::OK, &"NoToken".into()));
    assert!(nobody.json()["Message"].is_string() && !nobody.text().contains("workload.jwt"), "{}", nobody.text());
    assert_eq!(world.sts_calls(), 0);

    give_token(&world).await;
    let at = world.claviger.address("endpoint.outcast").await;
    let token = token(at).await;
    assert_eq!(get(at, ROLE, &token).await.text(), "nobodys", "or nobody would ask for its keys");
    let refused = get(at, &format!("{ROLE}nobodys"), &token).await;
    assert_eq!((refused.status, &refused.json()["Code"]), (StatusCode::OK, &"AccessDenied".into()));
    let message = refused.json()["Message"].as_str().unwrap().to_owned();
    assert!(message.contains("AccessDenied") && message.contains("role/nobodys"), "{message}");
}
